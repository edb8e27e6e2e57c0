"""Where the bead is that a person points at, and how large: the circle across which brightness changes most.

The score of a circle is the change of the mean brightness along it when its radius grows (Daugman 1993), averaged
within half a pixel, weighed by how near it is to the place pointed at and to the usual size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ANGLES = 24
"""Points on a circle."""
STEP = 0.5
"""Distance of the centres and radii that are tried, px."""
REACH = 0.6
"""How far from the place pointed at the centre may lie, in bead diameters."""
NEAR = 0.35
"""Standard deviation of that distance, in bead diameters: half of a bead away counts for a third."""
SIZES = (0.8, 1.25)
"""Smallest and largest radius, in usual radii."""
SPREAD = 0.12
"""Standard deviation of the logarithm of the radius about the usual one."""
WEAK = 1.0
"""An edge must be this many times as steep as the mean gradient around it, or nothing is fitted. In pure noise
0.65 is reached as the median and 1.0 by one place in a hundred; in simulated beads 2 to 3."""
FLAT = 1e-9
"""Differences below this share of the brightness are rounding."""


@dataclass(frozen=True)
class Bead:
    """A round bead.

    Attributes
    ----------
    y, x : float
        Its centre, px; whole numbers are the centres of pixels.
    radius : float
        Px.
    fitted : bool
        Whether it was found in the image; otherwise it is the place pointed at, with the usual size.
    """

    y: float
    x: float
    radius: float
    fitted: bool = True


def fit_bead(
    grey: NDArray[np.generic], y: float, x: float, diameter: float, polarity: Literal["dark", "bright"] = "dark"
) -> Bead:
    """Return the bead nearest to a place of an image.

    Parameters
    ----------
    grey : (Y, X)
        Image, any number type.
    y, x : float
        Place pointed at, px.
    diameter : float
        Usual diameter, px.
    polarity : {"dark", "bright"}
        What beads are against their surroundings.

    Returns
    -------
    Bead
        With `fitted` False where no edge around the place is steep enough.
    """
    radius = diameter / 2
    patch, top, left = _around(grey, y, x, math.ceil(diameter * (REACH + SIZES[1]) + 2))
    if polarity == "bright":
        patch = -patch
    smooth = ndimage.gaussian_filter(patch, max(0.5, radius / 6))
    offsets = np.arange(-REACH * diameter, REACH * diameter + STEP / 2, STEP)
    radii = np.arange(SIZES[0] * radius, SIZES[1] * radius + STEP / 4, STEP / 2)
    steepness = _steepness(smooth, y - top + offsets, x - left + offsets, radii)
    apart = (offsets[:, None] ** 2 + offsets[None, :] ** 2) / (2 * (NEAR * diameter) ** 2)
    unusual = np.log(radii / radius) ** 2 / (2 * SPREAD**2)
    score = steepness * np.exp(-apart[:, :, None] - unusual[None, None, :])
    row, column, size = (int(i) for i in np.unravel_index(int(np.argmax(score)), score.shape))
    usual = float(np.mean(np.hypot(*np.gradient(smooth))))
    if steepness[row, column, size] <= max(WEAK * usual, FLAT * float(np.abs(smooth).max())):
        return Bead(float(y), float(x), radius, fitted=False)
    return Bead(float(y + offsets[row]), float(x + offsets[column]), float(radii[size]))


def _around(grey: NDArray[np.generic], y: float, x: float, half: int) -> tuple[Floats, int, int]:
    """Return the part of the image within `half` px of a place, continued at the border, and where it begins."""
    top, left = round(y) - half, round(x) - half
    rows = np.clip(np.arange(top, top + 2 * half + 1), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(left, left + 2 * half + 1), 0, grey.shape[1] - 1)
    return grey[np.ix_(rows, columns)].astype(np.float64), top, left


def _steepness(smooth: Floats, rows: Floats, columns: Floats, radii: Floats) -> Floats:
    """Return for every centre and radius how much brighter it is half a pixel outside than inside, per px."""
    angle = np.arange(ANGLES) * (2 * np.pi / ANGLES)
    along = []
    for radius in radii:
        edges = [radius - STEP, radius + STEP]
        y = rows[:, None, None, None] + np.multiply.outer(edges, np.sin(angle))
        x = columns[None, :, None, None] + np.multiply.outer(edges, np.cos(angle))
        y, x = np.broadcast_arrays(y, x)
        values = ndimage.map_coordinates(smooth, (y, x), order=1, mode="nearest")
        inside, outside = values[..., 0, :], values[..., 1, :]
        # A neighbour that touches darkens a few points outside: what becomes darker there counts as no change.
        along.append(np.maximum(outside - inside, 0.0).mean(axis=-1) / (2 * STEP))
    return np.stack(along, axis=-1)
