"""What the tests of the review share."""

from __future__ import annotations

import numpy as np


def disk(*centres: tuple[int, int]) -> np.ndarray:
    """Return a 48x64 mask of beads of 9 px, 0 and 255."""
    y, x = np.mgrid[:48, :64]
    mask = np.zeros((48, 64), bool)
    for row, column in centres:
        mask |= (y - row) ** 2 + (x - column) ** 2 <= 20
    return mask.astype(np.uint8) * 255
