"""An array of planes that are made when they are looked at, in several resolutions: large results show at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Plane = Callable[[int], NDArray[Any]]

SMALLEST = 512
"""The longer side of the coarsest level is at most this, px, unless the image itself is hardly larger."""


class PlaneStack:
    """Looks like an array (…, Y, X) to napari; every plane is asked for when it is looked at.

    Parameters
    ----------
    read : callable
        Returns the plane (Y, X) of a number in storage order. It should remember the one it made last.
    stack : tuple of int
        Lengths of the axes before y and x; empty for a single image.
    size : (int, int)
        Height and width of a plane, px.
    dtype : numpy.dtype
        Of a plane.
    step : int
        Every so many-th row and column is shown.
    """

    def __init__(
        self,
        read: Plane,
        stack: tuple[int, ...],
        size: tuple[int, int],
        dtype: Any,
        step: int = 1,
    ) -> None:
        self._read, self._stack, self._step = read, stack, step
        self.dtype = np.dtype(dtype)
        self.shape = (*stack, *(math.ceil(length / step) for length in size))

    @classmethod
    def levels(cls, read: Plane, stack: tuple[int, ...], size: tuple[int, int], dtype: Any) -> list[PlaneStack]:
        """Return the stack in its own resolution and coarser ones, two at least, as napari takes them."""
        count = max(2, 1 + math.ceil(math.log2(max(size) / SMALLEST))) if max(size) > SMALLEST else 2
        return [cls(read, stack, size, dtype, 2**level) for level in range(count)]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = _full(key, self.ndim)
        lead, within = key[: len(self._stack)], key[len(self._stack) :]
        numbers = np.arange(math.prod(self._stack)).reshape(self._stack)[lead]
        planes = [self._read(int(n))[:: self._step, :: self._step][within] for n in np.ravel(numbers)]
        if np.ndim(numbers) == 0:
            return np.asarray(planes[0])
        shape = planes[0].shape if planes else np.empty(self.shape[-2:])[within].shape
        return np.asarray(planes, self.dtype).reshape(*np.shape(numbers), *shape)


def _full(key: Any, ndim: int) -> tuple[Any, ...]:
    """Return an index with one entry per axis."""
    parts = key if isinstance(key, tuple) else (key,)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    before, after = parts[:at], parts[at + 1 :]
    return (*before, *[slice(None)] * (ndim - len(before) - len(after)), *after)
