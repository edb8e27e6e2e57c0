"""An image of which parts are read, resampled and normalised as they would be in the whole.

What a network sees is computed for any rows and columns, and does not depend on which were asked for together.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import sparse

from beadseg.model.inputs import Preparation, Source, bands, chosen_channel
from beadseg.predict.segmenter import neighbours

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from beadseg.config.train import ChannelConfig
    from beadseg.data.image_io import LazyImage

CUBIC = -0.75
"""Parameter of torch's bicubic interpolation."""


class Plane:
    """A single image (C, Y, X) in a file, of which parts are read.

    Parameters
    ----------
    image : LazyImage
        Without stack axes.
    channel, config
        As of `beadseg.model.inputs.chosen_channel`.
    """

    def __init__(self, image: LazyImage, channel: int | None, config: ChannelConfig | None = None) -> None:
        self._image, self._channel, self._config = image, channel, config
        count = len(self.part(slice(0, 1), slice(0, 1)))
        self.shape, self.dtype = (count, *image.size), image.dtype
        self.ndim, self.size = 3, count * image.size[0] * image.size[1]
        self._every: dict[tuple[int, int], NDArray[Any]] = {}

    def part(self, rows: slice, columns: slice) -> NDArray[Any]:
        """Return rows and columns (C, Y, X)."""
        return chosen_channel(self._image.part(rows, columns), self._channel, self._config)

    def __getitem__(self, key: slice | tuple[slice, slice, slice]) -> NDArray[Any]:
        """Return a part as NumPy does; of every n-th row and column, which are kept, no more is held at a time."""
        _, rows, columns = key if isinstance(key, tuple) else (key, key, key)
        (top, bottom, down), (left, right, across) = (
            each.indices(length) for each, length in zip((rows, columns), self.shape[1:], strict=True)
        )
        if down == across == 1:
            return self.part(slice(top, bottom), slice(left, right))
        if (down, across) not in self._every:
            parts = [part[:, -first % down :: down, ::across].copy() for first, part in bands(self)]
            self._every[down, across] = np.concatenate(parts, axis=1)
        return self._every[down, across]


@dataclass(frozen=True, eq=False)
class Resized:
    """A source resampled to Y and X of `size`: as `beadseg.model.inputs.resized` does, but for the last digit."""

    source: Source
    size: tuple[int, int]
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, Y and X."""
        return self.source.shape[0], *self.size

    @cached_property
    def _weights(self) -> tuple[sparse.csr_array, sparse.csr_array]:
        high, wide = self.source.shape[1:]
        kind = _antialiased if self.size[0] <= high else _bicubic
        return kind(high, self.size[0]), kind(wide, self.size[1])

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return rows and columns (C, Y, X)."""
        down, across = (each[along] for each, along in zip(self._weights, (rows, columns), strict=True))
        (first, last), (left, right) = ((int(w.indices.min()), int(w.indices.max()) + 1) for w in (down, across))
        values = self.source.part(slice(first, last), slice(left, right))
        down, across = down[:, first:last], across[:, left:right]
        return np.stack([down @ (across @ channel.astype(np.float32).T).T for channel in values])


