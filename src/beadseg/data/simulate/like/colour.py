"""Brightness and colour differences, as JPEG has them; grey images have the first alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_TO = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_FROM = np.linalg.inv(_TO)


def to_ycc(image: Floats) -> Floats:
    """Return brightness, blue and red difference (3, Y, X) of red, green, blue; a grey (1, Y, X) image as it is."""
    return image if len(image) == 1 else np.tensordot(_TO, image, 1)


def to_rgb(image: Floats) -> Floats:
    """Undo `to_ycc`."""
    return image if len(image) == 1 else np.tensordot(_FROM, image, 1)
