"""Jaccard and Dice of one image, and their three means over many: by image, by field of view, pooled.

An image that is empty in the truth and in the prediction scores 1.0: it is right. (MONAI's `DiceMetric` and `MeanIoU`
give 0.0 there, or leave it out, unless they are told otherwise.)

========  ========================================================================================
suffix    meaning
========  ========================================================================================
images    mean of the scores of single images: every image weighs the same
fields    mean over fields of view of the mean over their images: every field weighs the same
pooled    one score from the summed pixel counts: every pixel weighs the same, dense images most
========  ========================================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.errors import InputError
from beadseg.measure.overlap import EMPTY, Overlap, count_overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray


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
