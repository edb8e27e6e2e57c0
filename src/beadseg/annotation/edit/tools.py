"""What a person does to one bead of a label image: add, remove, separate; and tidying up after a brush."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.edit.patch import Patch, difference
from beadseg.data.objects import equal_regions

if TYPE_CHECKING:
    from beadseg.annotation.edit.fit import Bead
    from beadseg.annotation.edit.patch import Labels

    Place = tuple[float, float]

SMALLEST_PART = 4
"""A cut that leaves less than this on one side, px, is none."""


def added(labels: Labels, bead: Bead) -> Patch | None:
    """Return the patch that marks a bead with a new id where nothing is marked yet; None where no pixel is free.

    Parameters
    ----------
    labels : (Y, X) uint32
        Instance labels; they stay as they are.
    bead : Bead
        What is marked; at least one pixel.
    """
    radius = max(bead.radius, 0.5)
    top, left = (max(0, math.floor(centre - radius)) for centre in (bead.y, bead.x))
    bottom, right = (
        min(length, math.ceil(centre + radius) + 1)
        for centre, length in zip((bead.y, bead.x), labels.shape, strict=True)
    )
    if top >= bottom or left >= right:
        return None
    window = (slice(top, bottom), slice(left, right))
    y, x = np.ogrid[top:bottom, left:right]
    disk = (y - bead.y) ** 2 + (x - bead.x) ** 2 <= radius**2
    values = labels[window].copy()
    free = disk & (values == 0)
    if not free.any():
        return None
    values[free] = _new_id(labels)
    return Patch(window, values)


def removed(labels: Labels, y: float, x: float) -> Patch | None:
    """Return the patch that takes away the bead at a place of (Y, X) labels; None where there is none."""
    value = at(labels, y, x)
    if not value:
        return None
    window = _box(labels, value)
    values = labels[window].copy()
    values[values == value] = 0
    return Patch(window, values)


def separated(labels: Labels, start: Place, end: Place) -> Patch | None:
    """Return the patch that makes two beads of one; None where the drag separates nothing.

    Parameters
    ----------
    labels : (Y, X) uint32
        Instance labels; they stay as they are.
    start, end : (float, float)
        Row and column, px, where a drag began and ended. Both inside the same bead: from the middle of one to the
        middle of the other. Otherwise: a cut across.
    """
    first, last = at(labels, *start), at(labels, *end)
    value = first if first and first == last else _crossed(labels, start, end)
    if not value:
        return None
    window = _box(labels, value)
    y, x = np.ogrid[window[0], window[1]]
    if first and first == last:
        beyond = (y - start[0]) ** 2 + (x - start[1]) ** 2 > (y - end[0]) ** 2 + (x - end[1]) ** 2
    else:
        beyond = (y - start[0]) * (end[1] - start[1]) > (x - start[1]) * (end[0] - start[0])
    values = labels[window].copy()
    whole = values == value
    part = whole & beyond
    if min(np.count_nonzero(part), np.count_nonzero(whole & ~beyond)) < SMALLEST_PART:
        return None
    values[part] = _new_id(labels)
    return Patch(window, values)


def tidied(before: Labels, after: Labels) -> Labels:
    """Return `after` with an id of its own for every piece of a bead that was painted or cut.

    Both are (Y, X) uint32. Ids whose pixels are the same in `before` stay as they are, in however many pieces.
    """
    patch = difference(before, after)
    if patch is None:
        return after
    touched = np.unique(np.concatenate((before[patch.window].ravel(), after[patch.window].ravel())))
    result = after.copy()
    free = _new_id(after)
    for value in touched[touched > 0]:
        mine = after == value
        pieces = equal_regions(mine, connectivity=2)
        for piece in range(2, int(pieces.max(initial=0)) + 1):
            result[pieces == piece] = free
            free += 1
    return result


def at(labels: Labels, y: float, x: float) -> int:
    """Return the id at a place, px; 0 outside the image."""
    row, column = round(y), round(x)
    inside = 0 <= row < labels.shape[0] and 0 <= column < labels.shape[1]
    return int(labels[row, column]) if inside else 0


def _crossed(labels: Labels, start: Place, end: Place) -> int:
    """Return the id that a line runs through longest; 0 where there is none."""
    steps = max(2, math.ceil(2 * math.dist(start, end)))
    share = np.linspace(0, 1, steps)
    rows = np.clip(np.rint(start[0] + share * (end[0] - start[0])), 0, labels.shape[0] - 1).astype(np.intp)
    columns = np.clip(np.rint(start[1] + share * (end[1] - start[1])), 0, labels.shape[1] - 1).astype(np.intp)
    values, lengths = np.unique(labels[rows, columns], return_counts=True)
    marked = values > 0
    return int(values[marked][np.argmax(lengths[marked])]) if marked.any() else 0


def _box(labels: Labels, value: int) -> tuple[slice, slice]:
    rows, columns = np.nonzero(labels == value)
    return slice(int(rows.min()), int(rows.max()) + 1), slice(int(columns.min()), int(columns.max()) + 1)


def _new_id(labels: Labels) -> int:
    return int(labels.max(initial=0)) + 1