@dataclass(frozen=True, eq=False)
class Prepared:
    """A source as a network sees it."""

    source: Source
    preparation: Preparation
    dtype = np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, Y and X."""
        return len(self.part(slice(0, 1), slice(0, 1))), *self.source.shape[1:]

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return rows and columns (Cin, Y, X)."""
        return self.preparation.part(self.source.part(rows, columns), rows.start, columns.start)

    def __getitem__(self, key: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        return self.part(key[1], key[2])


class MapSource(Protocol):
    """The maps (K, Y, X) of a network at the pixels that it saw, of which parts are read."""

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return rows and columns."""


@dataclass(frozen=True, eq=False)
class BroughtBack:
    """Maps in the pixels of the image, whose Y and X are `size`; see `beadseg.predict.segmenter.brought_back`."""

    maps: MapSource
    seen: tuple[int, int]
    size: tuple[int, int]

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return rows and columns (K, Y, X)."""
        if self.seen == self.size:
            return self.maps.part(rows, columns)
        return self._enlarged(rows, columns) if self.seen[0] <= self.size[0] else self._reduced(rows, columns)

    def _enlarged(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        (top, bottom, down), (left, right, across) = (
            tuple(each[along] for each in neighbours(count, length))
            for count, length, along in zip(self.seen, self.size, (rows, columns), strict=True)
        )
        values = self.maps.part(slice(int(top[0]), int(bottom[-1]) + 1), slice(int(left[0]), int(right[-1]) + 1))
        wide = values[:, :, left - left[0]] * (1 - across) + values[:, :, right - left[0]] * across
        out = wide[:, top - top[0]]
        out *= (1 - down)[:, np.newaxis]
        out += wide[:, bottom - top[0]] * down[:, np.newaxis]
        return np.clip(out, 0.0, 1.0, out=out)

    def _reduced(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        weights = [_antialiased(count, length) for count, length in zip(self.seen, self.size, strict=True)]
        down, across = (each[along] for each, along in zip(weights, (rows, columns), strict=True))
        (first, last), (left, right) = ((int(w.indices.min()), int(w.indices.max()) + 1) for w in (down, across))
        values = self.maps.part(slice(first, last), slice(left, right))
        down, across = down[:, first:last], across[:, left:right]
        out = np.stack([down @ (across @ each.T).T for each in values])
        if len(out) > 1:
            high = _highest(values[1], first, rows, self.seen[0], self.size[0])
            out[1] = _highest(high.T, left, columns, self.seen[1], self.size[1]).T
        return np.ascontiguousarray(out)


def _highest(values: NDArray[np.float32], first: int, along: slice, count: int, length: int) -> NDArray[np.float32]:
    """Return the highest of the rows that become one, as torch's adaptive pooling does; `first` is the first row's."""
    at = np.arange(along.start, along.stop)
    start, end = at * count // length, -(-(at + 1) * count // length)
    out: NDArray[np.float32] = values[start - first]
    for step in range(1, int((end - start).max())):
        out = np.maximum(out, values[np.minimum(start + step, end - 1) - first])
    return out


def _antialiased(count: int, length: int) -> sparse.csr_array:
    """Return torch's weights (length, count) of the bilinear antialiased interpolation of an axis, rounded as there."""
    scale, half = np.float32(count) / np.float32(length), np.float64(0.5)
    centre = (np.float64(scale) * (np.arange(length) + half)).astype(np.float32)
    first = np.maximum(0, ((centre - scale).astype(np.float64) + half).astype(np.int64))
    size = np.minimum(count, ((centre + scale).astype(np.float64) + half).astype(np.int64)) - first
    at = first[:, np.newaxis] + np.arange(int(size.max()))
    away = (at.astype(np.float32) - centre[:, np.newaxis]).astype(np.float64) + half
    weights = np.maximum(0, 1 - np.abs((away * (1 / scale)).astype(np.float32)))
    weights[at - first[:, np.newaxis] >= size[:, np.newaxis]] = 0
    total = np.add.accumulate(weights, axis=1, dtype=np.float32)[:, -1:]
    return _rows(np.minimum(at, count - 1), weights / total, count)


def _bicubic(count: int, length: int) -> sparse.csr_array:
    """Return torch's weights (length, count) of the bicubic interpolation of an axis, rounded as there."""
    scale = np.float32(count) / np.float32(length)
    position = _fused(scale, np.arange(length, dtype=np.float32) + np.float32(0.5), -0.5)
    first = np.floor(position).astype(np.int64)
    after = position - first.astype(np.float32)
    away = np.stack([after + 1, after, 1 - after, 2 - after], axis=1)
    near = _fused(_fused(CUBIC + 2, away, -(CUBIC + 3)) * away, away, 1.0)
    far = _fused(_fused(_fused(CUBIC, away, -5 * CUBIC), away, 8 * CUBIC), away, -4 * CUBIC)
    at = np.clip(first[:, np.newaxis] + np.arange(-1, 3), 0, count - 1)
    return _rows(at, np.where(np.array([False, True, True, False]), near, far), count)


def _fused(a: ArrayLike, b: NDArray[np.float32], c: float) -> NDArray[np.float32]:
    """Return ``a * b + c`` in float32, rounded once, as processors do it."""
    return np.asarray(np.asarray(a, np.float64) * b + c, np.float32)


def _rows(at: NDArray[np.int64], weights: NDArray[np.float32], count: int) -> sparse.csr_array:
    rows = np.repeat(np.arange(len(at)), at.shape[1])
    matrix = sparse.coo_array((weights.reshape(-1), (rows, at.reshape(-1))), shape=(len(at), count)).tocsr()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix.astype(np.float32)
