"""Peaks of a map: local maxima, the higher first, that are far enough apart and have a valley between them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def peaks(
    height: NDArray[np.float32], pixels: NDArray[np.int64], *, distance: float, reach: float, valley: float
) -> NDArray[np.int64]:
    """Return the flat indices, ascending, of the peaks of a map.

    A peak is no lower than its eight neighbours; of an even plateau one pixel is taken. Of two the lower one is none
    when they are nearer than `distance`, or nearer than `reach` without a valley on the straight line between them.

    Parameters
    ----------
    height : (Y, X) float32
        The map, 0 or more; lower outside of `pixels` than inside.
    pixels : (P,) int64
        Flat indices of the pixels that can be peaks.
    distance, reach : float
        Distances of two peaks, px.
    valley : float
        How far the map falls between two peaks, share of the lower one.
    """
    at = _maxima(height, pixels)
    at = at[np.argsort(-height.reshape(-1)[at], kind="stable")]
    points = np.stack(np.divmod(at, height.shape[1]), axis=1)
    # A step on the line is a pixel at most, so that it falls from every peak: without a valley only distance counts.
    reach = reach if valley > 0 else 0.0
    pairs = cKDTree(points).query_pairs(max(distance, reach), output_type="ndarray") if len(points) > 1 else None
    if pairs is None or not len(pairs):
        return np.sort(at)
    apart = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    rivals = pairs[apart < distance]
    if reach:
        ridge = _lowest_between(height, points[pairs[:, 0]], points[pairs[:, 1]], math.ceil(reach))
        lower = height.reshape(-1)[at[pairs[:, 1]]]
        rivals = pairs[(apart < distance) | (ridge > (1.0 - valley) * lower)]
    return np.sort(at[~_beaten(rivals, len(at))])


def _beaten(rivals: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which of `count` peaks have a rival that stays: a better one, the first of its row in `rivals` (N, 2)."""
    beaten = np.zeros(count, bool)
    while len(rivals):
        better, worse = rivals.T
        contested = np.zeros(count, bool)
        contested[worse] = True
        wins = ~contested[better]
        beaten[worse[wins]] = True
        rivals = rivals[~(wins | beaten[better] | beaten[worse])]
    return beaten


def _maxima(height: NDArray[np.float32], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of `pixels` that no neighbour is above; of equal neighbours the first."""
    rows, columns = height.shape
    width = columns + 2
    padded = np.full((rows + 2, width), -np.inf, np.float32)
    padded[1:-1, 1:-1] = height
    flat = padded.reshape(-1)
    at = pixels + 2 * (pixels // columns) + width + 1
    own = flat[at]
    for offset in (1, width, -1, -width, width + 1, width - 1, -width - 1, -width + 1):
        beside = flat[at + offset]
        stays = np.flatnonzero(own >= beside if offset > 0 else own > beside)
        at, own = at[stays], own[stays]
    return np.asarray((at // width - 1) * columns + at % width - 1)


def _lowest_between(
    height: NDArray[np.float32], one: NDArray[np.int64], other: NDArray[np.int64], steps: int
) -> NDArray[np.float32]:
    """Return the lowest value of the map on the straight lines from `one` to `other`, both (N, 2)."""
    lowest = np.full(len(one), np.inf, np.float32)
    for part in np.linspace(0.0, 1.0, steps + 1)[1:-1]:
        y, x = np.rint(one + part * (other - one)).astype(np.int64).T
        lowest = np.minimum(lowest, height[y, x])
    return lowest
