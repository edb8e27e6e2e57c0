"""From seeds to basins: each pixel goes to the nearest seed that it can be reached from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def grow(shape: tuple[int, int], pixels: NDArray[np.int64], seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Give the pixels around `seeds` to the nearest seed (straight distance) that reaches them over `pixels`.

    Two equal discs that overlap are divided along the chord between them. The work grows with the number of `pixels`,
    not with the size of the plane, but for one pass over it.

    Parameters
    ----------
    shape : (int, int)
        Y and X of the plane.
    pixels : (P,) int64
        Flat indices of the pixels to divide.
    seeds : (S,) int64
        Flat indices, among `pixels`, of seeds ``1`` to ``S``.

    Returns
    -------
    (P,) uint32
        The number of each pixel's seed, 0 where none reaches.
    """
    field = _Field(shape, pixels)
    front = field.inner(seeds)
    field.owner[front] = np.arange(1, len(seeds) + 1)
    field.distance[front] = 0.0
    ys, xs = (np.concatenate([[0], part]).astype(np.float32) for part in np.divmod(seeds, shape[1]))
    while len(front):
        front = field.advance(front, ys, xs)
    return np.asarray(field.owner[field.inner(pixels)])


class _Field:
    """A plane with a margin of one pixel that nothing can enter."""

    def __init__(self, shape: tuple[int, int], pixels: NDArray[np.int64]) -> None:
        self.columns, self.width = shape[1], shape[1] + 2
        size = (shape[0] + 2) * self.width
        self.owner = np.zeros(size, np.uint32)
        self.distance = np.full(size, -1.0, np.float32)
        self.distance[self.inner(pixels)] = np.inf
        self.stamp = np.empty(size, np.int64)
        self.offsets = [dy * self.width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def inner(self, flat: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return flat indices of the plane as those of the field."""
        rows, columns = np.divmod(flat, self.columns)
        return np.asarray((rows + 1) * self.width + columns + 1)

    def advance(self, front: NDArray[np.int64], ys: NDArray[np.float32], xs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Let the owners of `front` take neighbours that are nearer to their seed; return the pixels taken."""
        taken = []
        owners = self.owner[front]
        for offset in self.offsets:
            beside = front + offset
            open_ = np.flatnonzero(self.distance[beside] > 0)
            at, who = beside[open_], owners[open_]
            rows, columns = np.divmod(at, self.width)
            # Compared as it is stored: beyond 2**24 px² the rounded copy may be the larger one, for ever.
            away = ((rows - 1 - ys[who]) ** 2 + (columns - 1 - xs[who]) ** 2).astype(np.float32)
            nearer = away < self.distance[at]
            at = at[nearer]
            self.distance[at] = away[nearer]
            self.owner[at] = who[nearer]
            taken.append(at)
        return self._once(np.concatenate(taken))

    def _once(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return `pixels` without repetitions: each writes its place, and the last to write stays."""
        places = np.arange(len(pixels))
        self.stamp[pixels] = places
        once: NDArray[np.int64] = pixels[self.stamp[pixels] == places]
        return once
