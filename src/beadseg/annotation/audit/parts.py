"""Parts of a mask that are shifted against the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from beadseg.annotation.audit import limits
from beadseg.annotation.audit.measurement import Part
from beadseg.annotation.audit.register import REACH, displacements, vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BEADS_PER_PART = 12
"""A part has at least about this many beads: fewer agree by chance."""
MOST_PARTS = 4
"""Parts along a side, at most."""


def shifted_parts(mask: Floats, image: Floats, shape: tuple[int, int], radius: float) -> tuple[Part, ...]:
    """Return the parts whose beads agree on a shift that the rest has not.

    Parameters
    ----------
    mask : (N, 2) float64
        Beads of the mask after the best fit of the whole, px.
    image : (M, 2) float64
        Beads of the image, px.
    shape : (int, int)
        Of the image, px.
    radius : float
        Bead radius, px.
    """
    sides = min(MOST_PARTS, int(np.sqrt(len(mask) / BEADS_PER_PART)))
    if sides < 2 or len(image) == 0:
        return ()
    found = []
    rows, columns = (np.linspace(0, length, sides + 1) for length in shape)
    row, column = np.searchsorted(rows, mask[:, 0]) - 1, np.searchsorted(columns, mask[:, 1]) - 1
    for i in range(sides):
        for j in range(sides):
            inside = mask[(row == i) & (column == j)]
            shift = _own_shift(inside, image, radius)
            if shift is not None:
                box = (int(rows[i]), int(columns[j]), int(rows[i + 1]), int(columns[j + 1]))
                found.append(Part(box=box, dy=float(shift[0]), dx=float(shift[1]), beads=len(inside)))
    return tuple(found)


def _own_shift(mask: Floats, image: Floats, radius: float) -> Floats | None:
    """Return the shift (dy, dx) that most of a part's beads agree on, or None where they fit as they lie."""
    if len(mask) < limits.FEWEST_PAIRS:
        return None
    tree = cKDTree(image)
    here = np.count_nonzero(tree.query(mask)[0] <= limits.LOCAL_PX)
    if here > 0.5 * len(mask):
        return None
    moves = displacements(mask, image, REACH)
    shift, _ = vote(moves, REACH)
    close = moves[(np.abs(moves - shift) <= 0.6 * radius).all(axis=1)]
    if len(close) == 0:
        return None
    shift = np.median(close, axis=0)
    there = np.count_nonzero(tree.query(mask + shift)[0] <= limits.LOCAL_PX)
    # One of the 600 shifts tried fits some beads by chance: dense images need more to prove it.
    chance = 1 - np.exp(-_density(image) * np.pi * limits.LOCAL_PX**2)
    enough = there >= max(limits.LOCAL_SHARE, 2 * chance) * len(mask) and there >= 2 * here
    return shift if enough and float(np.hypot(*shift)) >= limits.LOCAL_PX else None


def _density(points: Floats) -> float:
    """Return points per px of the box that holds them."""
    sides = points.max(axis=0) - points.min(axis=0) + 1
    return float(len(points) / sides.prod())
