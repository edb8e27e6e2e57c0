"""Peaks of a map: local maxima, the higher first, none nearer to another than a distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def peaks(height: NDArray[np.float32], pixels: NDArray[np.int64], distance: float) -> NDArray[np.int64]:
    """Return the flat indices, ascending, of the peaks of a map.

    A peak is no lower than its eight neighbours; of an even plateau one pixel is taken. Where two are nearer than
    `distance`, the lower one is none.

    Parameters
    ----------
    height : (Y, X) float32
        The map; lower outside of `pixels` than inside.
    pixels : (P,) int64
        Flat indices of the pixels that can be peaks.
    distance : float
        Least distance of two peaks, px.
    """
    width = height.shape[1] + 2
    padded = np.full((height.shape[0] + 2, width), -np.inf, np.float32)
    padded[1:-1, 1:-1] = height
    flat = padded.reshape(-1)
    rows, columns = np.divmod(pixels, height.shape[1])
    at = (rows + 1) * width + columns + 1
    own = flat[at]
    for offset in (1, width, -1, -width, width + 1, width - 1, -width - 1, -width + 1):
        beside = flat[at + offset]
        stays = own >= beside if offset > 0 else own > beside
        at, own = at[stays], own[stays]
    order = np.argsort(-own, kind="stable")
    at = at[order]
    points = np.stack([at // width - 1, at % width - 1], axis=1)
    alive = _far_apart(points, distance)
    kept = points[alive]
    return np.sort(kept[:, 0] * height.shape[1] + kept[:, 1])


def _far_apart(points: NDArray[np.int64], distance: float) -> NDArray[np.bool_]:
    """Return which of `points` (N, 2), the most important first, stay when none may be nearer to one that stays."""
    alive = np.ones(len(points), bool)
    if len(points) < 2:
        return alive
    pairs = cKDTree(points).query_pairs(np.nextafter(distance, 0.0), output_type="ndarray")
    for better, worse in pairs[np.argsort(pairs[:, 0], kind="stable")].tolist():
        if alive[better]:
            alive[worse] = False
    return alive
