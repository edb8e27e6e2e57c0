"""Scores of one image (pixels, beads, counts), and of many together: all, by field of view, by density.

Two counts of the same images are compared by bias and limits of agreement after Bland and Altman.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import special

from beadseg.config.base import Config
from beadseg.data.masks import label_objects
from beadseg.errors import InputError
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points, mean_average_precision, overlap_table
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from beadseg.data.dataset import Target

IGNORED_SHARE = 0.5
"""An object of which at least this share lies under the ignore mask is left out of all counts."""

DENSITY_CLASSES = 5
"""Quintiles, as the laboratory classes its images."""

_PIXELS = ("jaccard_images", "jaccard_fields", "jaccard_pooled", "dice_images", "dice_fields", "dice_pooled")

COVERAGE = 1.96
"""Standard deviations on either side of the bias: 95 % of differences, if they are normal."""
DECADE = 10.0
"""Counts that span at least this factor are also compared by their ratio."""


class ImageScore(Config):
    """Scores of one image, or of one plane of a stack."""

    image: str
    """Sample name, with the plane's name after an underscore where the sample is a stack."""
    sample: str
    """Sample name."""
    field: str
    """Field of view."""
    jaccard: float | None
    """Intersection over union of the foreground; 1 where both are empty; none where the truth is points."""
    dice: float | None
    """Dice coefficient of the foreground; 1 where both are empty; none where the truth is points."""
    precision: float
    """Share of the predicted beads that are true ones; 1 where none is predicted."""
    recall: float
    """Share of the true beads that are found; 1 where there is none."""
    f1: float
    """Harmonic mean of precision and recall; 1 where both sides are empty."""
    ap50: float | None
    """TP / (TP + FP + FN) of objects matched at an IoU of at least 0.5; none where the truth is points."""
    mean_ap: float | None
    """Mean of TP / (TP + FP + FN) over the IoU thresholds 0.50, 0.55 … 0.95; none where the truth is points."""
    average_precisions: tuple[float | None, ...]
    """TP / (TP + FP + FN) at each of these IoU thresholds."""
    true_count: int
    """Beads in the truth."""
    predicted_count: int
    """Beads in the prediction."""
    count_error: int
    """Predicted minus true beads."""
    relative_error: float | None
    """Count error over true beads; none where there are no true beads."""
    tp: int
    """Beads matched one to one."""
    fp: int
    """Predicted beads without a partner."""
    fn: int
    """True beads without a partner."""
    tolerance_px: float | None
    """Largest distance of matched centres, px; none where there are no true beads to take it from."""
    intersection_px: int
    """Foreground pixels of both."""
    predicted_px: int
    """Foreground pixels of the prediction."""
    true_px: int
    """Foreground pixels of the truth."""
    instances: bool
    """The truth has one id or point per bead. Otherwise its 8-connected components are counted, and touching beads are
    one."""
    areas: bool = True
    """The truth has areas. Of points alone no pixels are scored."""
    density: str = ""
    """Density class by true beads per image."""
    flags: str = ""
    """Why the annotation may not be what it claims, in plain words; its scores then say little of the prediction."""

    @property
    def overlap(self) -> Overlap:
        """The pixel counts."""
        return Overlap(self.intersection_px, self.predicted_px, self.true_px)

    @property
    def detection(self) -> Detection:
        """The bead counts."""
        return Detection(self.tp, self.fp, self.fn)


