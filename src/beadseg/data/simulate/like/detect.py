"""Bead centres from the image itself: annotations may be shifted, and one object may be several beads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

SMOOTH = 0.2
"""Blur before maxima are looked for, in bead diameters."""
APART = 0.5
"""Two maxima are two beads from this distance on, in bead diameters."""
WEAK = 0.45
"""A bead has at least this share of the density that annotated beads have in the middle."""
NOISE = 5.0
"""A maximum is seen from this many robust standard deviations on."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Peaks:
    """Maxima of an image's density: centres (N, 2), row and column, px, and their height (N,)."""

    centres: Floats
    height: Floats

    def at_least(self, height: float) -> Peaks:
        """Return the maxima of this height or more."""
        keep = self.height >= height
        return Peaks(self.centres[keep], self.height[keep])


def peaks(off: Floats, diameter: float) -> Peaks:
    """Return all maxima above the noise of a density (C, Y, X), channels averaged."""
    smooth = ndimage.gaussian_filter(off.mean(axis=0), SMOOTH * diameter)
    reach = max(1, round(APART * diameter / 2))
    # Beads raise the upper half of the values, so the noise is told from the lower tail: 5 % and 25 % of a Gaussian.
    spread = float(np.subtract(*np.quantile(smooth, (0.25, 0.05)))) / 0.970
    highest = ndimage.maximum_filter(smooth, 2 * reach + 1)
    rows, columns = np.nonzero((smooth == highest) & (smooth > np.median(smooth) + NOISE * spread))
    order = np.argsort(-smooth[rows, columns], kind="stable")
    whole = np.stack((rows, columns), axis=1)[order]
    centres = _exact(smooth, whole[_first_of_close(whole, APART * diameter)])
    height = smooth[tuple(np.clip(np.rint(centres).astype(int), 0, np.array(smooth.shape) - 1).T)]
    return Peaks(centres, height)


def _first_of_close(centres: NDArray[np.intp], apart: float) -> NDArray[np.bool_]:
    """Tell which centres (N, 2) stay when of two closer than `apart` the later goes."""
    keep = np.ones(len(centres), dtype=bool)
    if len(centres) > 1:
        for first, second in np.sort(cKDTree(centres).query_pairs(apart, output_type="ndarray"), axis=1).tolist():
            if keep[first]:
                keep[second] = False
    return keep


def _exact(smooth: Floats, centres: NDArray[np.intp]) -> Floats:
    """Return centres between pixels: the top of the parabola through a maximum and its neighbours."""
    found = centres.astype(np.float64)
    for axis in (0, 1):
        inner = (centres[:, axis] > 0) & (centres[:, axis] < smooth.shape[axis] - 1)
        rows, columns = centres[inner].T
        step = (1, 0) if axis == 0 else (0, 1)
        below, middle, above = (smooth[rows + k * step[0], columns + k * step[1]] for k in (-1, 0, 1))
        bend = np.minimum(below - 2 * middle + above, -1e-12)
        found[inner, axis] += np.clip(0.5 * (below - above) / bend, -0.5, 0.5)
    return found


def neighbour_distance(centres: Floats) -> Floats:
    """Return the distance (N,) of every centre to the nearest other one, px; infinite where there is none."""
    if len(centres) < 2:
        return np.full(len(centres), np.inf)
    distance = np.asarray(cKDTree(centres).query(centres, k=2)[0], dtype=np.float64)
    return distance[:, 1]


def usual_height(found: Peaks, foreground: NDArray[np.bool_], diameter: float) -> Floats:
    """Return the heights of the maxima that an annotation (Y, X) names, each object by its highest one."""
    reach = max(1, round(diameter / 4))
    near = ndimage.binary_dilation(foreground, iterations=reach)
    objects, count = ndimage.label(near, structure=np.ones((3, 3)))
    place = np.clip(np.rint(found.centres).astype(int), 0, np.array(foreground.shape) - 1)
    owner = objects[tuple(place.T)] if len(place) else np.zeros(0, dtype=int)
    best = np.zeros(count + 1)
    np.maximum.at(best, owner, found.height)
    heights: Floats = best[1:][best[1:] > 0]
    return heights
