"""Where beads are, by a filter of bead size: response maps, their sub-pixel peaks, and radii along rays from them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import fft
from scipy.spatial import cKDTree

from beadseg.model.inputs import luminance, relative_to_background
from beadseg.predict.instances import local_maxima

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatMap = NDArray[np.float32]
    Floats = NDArray[np.float64]

Polarity = Literal["dark", "bright"]

SCALE = 0.6
"""Sigma of the filter over the bead's radius: a little below 1/sqrt(2), the scale of the strongest answer, so that
touching beads keep peaks of their own."""
SMALLEST_SIGMA = 0.8
"""Below this the filter is no longer sampled well, px."""
WINDOW_DIAMETERS = 9
"""Side of the blocks of the local background, in bead diameters (64 px for 7-px beads)."""


RAYS = 12
"""Directions around a bead."""
STEP = 0.5
"""Distance between samples along a ray, px."""
REACH = 3.2
"""Length of a ray, in bead radii: the background begins at about two."""
BACKGROUND = 2.4
"""From here to the end of a ray is background, in bead radii."""
CLEARANCE = 5.2
"""Another bead nearer than this, in bead radii, blocks the rays within 60 degrees of its direction."""
ITSELF = 0.9
"""What lies nearer, in bead radii, is the bead itself, as the mask or the image has it."""
MOST_BEADS = 100
"""Beads measured in one image; more do not make the medians better."""
OUTLYING = 1.5
"""Rays that leave the mask farther from the median than this, px, do not count."""
ENOUGH_RAYS = 24
"""Fewer free rays than this tell nothing."""


def strength(pixels: NDArray[Any], polarity: Polarity, diameter: float) -> FloatMap:
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


def response(plane: FloatMap, radius: float, blur: float = 0.0) -> FloatMap:
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
def _transfer(shape: tuple[int, int], sigma: float, radius: float) -> FloatMap:
    """Return the filter in the frequency domain, scaled to answer 1 to a disc of `radius`."""
    v = fft.fftfreq(shape[0])[:, np.newaxis]
    u = fft.rfftfreq(shape[1])[np.newaxis, :]
    squared = (2 * np.pi * sigma) ** 2 * (v**2 + u**2)
    ratio = (radius / sigma) ** 2
    return (squared * np.exp(-squared / 2) / (ratio * math.exp(-ratio / 2))).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Peaks:
    """Local maxima of a map.

    Attributes
    ----------
    position : (N, 2) float64
        Row and column, px; the centre of the first pixel is 0.
    height : (N,) float64
        Value of the map there.
    roundness : (N,) float64
        Smaller over larger curvature: 1 for a round peak, 0 for a ridge.
    """

    position: Floats
    height: Floats
    roundness: Floats

    def __len__(self) -> int:
        return len(self.height)

    def where(self, keep: NDArray[np.bool_]) -> Peaks:
        """Return the peaks of which `keep`, (N,), is True."""
        return Peaks(self.position[keep], self.height[keep], self.roundness[keep])


def find_peaks(response: NDArray[np.float32], threshold: float) -> Peaks:
    """Return the local maxima (of 3x3 px) above `threshold`, refined by a parabola through their neighbours."""
    at = local_maxima(response, np.flatnonzero(response > threshold))
    return _refined(response, *np.divmod(at, response.shape[1]))


def _refined(response: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Peaks:
    framed = np.pad(response, 1, mode="edge")

    def around(dy: int, dx: int) -> Floats:
        return np.asarray(framed[rows + 1 + dy, columns + 1 + dx], np.float64)

    centre = around(0, 0)
    down, up, right, left = around(1, 0), around(-1, 0), around(0, 1), around(0, -1)
    yy, xx = down - 2 * centre + up, right - 2 * centre + left
    xy = (around(1, 1) - around(1, -1) - around(-1, 1) + around(-1, -1)) / 4
    offset_y = np.where(yy < 0, (up - down) / np.where(yy < 0, 2 * yy, 1.0), 0.0)
    offset_x = np.where(xx < 0, (left - right) / np.where(xx < 0, 2 * xx, 1.0), 0.0)
    position = np.stack((rows + np.clip(offset_y, -0.5, 0.5), columns + np.clip(offset_x, -0.5, 0.5)), axis=1)
    mean, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    weakest, strongest = mean + spread, mean - spread
    roundness = np.where(strongest < 0, np.clip(weakest / np.where(strongest < 0, strongest, -1.0), 0.0, 1.0), 0.0)
    return Peaks(position.astype(np.float64), centre, roundness)


@dataclass(frozen=True)
class Radii:
    """Radii of a sample's beads.

    Attributes
    ----------
    image, mask : float
        Where image and mask end, px from the centres: half of the contrast; the mask's median edge.
    width : float
        Distance over which the image's profile falls from 80 to 20 % of the contrast, px.
    contrast : float
        Strength at the beads' centres less that of their surroundings.
    rays : int
        Free rays.
    """

    image: float
    mask: float
    width: float
    contrast: float
    rays: int


def measure_radii(
    strength: NDArray[np.float32],
    mask: NDArray[np.bool_],
    at_image: Floats,
    at_mask: Floats,
    others: Floats,
    radius: float,
) -> Radii | None:
    """Measure beads whose centres are known in the image and in the mask.

    Parameters
    ----------
    strength : (Y, X) float32
        See `strength`.
    mask : (Y, X) bool
        Foreground, oriented as the image.
    at_image, at_mask : (N, 2) float64
        The same beads in both, px.
    others : (M, 2) float64
        All beads, of the image and of the mask, where they lie in the image, px.
    radius : float
        Expected radius, px.

    Returns
    -------
    Radii or None
        None with fewer than `ENOUGH_RAYS` free rays.
    """
    chosen = np.linspace(0, len(at_image) - 1, min(MOST_BEADS, len(at_image))).astype(np.int64)
    beads, directions = _free_rays(at_image[chosen], others, strength.shape, radius)
    if len(beads) < ENOUGH_RAYS:
        return None
    distance = np.arange(0.0, REACH * radius + STEP, STEP)
    steps = distance[np.newaxis, :, np.newaxis] * directions[:, np.newaxis, :]
    seen = _sample(strength, at_image[chosen][beads][:, np.newaxis, :] + steps)
    marked = _sample(mask.astype(np.float32), at_mask[chosen][beads][:, np.newaxis, :] + steps)
    profile = seen.mean(axis=0)
    ground = float(profile[distance >= BACKGROUND * radius].mean())
    contrast = float(profile[distance <= 0.3 * radius].mean()) - ground
    if contrast <= 0:
        return None
    relative = (profile - ground) / contrast
    edges = [_crossing(relative, distance, level) for level in (0.8, 0.5, 0.2)]
    return Radii(edges[1], _mask_edge(marked, distance), edges[2] - edges[0], contrast, len(beads))


def _free_rays(
    beads: Floats, others: Floats, shape: tuple[int, ...], radius: float
) -> tuple[NDArray[np.int64], Floats]:
    """Return, for every free ray, the index of its bead (K,) and its direction (K, 2)."""
    angles = 2 * np.pi * np.arange(RAYS) / RAYS
    directions = np.stack((np.sin(angles), np.cos(angles)), axis=1)
    free = np.ones((len(beads), RAYS), bool)
    near = cKDTree(beads).sparse_distance_matrix(cKDTree(others), CLEARANCE * radius, output_type="coo_matrix")
    apart = others[near.col] - beads[near.row]
    size = np.hypot(*apart.T)
    itself = size < ITSELF * radius
    blocked = (apart @ directions.T > math.cos(math.radians(60)) * size[:, np.newaxis]) & ~itself[:, np.newaxis]
    bead, ray = np.nonzero(blocked)
    free[near.row[bead], ray] = False
    ends = beads[:, np.newaxis, :] + REACH * radius * directions
    free &= ((ends >= 0) & (ends <= np.array(shape) - 1)).all(axis=2)
    bead, ray = np.nonzero(free)
    return bead, directions[ray]


def _sample(plane: NDArray[np.float32], points: Floats) -> Floats:
    """Return `plane` at (..., 2) `points`, bilinearly; points outside take the border's value."""
    height, width = plane.shape
    y = np.clip(points[..., 0], 0, height - 1.001)
    x = np.clip(points[..., 1], 0, width - 1.001)
    top, left = y.astype(np.int64), x.astype(np.int64)
    down, across = y - top, x - left
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    upper = plane[top, left] * (1 - across) + plane[top, right] * across
    lower = plane[bottom, left] * (1 - across) + plane[bottom, right] * across
    sampled: Floats = upper * (1 - down) + lower * down
    return sampled


def _crossing(profile: Floats, distance: Floats, level: float) -> float:
    """Return the distance at which `profile` first falls below `level`, linearly between samples."""
    below = np.flatnonzero(profile < level)
    if len(below) == 0 or below[0] == 0:
        return float(distance[-1]) if len(below) == 0 else 0.0
    after = int(below[0])
    high, low = float(profile[after - 1]), float(profile[after])
    return float(distance[after - 1] + STEP * (high - level) / max(high - low, 1e-9))


def _mask_edge(marked: Floats, distance: Floats) -> float:
    """Return where rays leave the mask: the mean without outliers, of the rays that begin inside."""
    inside = np.minimum.accumulate(marked >= 0.5, axis=1)
    beginning = inside[:, 0]
    if not beginning.any():
        return 0.0
    lengths = inside[beginning].sum(axis=1) * STEP - STEP / 2
    # A ray that ran into an unknown bead, or began beside its own, measures nothing.
    middle = float(np.median(lengths))
    return float(lengths[np.abs(lengths - middle) <= OUTLYING].mean())
