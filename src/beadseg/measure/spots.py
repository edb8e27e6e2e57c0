"""Find bead-like spots without any network: what the eye sees as a bead, whatever the mask says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max

from beadseg.model.background import relative_to_background
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SIGMA_PER_DIAMETER = 0.3
"""Width of the Laplacian's Gaussian over the bead diameter: a little below the best for a lone disc (0.35), so that
touching beads stay two."""
BLOCKS_PER_DIAMETER = 8
"""Side of the blocks whose median is the background, in bead diameters."""
SMALLEST_BLOCK = 32
"""… and never less than this, px."""
SPACING = 0.45
"""Two spots are at least this many diameters apart."""
NOISE_LEVELS = 3.0
"""Weaker spots, in standard deviations of noise, are not even looked at."""
QUIET_BLOCKS = 10.0
"""The noise is that of the quietest blocks, per cent: in a crowded image the others are full of beads."""
SHIFT_REACH = 6
"""Masks are tried so far off their place in every direction, px."""
SHIFT_GAIN = 1.1
"""A mask counts as shifted only when it fits this many times better elsewhere."""


@dataclass(frozen=True, eq=False)
class Spots:
    """Bead-like spots of one plane, strongest first.

    Attributes
    ----------
    at : (N, 2) int
        Row and column, px.
    strength : (N,) float32
        Negative Laplacian of Gaussian of the relative contrast, scaled by sigma squared: no unit.
    noise : float
        Standard deviation of the strength on empty ground.
    shift : (int, int)
        Where the mask fits better: rows and columns that it should move by, px; (0, 0) where it is well placed.
    """

    at: NDArray[np.integer]
    strength: Plane
    noise: float
    shift: tuple[int, int]


def find_spots(pixels: NDArray[np.generic], foreground: NDArray[np.bool_], diameter_px: float, sign: float) -> Spots:
    """Return the spots of the size of a bead, and how the mask is shifted against them.

    A Laplacian of Gaussian on the contrast relative to the local background (Lindeberg 1998, one scale); spots are its
    local maxima. The shift is the best cross-correlation of mask and spots in whole pixels.

    Parameters
    ----------
    pixels : (C, Y, X), any real dtype
        The image.
    foreground : (Y, X) bool
        The mask.
    diameter_px : float
        Bead diameter, px.
    sign : float
        -1 for beads darker than their surroundings, +1 for brighter ones.
    """
    response = _response(luminance(pixels), diameter_px, sign)
    noise = _noise(response, diameter_px)
    at = peak_local_max(  # type: ignore[no-untyped-call]
        response,
        min_distance=max(1, round(SPACING * diameter_px)),
        threshold_abs=max(NOISE_LEVELS * noise, 1e-6),
        exclude_border=False,
    )
    return Spots(at, response[at[:, 0], at[:, 1]], noise, _shift(response, foreground))


def place_on_mask(
    spots: Spots, foreground: NDArray[np.bool_], reach_px: float
) -> tuple[NDArray[np.bool_], NDArray[np.integer]]:
    """Return which spots lie on the (shifted) mask or at most `reach_px` beside it, and on which of its pixels.

    Returns
    -------
    marked : (N,) bool
        False everywhere where the mask is empty.
    nearest : (N, 2) int
        Row and column of the nearest pixel of the mask as it is stored, px; meaningless where not `marked`.
    """
    at = (spots.at - np.array(spots.shift)).clip(0, np.array(foreground.shape) - 1)
    if not foreground.any():
        return np.zeros(len(at), bool), at
    distance, nearest = ndimage.distance_transform_edt(~foreground, return_indices=True)
    rows, columns = at.T
    return distance[rows, columns] <= reach_px, nearest[:, rows, columns].T


def _response(grey: Plane, diameter_px: float, sign: float) -> Plane:
    window = max(SMALLEST_BLOCK, round(BLOCKS_PER_DIAMETER * diameter_px))
    relative = relative_to_background(grey, window, 1.0)
    sigma = SIGMA_PER_DIAMETER * diameter_px
    return np.asarray(-sign * sigma**2 * ndimage.gaussian_laplace(relative, sigma), np.float32)


def _noise(response: Plane, diameter_px: float) -> float:
    """Return the standard deviation of the quietest blocks, from the median absolute deviation."""
    side = max(16, round(4 * diameter_px))
    blocks = [
        response[top : top + side, left : left + side]
        for top in range(0, max(1, response.shape[0] - side + 1), side)
        for left in range(0, max(1, response.shape[1] - side + 1), side)
    ]
    deviations = [1.4826 * np.median(np.abs(block - np.median(block))) for block in blocks]
    return float(np.percentile(deviations, QUIET_BLOCKS))


def _shift(response: Plane, foreground: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the shift of the mask, up to `SHIFT_REACH`, that lays it best over the spots."""
    reach = min(SHIFT_REACH, (min(response.shape) - 1) // 2)
    spectrum = np.fft.rfft2(response.clip(0)) * np.conj(np.fft.rfft2(foreground - foreground.mean()))
    near = np.roll(np.fft.irfft2(spectrum, response.shape), (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    if near[row, column] <= SHIFT_GAIN * max(0.0, float(near[reach, reach])):
        return 0, 0
    return int(row) - reach, int(column) - reach
