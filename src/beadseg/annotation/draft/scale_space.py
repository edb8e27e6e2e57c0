"""Blobs of any size and polarity: extrema of the Laplacian of Gaussian over place and scale (Lindeberg 1998)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIAMETERS_PX = tuple(float(diameter) for diameter in np.geomspace(3.0, 40.0, 16))
"""Sizes that are looked for, px."""
WINDOW_PX = 128
"""Blocks of the local background, px: several of the largest beads across."""


@dataclass(frozen=True, eq=False)
class Blobs:
    """Extrema over place and scale, of one polarity.

    Attributes
    ----------
    response : (N,) float32
        Strength, positive: the contrast to the background, weighed by how well place and size fit.
    diameter : (N,) float64
        Diameter of a sharp disk that responds most at this scale, px.
    """

    response: NDArray[np.float32]
    diameter: NDArray[np.float64]


def laplacian(image: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """Return the scale-normalised Laplacian, (Y, X) float32: positive on dark disks of `diameter` px."""
    sigma = diameter / math.sqrt(8)
    response = sigma**2 * ndimage.gaussian_laplace(image, sigma, mode="nearest")
    return np.asarray(response, np.float32)


def blobs(image: NDArray[np.float32]) -> tuple[Blobs, Blobs]:
    """Return the dark and the bright blobs of an image (Y, X) whose background is 0."""
    space = np.stack([laplacian(image, diameter) for diameter in DIAMETERS_PX])
    return _maxima(space), _maxima(-space)


def _maxima(space: NDArray[np.float32]) -> Blobs:
    peaks = (space == ndimage.maximum_filter(space, size=3, mode="nearest")) & (space > 0)
    return Blobs(space[peaks], np.array(DIAMETERS_PX)[np.nonzero(peaks)[0]])
