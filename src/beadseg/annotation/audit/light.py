"""How bright an image is, and how evenly lit."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCKS = 8
"""Blocks along a side, at most, whose medians are compared."""
STRIDE = 3
"""Step between the rows and columns that give a block's level."""
BLOCK_DIAMETERS = 4
"""Smallest side of a block, in bead diameters, so that beads do not fill it."""


def light_numbers(grey: NDArray[np.float32], dtype: np.dtype[Any], diameter: float) -> tuple[float, float]:
    """Return level and unevenness.

    Parameters
    ----------
    grey : (Y, X) float32
        Brightness, in the image's own units.
    dtype : numpy.dtype
        Of the image: its range is that of integers; floats are measured against their own largest value.
    diameter : float
        Bead diameter, px.

    Returns
    -------
    level : float
        Median over the range.
    unevenness : float
        Difference of the brightest and the darkest block's 60th percentile, over the median; 0 where that is not
        positive. (Beads darken a percentile of 60 less than a median.)
    """
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else max(float(np.abs(grey).max()), 1e-12)
    median = float(np.median(grey[::2, ::2]))
    if median <= 0:
        return median / top, 0.0
    step = [max(1, min(BLOCKS, int(length / (BLOCK_DIAMETERS * diameter)))) for length in grey.shape]
    rows, columns = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(grey.shape, step, strict=True))
    levels = [
        _upper(grey[a:b:STRIDE, c:d:STRIDE])
        for a, b in itertools.pairwise(rows)
        for c, d in itertools.pairwise(columns)
    ]
    return median / top, (max(levels) - min(levels)) / median


def _upper(values: NDArray[np.float32]) -> float:
    """Return the 60th percentile, without the interpolation that makes `numpy.percentile` slow."""
    at = int(0.6 * (values.size - 1))
    return float(np.partition(values, at, axis=None)[at])