def score_image(
    image: str,
    sample: str,
    field: str,
    foreground: NDArray[np.bool_],
    labels: NDArray[np.integer] | None,
    truth: Target,
    diameter_px: float | None = None,
) -> ImageScore:
    """Score one predicted plane.

    Parameters
    ----------
    image, sample, field : str
        Names of the plane, its sample, and its field of view.
    foreground : (Y, X) bool
        Predicted mask.
    labels : (Y, X) uint32, optional
        Predicted instances; 8-connected components of the mask where there are none.
    truth : Target
        The annotation.
    diameter_px : float, optional
        Bead diameter, px, half of which is the tolerance for centres; the median equivalent diameter of the true
        objects of this image when not given.

    Raises
    ------
    InputError
        The prediction has another size than the truth.
    """
    if foreground.shape != truth.foreground.shape or (labels is not None and labels.shape != foreground.shape):
        raise InputError(
            f"The prediction is {_size(foreground)} px (width x height), the truth {_size(truth.foreground)} px.",
            image,
            "Predict the image that the mask belongs to.",
        )
    overlap = count_overlap(foreground, truth.foreground, truth.ignore)
    predicted = visible_objects(foreground, labels, truth.ignore)
    true = true_objects(truth)
    table = overlap_table(predicted, true)
    by_iou = table.detections()
    detection, tolerance = _detect(predicted, true, truth, diameter_px)
    predicted_count = len(table.predicted_ids)
    true_count = detection.tp + detection.fn
    precisions = [found.average_precision for found in by_iou.values()]
    return ImageScore(
        image=image,
        sample=sample,
        field=field,
        jaccard=overlap.jaccard if truth.areas else None,
        dice=overlap.dice if truth.areas else None,
        precision=detection.precision,
        recall=detection.recall,
        f1=detection.f1,
        ap50=by_iou[0.5].average_precision if truth.areas else None,
        mean_ap=mean_average_precision(by_iou) if truth.areas else None,
        average_precisions=tuple(precisions if truth.areas else [None] * len(precisions)),
        true_count=true_count,
        predicted_count=predicted_count,
        count_error=predicted_count - true_count,
        relative_error=(predicted_count - true_count) / true_count if true_count else None,
        tp=detection.tp,
        fp=detection.fp,
        fn=detection.fn,
        tolerance_px=tolerance,
        intersection_px=overlap.intersection,
        predicted_px=overlap.prediction,
        true_px=overlap.truth,
        instances=truth.labels is not None or truth.points is not None,
        areas=truth.areas,
    )


def _detect(
    predicted: NDArray[np.integer], true: NDArray[np.integer], truth: Target, diameter_px: float | None
) -> tuple[Detection, float | None]:
    """Match centres; without true beads every prediction is wrong, whatever the tolerance.

    Points tell no diameter: where `diameter_px` does not either, it is that of the predicted beads.
    """
    found, wanted = bead_table(predicted), bead_table(true)
    centres = [beads[["y", "x"]].to_numpy(dtype=np.float64) for beads in (found, wanted)]
    if truth.points is not None and truth.labels is None:
        centres[1] = truth.points.astype(np.float64)
    if not len(centres[1]):
        return Detection(0, len(found), 0), None
    sized = wanted if truth.areas and len(wanted) else found
    if diameter_px is None and not len(sized):
        return Detection(0, 0, len(centres[1])), None
    tolerance = (float(sized["equivalent_diameter_px"].median()) if diameter_px is None else diameter_px) / 2
    return match_points(centres[0], centres[1], tolerance).counts, tolerance


def true_objects(target: Target) -> NDArray[np.integer]:
    """Return the annotated instances (Y, X) that are not ignored; of points alone the pixel at each centre."""
    if target.areas or target.points is None:
        return visible_objects(target.foreground, target.labels, target.ignore)
    marks = np.zeros(target.foreground.shape, np.int32)
    marks[tuple(np.rint(target.points).astype(np.int64).T)] = np.arange(1, len(target.points) + 1)
    return marks


def visible_objects(
    foreground: NDArray[np.bool_], labels: NDArray[np.integer] | None, ignore: NDArray[np.bool_] | None
) -> NDArray[np.integer]:
    """Return the instances, those under the ignore mask left out whole, so that no slivers of them are counted."""
    instances: NDArray[np.integer] = label_objects(foreground) if labels is None else labels
    if ignore is None or not ignore.any():
        return instances
    ids, at, areas = np.unique(instances, return_inverse=True, return_counts=True)
    hidden = np.bincount(at.ravel(), weights=ignore.ravel(), minlength=len(ids))
    kept = np.where(hidden >= IGNORED_SHARE * areas, 0, ids)
    return np.asarray(kept[at].reshape(instances.shape), dtype=instances.dtype)


