"""Where wrong beads are: how many, in how many groups, and the place to look at first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from beadseg.annotation.audit.measurement import Places

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Box

    Floats = NDArray[np.float64]

GROUP = 3.0
"""Wrong beads nearer than this, in bead radii, are one group."""
LOOK = 20.0
"""Side of the square that a person is sent to, in bead radii."""


def places(points: Floats, of: int, shape: tuple[int, ...], radius: float) -> Places:
    """Return the numbers of (N, 2) wrong `points`, out of `of` judged ones, in an image of `shape`."""
    if len(points) == 0:
        return Places(of=of)
    near = cKDTree(points).sparse_distance_matrix(cKDTree(points), GROUP * radius, output_type="coo_matrix")
    groups = int(connected_components(near, directed=False)[0])
    return Places(count=len(points), groups=groups, of=of, box=busiest(points, shape, radius))


def busiest(points: Floats, shape: tuple[int, ...], radius: float) -> Box:
    """Return the square, clipped to the image, around the point with most others near it."""
    half = LOOK / 2 * radius
    tree = cKDTree(points)
    counts = tree.query_ball_point(points, half, p=np.inf, return_length=True)
    return square(points[int(np.argmax(counts))], half, shape)


def square(centre: Floats, half: float, shape: tuple[int, ...]) -> Box:
    """Return the square of `half` a side around `centre`, clipped to the image; at least one pixel."""
    top, left = (max(0, min(int(c - half), n - 1)) for c, n in zip(centre, shape, strict=True))
    bottom, right = (max(1, min(int(c + half) + 1, n)) for c, n in zip(centre, shape, strict=True))
    return top, left, max(bottom, top + 1), max(right, left + 1)


def interior(points: Floats, shape: tuple[int, ...], margin: float) -> NDArray[np.bool_]:
    """Tell which of (N, 2) `points` lie at least `margin` px inside the image's border."""
    return np.asarray(((points >= margin) & (points <= np.array(shape) - 1 - margin)).all(axis=1))
