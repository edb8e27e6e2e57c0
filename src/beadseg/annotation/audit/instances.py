"""Faults of labels: several beads under one id, one bead under several ids, ids in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.audit import limits
from beadseg.annotation.audit.measurement import Places
from beadseg.annotation.audit.places import places
from beadseg.data.objects import equal_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.annotation.audit.points import Peaks

    Floats = NDArray[np.float64]

SMALLEST_PIECE = 0.1
"""Smaller pieces of a label, as a share of the typical area, are specks and no second piece."""
PAIR_AREA = 1.4
"""Two halves of a bead have at most this many typical areas together."""


def label_faults(
    labels: NDArray[np.uint32] | None, beads: Peaks, typical: float, radius: float
) -> tuple[Places, Places]:
    """Return merged and broken labels.

    Parameters
    ----------
    labels : (Y, X) uint32 or None
        Ids; None for a mask without ids, which has no such faults.
    beads : Peaks
        Beads seen in the image.
    typical : float
        Their typical height.
    radius : float
        Bead radius, px.
    """
    if labels is None or not labels.any():
        return Places(), Places()
    ids, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (1 if ids[0] > 0 else 0)
    area = np.bincount(compact.ravel())
    area[0] = 0
    usual = float(np.median(area[1:]))
    centres, length = _shapes(compact, len(area))
    count = len(area) - 1
    merged = _merged(compact, area, usual, length, beads, typical)
    broken = np.union1d(_in_pieces(compact, area, usual), _halves(compact, area, usual, centres, radius))
    return (
        places(centres[merged], count, labels.shape, radius),
        places(centres[broken], count, labels.shape, radius),
    )


def _shapes(compact: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    """Return the centre (N, 2) of every id, px, and its length over its width (N,); those of 0 mean nothing."""
    rows, columns = np.nonzero(compact)
    owner = compact[rows, columns]
    area = np.maximum(1, np.bincount(owner, minlength=count))

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(owner, values, count) / area, np.float64)

    y, x = mean(rows.astype(np.float64)), mean(columns.astype(np.float64))
    dy, dx = rows - y[owner], columns - x[owner]
    # A pixel is not a point: a square of side 1 has a variance of 1/12.
    yy, xx, xy = mean(dy * dy) + 1 / 12, mean(dx * dx) + 1 / 12, mean(dy * dx)
    middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return np.stack((y, x), axis=1), np.sqrt((middle + spread) / np.maximum(middle - spread, 1 / 12))


def _merged(
    compact: NDArray[np.int64], area: NDArray[np.int64], usual: float, length: Floats, beads: Peaks, typical: float
) -> NDArray[np.int64]:
    """Return ids that are far too large, and are long or have two or more beads in them."""
    sure = beads.where(beads.height >= limits.CLEAR * typical)
    nearest = np.rint(sure.position).astype(np.int64)
    rows, columns = nearest[:, 0], nearest[:, 1]
    height, width = compact.shape[0], compact.shape[1]
    inside = np.bincount(compact[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], minlength=len(area))
    inside[0] = 0
    return np.flatnonzero((area >= limits.MERGED_AREA * usual) & ((inside >= 2) | (length >= limits.MERGED_LENGTH)))


def _in_pieces(compact: NDArray[np.int64], area: NDArray[np.int64], usual: float) -> NDArray[np.int64]:
    """Return ids with two or more separate pieces that are not specks."""
    regions = equal_regions(compact.astype(np.int32), connectivity=2)
    sizes = np.bincount(regions.ravel())
    first = np.zeros(len(sizes), np.int64)
    first[regions.ravel()] = compact.ravel()
    large = sizes >= max(2.0, SMALLEST_PIECE * usual)
    large[0] = False
    pieces = np.bincount(first[large], minlength=len(area))
    pieces[0] = 0
    return np.flatnonzero(pieces >= 2)


def _halves(
    compact: NDArray[np.int64], area: NDArray[np.int64], usual: float, centres: Floats, radius: float
) -> NDArray[np.int64]:
    """Return the first of two touching ids that are both small and together make up one bead."""
    small = area < limits.BROKEN_AREA * usual
    small[0] = False
    pairs = []
    for one, other in ((compact[1:], compact[:-1]), (compact[:, 1:], compact[:, :-1])):
        touching = (one != other) & small[one] & small[other]
        pairs.append(np.stack((one[touching], other[touching]), axis=1))
    found = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    together = area[found].sum(axis=1) <= PAIR_AREA * usual
    near = np.hypot(*(centres[found[:, 0]] - centres[found[:, 1]]).T) <= 1.2 * radius
    border = _at_border(compact, len(area))
    return np.unique(found[together & near & ~border[found].any(axis=1)][:, 0])


def _at_border(compact: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    touches = np.zeros(count, bool)
    touches[np.concatenate([compact[0], compact[-1], compact[:, 0], compact[:, -1]])] = True
    return touches
