"""The radius of beads in the image and in the mask, along the same rays from the beads' centres.

A ray starts at a bead's centre and is used only where no other bead lies in its direction, so that clusters count
with their outer sides. The image's edge is where the mean profile has fallen to half of the bead's contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

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
        See `filters.strength`.
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
