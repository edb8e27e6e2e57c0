"""Scores of one image: pixels, beads, counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.config.base import Config
from beadseg.data.objects import label_objects
from beadseg.errors import InputError
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points, mean_average_precision, overlap_table
from beadseg.measure.overlap import Overlap, count_overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.dataset import Target

IGNORED_SHARE = 0.5
"""An object of which at least this share lies under the ignore mask is left out of all counts."""


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
