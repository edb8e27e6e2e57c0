"""Pixels to outlines: closed rings along the edges between pixels, as ImageJ's wand draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.annotations.model import Region

_RIGHT, _DOWN, _LEFT, _UP = 0, 1, 2, 3
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def rings(region: Region) -> list[NDArray[np.int64]]:
    """Return the outlines of a region.

    Parameters
    ----------
    region : Region
        The pixels.

    Returns
    -------
    list of (n, 2) int64
        Corners as x, y in px of the image, without the points in between, in order of the first edge from the top
        left. Outer outlines run clockwise on the screen, those of holes the other way. Pixels that touch only at
        a corner get rings of their own. Filled by the even-odd rule they give the region back.
    """
    edges = _edges(region.mask)
    found = []
    while edges:
        found.append(np.array(_follow(edges), np.int64) + np.array([region.left, region.top]))
    return found


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[int]]:
    """Return the directions in which the outline leaves each corner (x, y), the object always on its right."""
    padded = np.pad(mask, 1).astype(np.int8)
    across, along = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    sides = (
        (across, 1, _RIGHT, (0, 0)),
        (across, -1, _LEFT, (1, 0)),
        (along, -1, _DOWN, (0, 0)),
        (along, 1, _UP, (0, 1)),
    )
    starts: list[tuple[int, int, int]] = []
    for change, sign, direction, (dx, dy) in sides:
        rows, columns = np.nonzero(change == sign)
        starts += zip((rows + dy).tolist(), (columns + dx).tolist(), [direction] * len(rows), strict=True)
    edges: dict[tuple[int, int], list[int]] = {}
    for y, x, direction in sorted(starts):
        edges.setdefault((x, y), []).append(direction)
    return edges


def _follow(edges: dict[tuple[int, int], list[int]]) -> list[tuple[int, int]]:
    """Take one ring out of `edges` and return its corners; of two ways, the right turn stays at the pixel."""
    start = next(iter(edges))
    first = direction = _take(edges, start, None)
    corners = [start]
    x, y = start[0] + _STEPS[direction][0], start[1] + _STEPS[direction][1]
    while (x, y) != start or not _closes(edges, start, direction, first):
        turned = _take(edges, (x, y), direction)
        if turned != direction:
            corners.append((x, y))
        direction = turned
        x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
    return corners


def _closes(edges: dict[tuple[int, int], list[int]], start: tuple[int, int], direction: int, first: int) -> bool:
    """Tell whether the ring ends where it began, rather than passing through that corner once more."""
    right = (direction + 1) % 4
    return start not in edges or first == right


def _take(edges: dict[tuple[int, int], list[int]], corner: tuple[int, int], direction: int | None) -> int:
    """Remove and return the direction to leave `corner` in: to the right of `direction` where there is a choice."""
    ways = edges[corner]
    right = None if direction is None else (direction + 1) % 4
    way = ways.pop(ways.index(right) if right in ways else 0)
    if not ways:
        del edges[corner]
    return way
