"""Outlines to pixels: a pixel belongs to a shape when its centre lies in it.

Polygons are filled by the even-odd rule. A centre exactly on an outline counts as ImageJ counts it (`PolygonFiller`):
outside on the left and upper side, inside on the right and lower side, so that shapes that share an edge never share
a pixel, and an outline along pixel edges covers exactly the pixels it encloses.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations.model import Region, tight
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

Size = tuple[int, int]
"""Height and width of the image, px."""

MAX_COORDINATE = 1e6
"""Coordinates beyond this are taken for damage, px."""


def polygon(rings: Sequence[ArrayLike], size: Size) -> Region | None:
    """Fill closed outlines by the even-odd rule: a ring inside another is a hole.

    Parameters
    ----------
    rings : sequence of (n, 2) array-like
        Corners as x, y in px; each ring is closed by itself.
    size : (int, int)
        Height and width of the image; what lies beyond is cut off.

    Returns
    -------
    Region or None
        None where no pixel's centre of the image lies inside.

    Raises
    ------
    InputError
        A ring has fewer than three corners, or a coordinate is not a number or absurdly large.
    """
    corners = [_checked(ring) for ring in rings]
    box = _box(np.concatenate(corners), size) if corners else None
    if box is None:
        return None
    top, bottom, left, right = box
    # One column more: what begins right of the box is counted there, and dropped.
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    for ring in corners:
        _add_crossings(crossings, ring - np.array([left, top]))
    return tight(np.cumsum(crossings[:, :-1], axis=1) % 2 == 1, top, left)


def _add_crossings(crossings: NDArray[np.int32], ring: NDArray[np.float64]) -> None:
    """Count, per row, the columns at which the outline is crossed by the line through the pixels' centres."""
    height, columns = crossings.shape
    following = np.roll(ring, -1, axis=0)
    upper = np.where(ring[:, 1:] <= following[:, 1:], ring, following)
    lower = np.where(ring[:, 1:] <= following[:, 1:], following, ring)
    first = np.clip(np.floor(upper[:, 1] - 0.5) + 1, 0, height).astype(np.intp)
    after = np.clip(np.floor(lower[:, 1] - 0.5) + 1, 0, height).astype(np.intp)
    count = np.maximum(after - first, 0)
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    span = lower[edge] - upper[edge]
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * span[:, 0] / span[:, 1]
    column = np.clip(np.floor(x - 0.5) + 1, 0, columns - 1).astype(np.intp)
    np.add.at(crossings, (row, column), 1)


def ellipse(centre: tuple[float, float], axes: tuple[float, float], angle: float, size: Size) -> Region | None:
    """Fill an ellipse.

    Parameters
    ----------
    centre : (float, float)
        x, y, px.
    axes : (float, float)
        Its two half axes, px; the first lies along x where `angle` is 0.
    angle : float
        Rotation in degrees, clockwise as seen on the screen.
    size : (int, int)
        Height and width of the image; what lies beyond is cut off.

    Returns
    -------
    Region or None
        None where no pixel's centre of the image lies inside.

    Raises
    ------
    InputError
        A half axis is not positive, or a number is none or absurdly large.
    """
    _check_numbers(np.array([*centre, *axes, angle]))
    if min(axes) <= 0:
        raise InputError(f"An ellipse with half axes of {axes[0]:g} and {axes[1]:g} px has no area.")
    (x, y), reach = centre, max(axes)
    box = _box(np.array([[x - reach, y - reach], [x + reach, y + reach]]), size)
    if box is None:
        return None
    top, bottom, left, right = box
    dy, dx = np.mgrid[top:bottom, left:right] + 0.5 - np.array([y, x]).reshape(2, 1, 1)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = (dx * cos + dy * sin) / axes[0], (dy * cos - dx * sin) / axes[1]
    return tight(along**2 + across**2 <= 1.0, top, left)


def union(regions: Sequence[Region | None]) -> Region | None:
    """Return all pixels of the regions; None where there are none."""
    found = [region for region in regions if region is not None]
    if len(found) < 2:
        return found[0] if found else None
    top, left = min(region.top for region in found), min(region.left for region in found)
    bottom = max(region.slices[0].stop for region in found)
    right = max(region.slices[1].stop for region in found)
    mask = np.zeros((bottom - top, right - left), bool)
    for region in found:
        rows, columns = region.slices
        mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= region.mask
    return Region(top, left, mask)


def _checked(ring: ArrayLike) -> NDArray[np.float64]:
    corners = np.asarray(ring, np.float64).reshape(-1, 2)
    if len(corners) < 3:
        raise InputError(f"An outline of {len(corners)} corners encloses no area.")
    _check_numbers(corners)
    return corners


def _check_numbers(values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise InputError("A coordinate is not a finite number.")
    largest = float(np.abs(values).max())
    if largest > MAX_COORDINATE:
        raise InputError(f"A coordinate of {largest:g} px is absurd.")


def _box(points: NDArray[np.float64], size: Size) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left, right of the pixels around the points, cut to the image; None where none is left."""
    (x0, y0), (x1, y1) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, bottom = max(int(y0), 0), min(int(y1), size[0])
    left, right = max(int(x0), 0), min(int(x1), size[1])
    return (top, bottom, left, right) if top < bottom and left < right else None
