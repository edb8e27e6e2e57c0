"""How large the beads of an image are: what the network says over a pyramid of scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

OCTAVES = 4.0
"""Range of the size map: from a quarter to four times the diameter that the network works at."""


def encoded(diameter: ArrayLike, known: float) -> NDArray[np.float32]:
    """Return the value of the size map, 0 to 1, of diameters; 0.5 for the diameter that the network works at."""
    value = 0.5 + np.log2(np.asarray(diameter, np.float32) / known) / OCTAVES
    return np.asarray(np.clip(value, 0.01, 0.99), np.float32)


def decoded(value: ArrayLike, known: float) -> NDArray[np.float32]:
    """Return the diameters of values of the size map."""
    return np.asarray(known * 2.0 ** ((np.asarray(value, np.float32) - 0.5) * OCTAVES), np.float32)
