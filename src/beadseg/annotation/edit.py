"""Change instance labels bead by bead: add one fitted to the image, remove one, separate or merge two that touch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage
from skimage.morphology import convex_hull_image

from beadseg.data.masks import equal_regions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Place = tuple[float, float]
    Floats = NDArray[np.float64]
    Labels = NDArray[np.uint32]

SMALLEST_PART = 4
"""A cut that leaves less than this on one side, px, is none."""

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
FITTED, DIRECTIONS, LARGEST_RADIUS = 100, 24, 48.0
"""Finding the size of beads: number of centres, number of directions, longest radius in px."""
SPREAD = 0.12
"""Standard deviation of the logarithm of the radius about the usual one."""
WEAK = 1.0
"""An edge must be this many times as steep as the mean gradient around it, or nothing is fitted. In pure noise
0.65 is reached as the median and 1.0 by one place in a hundred; in simulated beads 2 to 3."""
FLAT = 1e-9
"""Differences below this share of the brightness are rounding."""


def added(labels: Labels, bead: Bead, number: int | None = None) -> Patch | None:
    """Return the patch that marks a bead with a new id where nothing is marked yet; None where no pixel is free.

    Parameters
    ----------
    labels : (Y, X) uint32
        Instance labels; they stay as they are.
    bead : Bead
        What is marked; at least one pixel.
    number : int, optional
        Its id; one more than the largest when not given.
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
    values[free] = _new_id(labels) if number is None else number
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


def merged(labels: Labels, start: Place, end: Place) -> Patch | None:
    """Return the patch that makes one bead of two; None where they lie apart.

    Parameters
    ----------
    labels : (Y, X) uint32
        Instance labels; they stay as they are.
    start, end : (float, float)
        Row and column, px, of a place in either bead. Where they do not touch, what is free between them, in the
        convex hull of both, becomes bead too.
    """
    first, last = at(labels, *start), at(labels, *end)
    if not first or not last or first == last:
        return None
    boxes = _box(labels, first), _box(labels, last)
    window = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(*boxes, strict=True))
    values = labels[window].copy()
    whole = (values == first) | (values == last)
    if not _in_one_piece(whole):
        between = convex_hull_image(whole) & (values == 0)  # type: ignore[no-untyped-call]
        smaller = min(np.count_nonzero(values == first), np.count_nonzero(values == last))
        whole |= between
        if not _in_one_piece(whole) or np.count_nonzero(between) > smaller:
            return None
    values[whole] = first
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


def _in_one_piece(mask: NDArray[np.bool_]) -> bool:
    return int(ndimage.label(mask, np.ones((3, 3)))[1]) == 1


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


def bead_size_at(
    grey: NDArray[np.generic], centres: NDArray[np.floating]
) -> tuple[float, Literal["dark", "bright"]] | None:
    """Return the diameter of the beads at (N, 2) centres of an image, px, and what they are against the rest.

    It is where the brightness around a centre, the median over directions and beads, changes most. None where it
    changes nowhere.
    """
    some = centres[:: math.ceil(len(centres) / FITTED)]
    radii = np.arange(0, min(LARGEST_RADIUS, max(grey.shape) / 2) + STEP, STEP)
    angles = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    around = np.stack([np.multiply.outer(np.sin(angles), radii), np.multiply.outer(np.cos(angles), radii)])
    places = np.asarray(some, float).T[:, :, None, None] + around[:, None]
    smooth = ndimage.gaussian_filter(grey.astype(np.float32), 1.0)
    profile = np.median(ndimage.map_coordinates(smooth, places, order=1, mode="nearest"), axis=(0, 1))
    change = np.diff(profile)
    steepest = int(np.argmax(np.abs(change)))
    if not change[steepest]:
        return None
    return 2 * float(radii[steepest] + STEP / 2), "dark" if change[steepest] > 0 else "bright"


def beads_at(
    grey: NDArray[np.generic],
    centres: NDArray[np.floating],
    diameter: float,
    polarity: Literal["dark", "bright"] = "dark",
) -> Labels:
    """Return labels (Y, X) with one bead for each of (N, 2) centres (y, x) px, fitted to the image where it can be."""
    labels = np.zeros(grey.shape, np.uint32)
    for number, (y, x) in enumerate(centres.tolist(), start=1):
        bead = fit_bead(grey, y, x, diameter, polarity)
        if math.hypot(bead.y - y, bead.x - x) > NEAR * diameter:
            bead = Bead(y, x, diameter / 2, fitted=False)  # that is another one
        patch = added(labels, bead, number)
        if patch is not None:
            labels[patch.window] = patch.values
        labels[round(y), round(x)] = number
    return labels


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


@dataclass(frozen=True, eq=False)
class Patch:
    """New values for a box of a label image.

    Attributes
    ----------
    window : tuple of slice
        One per axis, with start and stop.
    values : numpy.ndarray
        uint32, of the window's shape.
    """

    window: tuple[slice, ...]
    values: Labels

    def apply(self, labels: Labels) -> None:
        """Write the values into `labels`."""
        labels[self.window] = self.values

    def changed(self, labels: Labels) -> tuple[NDArray[np.intp], ...]:
        """Return the indices, in `labels`, of the pixels that the patch changes there."""
        places = np.nonzero(labels[self.window] != self.values)
        return tuple(axis + part.start for axis, part in zip(places, self.window, strict=True))


def difference(before: Labels, after: Labels) -> Patch | None:
    """Return the smallest patch that makes `after` of `before`; None where they are equal."""
    changed = before != after
    window = []
    for axis in range(changed.ndim):
        others = tuple(other for other in range(changed.ndim) if other != axis)
        found = np.flatnonzero(changed.any(axis=others))
        if not len(found):
            return None
        window.append(slice(int(found[0]), int(found[-1]) + 1))
    box = tuple(window)
    return Patch(box, np.ascontiguousarray(after[box], np.uint32))
