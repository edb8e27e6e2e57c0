"""Scores of many images together: all, by field of view, by density."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg.config.base import Config
from beadseg.errors import InputError
from beadseg.measure.matching import Detection
from beadseg.measure.metrics import aggregate, mean_over_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.measure.score import ImageScore

DENSITY_CLASSES = 5
"""Quintiles, as the laboratory classes its images."""


_PIXELS = ("jaccard_images", "jaccard_fields", "jaccard_pooled", "dice_images", "dice_fields", "dice_pooled")


class GroupScore(Config):
    """Scores of a group of images. Those of pixels and areas are of the images whose truth has areas; none without."""

    by: Literal["all", "field", "density"]
    """What the images have in common."""
    group: str
    """Name of the field of view or the density class; ``all``."""
    images: int
    """Scored images."""
    jaccard_images: float | None
    """Jaccard, mean over images."""
    jaccard_fields: float | None
    """Jaccard, mean over fields of view of the mean over their images."""
    jaccard_pooled: float | None
    """Jaccard of all pixels together."""
    dice_images: float | None
    """Dice, mean over images."""
    dice_fields: float | None
    """Dice, mean over fields of view of the mean over their images."""
    dice_pooled: float | None
    """Dice of all pixels together."""
    precision: float
    """Precision of all beads together."""
    recall: float
    """Recall of all beads together."""
    f1: float
    """F1 of all beads together."""
    f1_images: float
    """F1, mean over images."""
    f1_fields: float
    """F1, mean over fields of view of the mean over their images."""
    ap50: float | None
    """AP at an IoU of 0.5, mean over images."""
    mean_ap: float | None
    """AP averaged over IoU 0.50:0.05:0.95, mean over images."""
    average_precisions: tuple[float | None, ...]
    """AP at each of these IoU thresholds, mean over images."""
    true_count: int
    """True beads, summed."""
    predicted_count: int
    """Predicted beads, summed."""
    bias: float
    """Predicted minus true beads, mean over images: over- and undercounts cancel."""
    mae: float
    """Absolute count error, mean over images."""
    relative_bias: float | None
    """Summed count error over summed true beads; none where there are none."""
    relative_mae: float | None
    """Absolute relative count error, mean over the images that have true beads; none where none has."""


def group_score(by: Literal["all", "field", "density"], group: str, images: Sequence[ImageScore]) -> GroupScore:
    """Return the scores of `images` together; raises `InputError` when there are none."""
    fields = [image.field for image in images]
    areas = [image for image in images if image.areas]
    scores: dict[str, float | None] = dict.fromkeys(_PIXELS)
    if areas:
        scores |= aggregate([image.overlap for image in areas], [image.field for image in areas])
    beads = sum((image.detection for image in images), Detection(0, 0, 0))
    true, predicted = sum(image.true_count for image in images), sum(image.predicted_count for image in images)
    relative = [abs(image.relative_error) for image in images if image.relative_error is not None]
    return GroupScore(
        by=by,
        group=group,
        images=len(images),
        **scores,
        precision=beads.precision,
        recall=beads.recall,
        f1=beads.f1,
        f1_images=_mean([image.f1 for image in images]),
        f1_fields=mean_over_fields([image.f1 for image in images], fields),
        ap50=_mean_known([image.ap50 for image in images]),
        mean_ap=_mean_known([image.mean_ap for image in images]),
        average_precisions=tuple(map(_mean_known, zip(*(image.average_precisions for image in images), strict=True))),
        true_count=true,
        predicted_count=predicted,
        bias=_mean([image.count_error for image in images]),
        mae=_mean([abs(image.count_error) for image in images]),
        relative_bias=(predicted - true) / true if true else None,
        relative_mae=_mean(relative) if relative else None,
    )


def group_scores(images: Sequence[ImageScore]) -> tuple[GroupScore, ...]:
    """Return the score of all images, then of every field of view, then of every density class, sparse ones first."""
    by_field = _grouped(images, lambda image: image.field)
    by_density = _grouped(sorted(images, key=lambda image: image.true_count), lambda image: image.density)
    return (
        group_score("all", "all", images),
        *(group_score("field", name, members) for name, members in by_field.items()),
        *(group_score("density", name, members) for name, members in by_density.items()),
    )


def with_density(images: Sequence[ImageScore], bins: Sequence[int] | None = None) -> tuple[ImageScore, ...]:
    """Return the images with their density class filled in.

    Parameters
    ----------
    images : sequence of ImageScore
        Scored images.
    bins : sequence of int, optional
        Ascending lower bounds of the classes after the first, true beads per image: ``(50, 200)`` makes ``0-49``,
        ``50-199`` and ``200 or more``. Quintiles of these images when not given (fewer classes where counts repeat).

    Raises
    ------
    InputError
        `bins` do not ascend, or are not positive.
    """
    if not images:
        return ()
    bounds = _quantile_bounds([image.true_count for image in images]) if bins is None else _checked(bins)
    names = _class_names(bounds)
    classes = np.searchsorted(bounds, [image.true_count for image in images], side="right")
    return tuple(image.replace(density=names[at]) for image, at in zip(images, classes.tolist(), strict=True))


def _quantile_bounds(counts: Sequence[int]) -> list[int]:
    """Return the lower bounds of all classes but the first, so that classes hold about as many images each."""
    inner = np.quantile(counts, np.arange(1, DENSITY_CLASSES) / DENSITY_CLASSES)
    return sorted({int(np.ceil(bound)) for bound in inner if bound > min(counts)})


def _checked(bins: Sequence[int]) -> list[int]:
    if any(bound <= 0 for bound in bins) or any(a >= b for a, b in itertools.pairwise(bins)):
        raise InputError(f"The density bins {list(bins)} do not ascend from above 0.", remedy="Write e.g. 50,200,800.")
    return list(bins)


def _class_names(bounds: Sequence[int]) -> list[str]:
    if not bounds:
        return ["any"]
    lower = [0, *bounds]
    inner = [f"{a}-{b - 1}" if b - 1 > a else f"{a}" for a, b in zip(lower, bounds, strict=False)]
    return [*inner, f"{bounds[-1]} or more"]


def _grouped(images: Sequence[ImageScore], key: Callable[[ImageScore], str]) -> dict[str, list[ImageScore]]:
    groups: dict[str, list[ImageScore]] = {}
    for image in images:
        groups.setdefault(key(image), []).append(image)
    return groups


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _mean(known) if known else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
