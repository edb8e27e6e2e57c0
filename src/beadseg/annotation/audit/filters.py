"""Maps on which image and mask can be compared: the strength of beads, and the response of a filter of bead size.

The filter is the Laplacian of a Gaussian at the scale where it answers most to a disc of the bead's radius (Lindeberg,
"Feature detection with automatic scale selection", IJCV 1998), applied in the frequency domain. A sharp disc of that
radius and of contrast 1 gives the response 1 at its centre, so image and mask share one unit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import fft

from beadseg.model.background import relative_to_background
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

Polarity = Literal["dark", "bright"]

SCALE = 0.6
"""Sigma of the filter over the bead's radius: a little below 1/sqrt(2), the scale of the strongest answer, so that
touching beads keep peaks of their own."""
SMALLEST_SIGMA = 0.8
"""Below this the filter is no longer sampled well, px."""
WINDOW_DIAMETERS = 9
"""Side of the blocks of the local background, in bead diameters (64 px for 7-px beads)."""


def strength(pixels: NDArray[Any], polarity: Polarity, diameter: float) -> Floats:
    """Return how much each pixel looks like a bead: its contrast to the local background, positive on beads.

    Parameters
    ----------
    pixels : (C, Y, X) array
        One plane of an image, any real dtype.
    polarity : {"dark", "bright"}
        What beads are against the background.
    diameter : float
        Bead diameter, px.

    Returns
    -------
    (Y, X) float32
        About 0 on the background; for dark beads up to 1 (black).
    """
    window = max(16, round(WINDOW_DIAMETERS * diameter))
    relative = relative_to_background(luminance(pixels), window, 1.0)
    return -relative if polarity == "dark" else relative


def response(plane: Floats, radius: float, blur: float = 0.0) -> Floats:
    """Return the (Y, X) float32 answer of the bead filter to `plane`, mirrored at its borders, blurred by `blur` px."""
    sigma = max(math.hypot(SCALE * radius, blur), SMALLEST_SIGMA)
    (top, bottom), (left, right) = (_frame(length, math.ceil(4 * sigma)) for length in plane.shape)
    padded = np.pad(plane, ((top, bottom), (left, right)), mode="reflect")
    shape = (padded.shape[0], padded.shape[1])
    spectrum = fft.rfft2(padded, overwrite_x=True)
    spectrum *= _transfer(shape, round(sigma, 3), round(radius, 3))
    out = fft.irfft2(spectrum, shape, overwrite_x=True)
    return np.ascontiguousarray(out[top : top + plane.shape[0], left : left + plane.shape[1]], np.float32)


def _frame(length: int, pad: int) -> tuple[int, int]:
    """Return what is added before and behind: at least `pad`, as far as mirroring goes, up to a length of fast FFTs."""
    before = min(pad, length - 1)
    whole = fft.next_fast_len(length + 2 * before, real=True)
    return before, whole - length - before


@lru_cache(maxsize=16)
def _transfer(shape: tuple[int, int], sigma: float, radius: float) -> Floats:
    """Return the filter in the frequency domain, scaled to answer 1 to a disc of `radius`."""
    v = fft.fftfreq(shape[0])[:, np.newaxis]
    u = fft.rfftfreq(shape[1])[np.newaxis, :]
    squared = (2 * np.pi * sigma) ** 2 * (v**2 + u**2)
    ratio = (radius / sigma) ** 2
    return (squared * np.exp(-squared / 2) / (ratio * math.exp(-ratio / 2))).astype(np.float32)