def _size(array: NDArray[np.generic]) -> str:
    return "x".join(str(length) for length in array.shape[::-1])


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


def jaccard(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], ignore: NDArray[np.generic] | None = None
) -> float:
    """Return the Jaccard index (IoU) of two hard masks (Y, X), `ignore` left out; 1.0 where both are empty."""
    return count_overlap(prediction, truth, ignore).jaccard


def dice(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], ignore: NDArray[np.generic] | None = None
) -> float:
    """Return the Dice coefficient of two hard masks (Y, X), `ignore` left out; 1.0 where both are empty."""
    return count_overlap(prediction, truth, ignore).dice


def aggregate(overlaps: Sequence[Overlap], fields: Sequence[str]) -> dict[str, float]:
    """Return Jaccard and Dice over many images.

    Parameters
    ----------
    overlaps : sequence of Overlap
        One per image.
    fields : sequence of str
        The field of view of each image.

    Returns
    -------
    dict
        ``jaccard_images``, ``jaccard_fields``, ``jaccard_pooled``, ``dice_images``, ``dice_fields``, ``dice_pooled``.

    Raises
    ------
    InputError
        There is no image, or not one field per image.
    """
    if not overlaps:
        raise InputError("There is no image to score.", remedy="Give at least one image with a mask.")
    if len(overlaps) != len(fields):
        raise InputError(f"{len(overlaps)} images and {len(fields)} fields: each image needs its field.")
    pooled = sum(overlaps, EMPTY)
    scores: dict[str, float] = {}
    for name in ("jaccard", "dice"):
        values = [float(getattr(overlap, name)) for overlap in overlaps]
        scores[f"{name}_images"] = sum(values) / len(values)
        scores[f"{name}_fields"] = mean_over_fields(values, fields)
        scores[f"{name}_pooled"] = float(getattr(pooled, name))
    return scores


