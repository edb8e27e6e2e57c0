"""How a mask must be moved to fit its image: turned or mirrored, then an affine map about the centre."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ORIENTATIONS = (
    "as it is", "turned by 90°", "turned by 180°", "turned by 270°",
    "mirrored left to right", "transposed", "mirrored top to bottom", "transposed over the other diagonal",
)  # fmt: skip
"""What an orientation 0-7 does to a mask: number % 4 quarter turns counter-clockwise; from 4 on mirrored first."""


def oriented(array: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return the (Y, X) `array` in one of the eight `ORIENTATIONS`."""
    return np.rot90(np.fliplr(array) if orientation >= 4 else array, orientation % 4)


def oriented_points(points: Floats, shape: tuple[int, int], orientation: int) -> Floats:
    """Return (N, 2) `points` of an image of `shape` where `oriented` puts them."""
    height, width = shape
    y, x = points[:, 0], points[:, 1]
    if orientation >= 4:
        x = width - 1 - x
    for _ in range(orientation % 4):
        y, x = width - 1 - x, y
        height, width = width, height
    return np.stack((y, x), axis=1)


def _steps(orientation: int) -> Floats:
    """Return what becomes of a step down and a step to the right, (2, 2)."""
    origin, down, right = oriented_points(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), (1, 1), orientation)
    return np.stack((down - origin, right - origin))


STEPS = np.stack([_steps(orientation) for orientation in range(len(ORIENTATIONS))])
"""What each orientation does to a step, (8, 2, 2): (dy, dx) becomes ``(dy, dx) @ STEPS[orientation]``."""


@dataclass(frozen=True, eq=False)
class Transform:
    """``q = centre + matrix (p - centre) + shift`` for a point p of the (oriented) mask; q is where the bead is.

    Attributes
    ----------
    centre : (2,) float64
        Centre of the image, px.
    matrix : (2, 2) float64
        Linear part, near the identity.
    shift : (2,) float64
        dy, dx, px.
    orientation : int
        Of `ORIENTATIONS`, applied first.
    """

    centre: Floats
    matrix: Floats = field(default_factory=lambda: np.eye(2))
    shift: Floats = field(default_factory=lambda: np.zeros(2))
    orientation: int = 0

    def __call__(self, points: Floats) -> Floats:
        """Return where (N, 2) oriented mask points lie in the image."""
        moved: Floats = (points - self.centre) @ self.matrix.T + self.centre + self.shift
        return moved

    def back(self, points: Floats) -> Floats:
        """Return where (N, 2) image points lie in the oriented mask."""
        moved: Floats = (points - self.centre - self.shift) @ np.linalg.inv(self.matrix).T + self.centre
        return moved

    @property
    def scale(self) -> float:
        """Factor by which the mask must grow."""
        return math.sqrt(abs(float(np.linalg.det(self.matrix))))

    @property
    def rotation(self) -> float:
        """Angle by which the mask must be turned, degrees, from rows to columns."""
        a = self.matrix
        return math.degrees(math.atan2(a[1, 0] - a[0, 1], a[0, 0] + a[1, 1]))

    @property
    def stretch(self) -> float:
        """Largest over smallest stretch, less 1: 0 for a similarity."""
        largest, smallest = np.linalg.svd(self.matrix, compute_uv=False)
        return float(largest / smallest) - 1.0
