"""One-to-one matching of predicted beads with true ones, and how well beads are counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
"""0.50, 0.55 … 0.95: the thresholds that `mean_average_precision` averages over."""

COUNT_METRICS = ("f1", "count_bias", "count_mae")
"""Scores of counts: F1 of all beads together; found less true beads, and the size of that error, mean over images."""
DENSITIES = ("sparse", "middle", "dense")
"""Thirds of the images, by their true beads."""


@dataclass(frozen=True, eq=False)
class Matching:
    """A one-to-one matching.

    Attributes
    ----------
    predicted, true : (P,) int64
        Positions (from 0) of the partners of each pair, in the order of `predicted`.
    cost : (P,) float64
        Distance in px, or 1 - IoU, of each pair.
    predictions, truths : int
        Number of objects on either side.
    """

    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    cost: NDArray[np.float64]
    predictions: int
    truths: int

    @property
    def counts(self) -> Detection:
        """True positives, false positives and false negatives."""
        pairs = len(self.predicted)
        return Detection(pairs, self.predictions - pairs, self.truths - pairs)


@dataclass(frozen=True)
class Detection:
    """Counts of detected beads of one image, or the sum over several.

    Attributes
    ----------
    tp, fp, fn : int
        Matched pairs, predictions without a partner, truths without a partner.
    """

    tp: int
    fp: int
    fn: int

    def __add__(self, other: Detection) -> Detection:
        """Return the pooled counts of two images."""
        return Detection(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of the predictions that are right; 1.0 where nothing is predicted."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the truths that are found; 1.0 where there is none."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, ``2 TP / (2 TP + FP + FN)``; 1.0 where both sides are empty."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def average_precision(self) -> float:
        """``TP / (TP + FP + FN)``; 1.0 where both sides are empty.

        This is what the Data Science Bowl 2018 (Caicedo et al., Nature Methods 16, 2019) and StarDist
        (``stardist.matching``: ``accuracy``) call average precision at one IoU threshold. It is not the area under a
        precision-recall curve of COCO: it needs no confidence per object.
        """
        return _ratio(self.tp, self.tp + self.fp + self.fn)


def match_points(
    predicted: NDArray[np.floating], true: NDArray[np.floating], tolerance: float | NDArray[np.floating]
) -> Matching:
    """Match centres that are at most `tolerance` apart.

    Parameters
    ----------
    predicted : (N, 2) float
        Predicted centres, (y, x) in px.
    true : (M, 2) float
        True centres, (y, x) in px.
    tolerance : float or (M,) float
        Largest distance of a pair, px, or of a pair with each true bead; half a bead diameter is usual, since two beads
        can't be nearer than one.

    Raises
    ------
    InputError
        `tolerance` is not positive, or not one for each true bead, or the points are not (N, 2) finite numbers.
    """
    predicted, true = _points(predicted), _points(true)
    reach = np.asarray(tolerance, np.float64)
    if not (np.isfinite(reach) & (reach > 0)).all():
        raise InputError(f"The tolerance is {tolerance}.", remedy="Give a positive distance in px.")
    if reach.ndim and reach.shape != (len(true),):
        raise InputError(
            f"There are {len(true)} true beads and tolerances of shape {reach.shape}.", remedy="Give one for each bead."
        )
    if not len(predicted) or not len(true):
        return _solve(_Candidates.none(), len(predicted), len(true))
    near = cKDTree(predicted).sparse_distance_matrix(cKDTree(true), float(reach.max()), output_type="ndarray")
    near = near[near["v"] <= np.broadcast_to(reach, len(true))[near["j"]]]
    return _solve(_Candidates(near["i"], near["j"], near["v"]), len(predicted), len(true))


def match_labels(predicted: NDArray[np.integer], true: NDArray[np.integer], iou: float = 0.5) -> Matching:
    """Match the objects of two label images (Y, X) whose intersection over union is at least `iou`.

    Positions in the result count the ids present on either side in ascending order.

    Raises
    ------
    InputError
        The shapes differ, the labels are not integers, or `iou` is not in (0, 1].
    """
    return overlap_table(predicted, true).match(iou)


@dataclass(frozen=True, eq=False)
class OverlapTable:
    """Intersection over union of every pair of objects that share a pixel, stored sparsely.

    Attributes
    ----------
    predicted, true : (P,) int64
        Positions of the two objects of a pair among `predicted_ids` and `true_ids`.
    iou : (P,) float64
        Their intersection over union.
    predicted_ids, true_ids : (N,), (M,) int64
        The ids present, ascending.
    """

    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    iou: NDArray[np.float64]
    predicted_ids: NDArray[np.int64]
    true_ids: NDArray[np.int64]

    def match(self, iou: float) -> Matching:
        """Return the optimal matching of pairs that overlap by at least `iou`."""
        if not 0 < iou <= 1:
            raise InputError(f"The IoU threshold is {iou}.", remedy="Give a number above 0 and at most 1.")
        # A hair of slack: 0.6 computed as 3 / 5 must reach a threshold of 0.6 computed as 0.5 + 2 * 0.05.
        enough = self.iou >= iou - 1e-12
        candidates = _Candidates(self.predicted[enough], self.true[enough], 1.0 - self.iou[enough])
        return _solve(candidates, len(self.predicted_ids), len(self.true_ids))

    def detections(self) -> dict[float, Detection]:
        """Return the counts at each of `IOU_THRESHOLDS`."""
        return {threshold: self.match(threshold).counts for threshold in IOU_THRESHOLDS}


def overlap_table(predicted: NDArray[np.integer], true: NDArray[np.integer]) -> OverlapTable:
    """Return the sparse table of overlaps of two label images (Y, X); 0 is background.

    Raises
    ------
    InputError
        The shapes differ, or the labels are not integers.
    """
    if predicted.shape != true.shape:
        raise InputError(
            f"Predicted and true labels differ in shape: {predicted.shape} and {true.shape}.",
            remedy="Compare labels of the same image.",
        )
    predicted_ids, predicted_at, predicted_area = _compact(predicted)
    true_ids, true_at, true_area = _compact(true)
    both = (predicted_at >= 0) & (true_at >= 0)
    ones = np.ones(int(np.count_nonzero(both)), dtype=np.int64)
    shape = (len(predicted_ids), len(true_ids))
    # The constructor sums what falls on the same cell: the number of shared pixels per pair.
    shared = sparse.coo_array((ones, (predicted_at[both], true_at[both])), shape=shape).tocsr().tocoo()
    rows, columns = shared.row, shared.col
    union = predicted_area[rows] + true_area[columns] - shared.data
    return OverlapTable(rows.astype(np.int64), columns.astype(np.int64), shared.data / union, predicted_ids, true_ids)


def mean_average_precision(detections: dict[float, Detection]) -> float:
    """Return the mean of `Detection.average_precision` over the thresholds given (0.50:0.05:0.95 by default)."""
    values = [detection.average_precision for detection in detections.values()]
    return sum(values) / len(values)


@dataclass(frozen=True, eq=False)
class _Candidates:
    """Pairs that may be matched, each with its cost of 0 or more."""

    predicted: NDArray[np.integer]
    true: NDArray[np.integer]
    cost: NDArray[np.floating]

    @classmethod
    def none(cls) -> _Candidates:
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing.astype(np.float64))


def _solve(candidates: _Candidates, predictions: int, truths: int) -> Matching:
    """Return the matching with the most pairs and, among those, the smallest total cost."""
    if not len(candidates.predicted):
        nobody = np.zeros(0, dtype=np.int64)
        return Matching(nobody, nobody, np.zeros(0), predictions, truths)
    rows, row_at = np.unique(candidates.predicted, return_inverse=True)
    columns, column_at = np.unique(candidates.true, return_inverse=True)
    scale = float(candidates.cost.max()) or 1.0
    # Costs lie in [1, 2], since the solver takes an explicit 0 for "no edge". Every row has a partner of its own, which
    # stands for "unmatched" and costs more than all real pairs together could save: pairs come first, cost second.
    unmatched = 2.0 + min(len(rows), len(columns))
    own = np.arange(len(rows))
    # Indices of 32 bits: the solver of SciPy before 1.14 takes no others.
    graph = sparse.csr_array(
        (
            np.concatenate([1.0 + candidates.cost / scale, np.full(len(rows), unmatched)]),
            (
                np.concatenate([row_at, own]).astype(np.int32),
                np.concatenate([column_at, len(columns) + own]).astype(np.int32),
            ),
        ),
        shape=(len(rows), len(columns) + len(rows)),
    )
    picked_rows, picked_columns = min_weight_full_bipartite_matching(graph)
    real = picked_columns < len(columns)
    picked_rows, picked_columns = picked_rows[real], picked_columns[real]
    cost = (np.asarray(graph[picked_rows, picked_columns]).ravel() - 1.0) * scale
    order = np.argsort(rows[picked_rows])
    return Matching(
        rows[picked_rows][order].astype(np.int64),
        columns[picked_columns][order].astype(np.int64),
        cost[order].astype(np.float64),
        predictions,
        truths,
    )


def _points(points: NDArray[np.floating]) -> NDArray[np.float64]:
    checked = np.asarray(points, dtype=np.float64)
    if checked.size == 0:
        return checked.reshape(0, 2)
    if checked.ndim != 2 or checked.shape[1] != 2 or not np.isfinite(checked).all():
        raise InputError(f"Centres of shape {checked.shape} cannot be matched.", remedy="Give finite (y, x) rows.")
    return checked


def _compact(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids present (ascending, without 0), each pixel's position among them or -1, and their areas."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"Labels of dtype {labels.dtype} are not a label image.", remedy="Give whole-numbered labels.")
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    ids, at, areas = np.unique(flat[inside], return_inverse=True, return_counts=True)
    positions = np.full(flat.shape, -1, dtype=np.int64)
    positions[inside] = at
    return ids.astype(np.int64), positions, areas.astype(np.int64)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


@dataclass(frozen=True)
class Counted:
    """The beads of one image.

    Attributes
    ----------
    detection : Detection
        Centres matched one to one.
    """

    detection: Detection

    @classmethod
    def of(cls, found: NDArray[np.floating], true: NDArray[np.floating], diameter: float) -> Counted:
        """Match centres (N, 2), px, that are at most half a bead `diameter` apart."""
        return cls(match_points(found, true, diameter / 2).counts)

    @property
    def true(self) -> int:
        """Beads in the truth."""
        return self.detection.tp + self.detection.fn

    @property
    def error(self) -> int:
        """Found less true beads."""
        return self.detection.fp - self.detection.fn


def count_scores(images: Sequence[Counted]) -> dict[str, float]:
    """Return `COUNT_METRICS` over at least one image."""
    errors = [image.error for image in images]
    return {
        "f1": sum((image.detection for image in images), Detection(0, 0, 0)).f1,
        "count_bias": float(np.mean(errors)),
        "count_mae": float(np.mean(np.abs(errors))),
    }


def density_scores(images: Sequence[Counted]) -> dict[str, float]:
    """Return `COUNT_METRICS` of each third of the images by density, ``f1_sparse`` …; empty thirds are left out."""
    order = sorted(images, key=lambda image: image.true)
    thirds = [[order[i] for i in part] for part in np.array_split(np.arange(len(order)), len(DENSITIES))]
    return {
        f"{name}_{density}": value
        for density, members in zip(DENSITIES, thirds, strict=True)
        if members
        for name, value in count_scores(members).items()
    }
