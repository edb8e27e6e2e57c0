"""A changed part of a label image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Labels = NDArray[np.uint32]


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