def mean_over_fields(values: Sequence[float], fields: Sequence[str]) -> float:
    """Return the mean over fields of view of the mean of their images' `values`."""
    by_field: dict[str, list[float]] = {}
    for value, field in zip(values, fields, strict=True):
        by_field.setdefault(field, []).append(value)
    means = [sum(of_field) / len(of_field) for of_field in by_field.values()]
    return sum(means) / len(means)


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one image, or the sum over several.

    Attributes
    ----------
    intersection : int
        Pixels that are foreground in both.
    prediction : int
        Foreground pixels of the prediction.
    truth : int
        Foreground pixels of the truth.
    """

    intersection: int
    prediction: int
    truth: int

    def __add__(self, other: Overlap) -> Overlap:
        """Return the pooled counts of two images."""
        return Overlap(
            self.intersection + other.intersection, self.prediction + other.prediction, self.truth + other.truth
        )

    @property
    def union(self) -> int:
        """Pixels that are foreground in at least one."""
        return self.prediction + self.truth - self.intersection

    @property
    def jaccard(self) -> float:
        """Intersection over union; 1.0 where both are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum of both areas; 1.0 where both are empty."""
        total = self.prediction + self.truth
        return 2 * self.intersection / total if total else 1.0


EMPTY = Overlap(0, 0, 0)
"""The counts of no pixels: the start of a sum."""


def count_overlap(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], ignore: NDArray[np.generic] | None = None
) -> Overlap:
    """Count the foreground pixels of a prediction, of the truth, and of both.

    Parameters
    ----------
    prediction, truth : (Y, X) bool, or any dtype in which non-zero is foreground
        Hard masks. Apply the threshold to a probability first.
    ignore : (Y, X) bool, optional
        Pixels that are left out of all counts.

    Raises
    ------
    InputError
        The shapes differ.
    """
    shapes = {array.shape for array in (prediction, truth, ignore) if array is not None}
    if len(shapes) > 1:
        raise InputError(
            f"Prediction and truth differ in shape: {prediction.shape} and {truth.shape}"
            + (f", ignore mask {ignore.shape}." if ignore is not None else "."),
            remedy="Compare a prediction with the mask of the same image.",
        )
    predicted = prediction.astype(bool, copy=False)
    true = truth.astype(bool, copy=False)
    if ignore is not None:
        kept = ~ignore.astype(bool, copy=False)
        predicted, true = predicted & kept, true & kept
    both = np.count_nonzero(predicted & true)
    return Overlap(int(both), int(np.count_nonzero(predicted)), int(np.count_nonzero(true)))


@dataclass(frozen=True)
class Agreement:
    """Bias and 95 % limits of agreement of paired counts, each with its 95 % confidence interval.

    Attributes
    ----------
    pairs : int
        Images compared.
    bias : float
        Mean difference, predicted minus true, beads per image; of ratios: geometric mean of predicted over true.
    lower, upper : float
        Limits within which 95 % of the differences (or ratios) lie.
    bias_interval, lower_interval, upper_interval : (float, float)
        Where each of the three may lie, given so few images.
    """

    pairs: int
    bias: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]


def agreement(true: Sequence[float], predicted: Sequence[float]) -> Agreement:
    """Return bias and limits of agreement of the differences, predicted minus true.

    Parameters
    ----------
    true, predicted : sequence of float
        Counts of the same images, in the same order.

    Raises
    ------
    InputError
        There are fewer than two images, or the lengths differ.
    """
    return _agreement(np.asarray(predicted, float) - paired(true, predicted))


def ratio_agreement(true: Sequence[float], predicted: Sequence[float]) -> Agreement:
    """Return bias and limits of agreement of the ratios predicted / true, computed on their logarithms.

    Images without a bead on either side have no ratio and are left out.

    Raises
    ------
    InputError
        Fewer than two images have beads on both sides, or the lengths differ.
    """
    reference, counted = paired(true, predicted), np.asarray(predicted, float)
    both = (reference > 0) & (counted > 0)
    found = _agreement(np.log(counted[both] / reference[both]))
    intervals = ((math.exp(a), math.exp(b)) for a, b in (found.bias_interval, found.lower_interval,
                                                         found.upper_interval))  # fmt: skip
    return Agreement(found.pairs, math.exp(found.bias), math.exp(found.lower), math.exp(found.upper), *intervals)


def spans_decades(true: Sequence[float]) -> bool:
    """Tell whether true counts differ so much that their ratio says more than their difference."""
    positive = [count for count in true if count > 0]
    return len(positive) > 1 and max(positive) >= DECADE * min(positive)


def paired(true: Sequence[float], predicted: Sequence[float]) -> NDArray[np.float64]:
    """Return the true counts as an array; raise `InputError` where there are not as many predicted ones."""
    if len(true) != len(predicted):
        raise InputError(f"There are {len(true)} true and {len(predicted)} predicted counts.", remedy="Give pairs.")
    return np.asarray(true, float)


def _agreement(differences: NDArray[np.float64]) -> Agreement:
    pairs = len(differences)
    if pairs < 2:
        raise InputError(
            f"Limits of agreement cannot be computed from {plural(pairs, 'image')}.", remedy="Score at least two."
        )
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    lower, upper = bias - COVERAGE * spread, bias + COVERAGE * spread
    quantile = float(special.stdtrit(pairs - 1, 0.975))
    of_bias = quantile * spread / math.sqrt(pairs)
    of_limit = quantile * spread * math.sqrt(1 / pairs + COVERAGE**2 / (2 * (pairs - 1)))
    return Agreement(pairs, bias, lower, upper, (bias - of_bias, bias + of_bias),
                     (lower - of_limit, lower + of_limit), (upper - of_limit, upper + of_limit))  # fmt: skip
