"""Lay the beads of a mask over the beads of its image: votes for displacements, then least squares on the pairs.

Every pair of a mask bead and an image bead votes for the displacement between them (the generalised Hough transform of
a point pattern); right pairs agree, wrong ones scatter. The best displacement is refined by matching nearest
neighbours and fitting again, as in the iterative closest point method (Besl and McKay, IEEE PAMI 1992).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from beadseg.annotation.audit.transform import ORIENTATIONS, Transform, oriented_points

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

REACH = 12
"""Shifts searched along each axis, px: more than a slip of the hand, less than a neighbouring bead's field."""
WIDE_REACH = 24
"""Shifts searched where size and angle vary too: 5 % about a corner of a 512-px tile moves its centre by 13 px."""
SCALES = tuple(0.94 + 0.01 * step for step in range(13))
"""Scales tried where no shift fits."""
ANGLES = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Rotations tried where no shift fits, degrees."""
TOLERANCES = (1.2, 1.0, 0.75, 0.75)
"""How near a mask bead and an image bead must come to be a pair in successive fits, in bead radii."""
GOOD = 0.55
"""Share of the beads in pairs, beyond chance, above which no other hypothesis is tried."""
MOST_VOTERS = 300
"""Beads of the mask that vote where many hypotheses are tried."""
TRIED = 3
"""Hypotheses with the most votes that are refined."""
LARGEST_STRAIN = 0.09
"""A fitted map that departs more from the identity is a coincidence of wrong pairs."""
FOR_SIMILARITY, FOR_AFFINE = 6, 15
"""Pairs needed to fit scale and rotation, and to fit all six numbers of an affine map."""


@dataclass(frozen=True, eq=False)
class Fit:
    """A transform with what supports it.

    Attributes
    ----------
    transform : Transform
        Mask to image.
    pairs : int
        Beads in pairs, one to one.
    marked, seen : float
        Share of the mask's beads, and of the image's beads, that are in pairs, beyond what chance would give (0 to 1).
    residual : float
        Root mean square distance of the pairs along an axis, px.
    shift_error, scale_error, angle_error : float
        Standard errors: px, factor, degrees.
    """

    transform: Transform
    pairs: int
    marked: float
    seen: float
    residual: float
    shift_error: float
    scale_error: float
    angle_error: float

    @property
    def agreement(self) -> float:
        """The better of `marked` and `seen`: a partial mask has the one, a mask with extra objects the other."""
        return max(self.marked, self.seen)


def register(mask: Floats, image: Floats, shape: tuple[int, int], radius: float) -> tuple[Fit, Fit]:
    """Return the fit by a shift as the mask lies, and the best of all fits (the same where nothing beats it).

    Parameters
    ----------
    mask, image : (N, 2) and (M, 2) float64
        Beads, px; neither empty.
    shape : (int, int)
        Of the image, px.
    radius : float
        Bead radius, px.
    """
    plain = _best(mask, image, shape, radius, [_start(shape)], REACH)
    if plain.agreement >= GOOD:
        return plain, plain
    varied = [
        replace(_start(shape), matrix=scale * _turn(angle))
        for scale, angle in product(SCALES, ANGLES)
        if (scale, angle) != (1.0, 0.0)
    ]
    turned = [replace(_start(shape), orientation=number) for number in _orientations(shape)]
    fits = [plain, _best(mask, image, shape, radius, varied, WIDE_REACH)]
    if turned:
        fits.append(_best(mask, image, shape, radius, turned, REACH))
    return plain, max(fits, key=lambda fit: (round(fit.agreement, 2), fit.pairs))


def displacements(mask: Floats, image: Floats, reach: float) -> Floats:
    """Return (K, 2) displacements from mask beads to image beads, up to `reach` px along each axis."""
    near = cKDTree(mask).sparse_distance_matrix(cKDTree(image), reach, p=np.inf, output_type="coo_matrix")
    found: Floats = image[near.col] - mask[near.row]
    return found


def vote(moves: Floats, reach: int) -> tuple[Floats, float]:
    """Return the displacement (dy, dx) with the most votes within 3x3 px, and how many those are."""
    edges = np.arange(-reach - 0.5, reach + 1.0)
    counts = np.histogram2d(moves[:, 0], moves[:, 1], bins=(edges, edges))[0]
    smooth = 9 * uniform_filter(counts, 3, mode="constant")
    best = np.unravel_index(int(smooth.argmax()), smooth.shape)
    return np.array(best, np.float64) - reach, float(smooth[best])


def _start(shape: tuple[int, int]) -> Transform:
    return Transform((np.array(shape, np.float64) - 1) / 2)


def _turn(degrees: float) -> Floats:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[c, -s], [s, c]])


def _orientations(shape: tuple[int, int]) -> Iterable[int]:
    """Return the orientations beside 0 that keep the shape."""
    square = shape[0] == shape[1]
    return [number for number in range(1, len(ORIENTATIONS)) if square or number % 2 == 0]


def _best(
    mask: Floats, image: Floats, shape: tuple[int, int], radius: float, starts: list[Transform], reach: int
) -> Fit:
    """Refine the hypotheses with the most votes; return the best fit."""
    voted = []
    voters = mask if len(starts) == 1 else mask[:: 1 + len(mask) // MOST_VOTERS]
    for start in starts:
        points = oriented_points(voters, shape, start.orientation)
        shift, votes = vote(displacements(start(points), image, reach), reach)
        voted.append((votes, replace(start, shift=shift)))
    voted.sort(key=lambda item: -item[0])
    fits = [_refined(mask, image, shape, radius, start) for _, start in voted[:TRIED]]
    return max(fits, key=lambda fit: fit.pairs)


def _refined(mask: Floats, image: Floats, shape: tuple[int, int], radius: float, transform: Transform) -> Fit:
    points = oriented_points(mask, shape, transform.orientation)
    tree = cKDTree(image)
    for tolerance in TOLERANCES:
        first, second = nearest_pairs(transform(points), tree, tolerance * radius)
        fitted = _fitted(points[first], image[second], transform)
        if float(np.abs(fitted.matrix - np.eye(2)).max()) > LARGEST_STRAIN:
            break
        transform = fitted
    return _judged(points, image, tree, shape, radius, transform)


def nearest_pairs(moved: Floats, tree: cKDTree, tolerance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return indices of mask and image beads that are each other's nearest within `tolerance`."""
    distance, nearest = (np.atleast_1d(found) for found in tree.query(moved, distance_upper_bound=tolerance))
    found = np.flatnonzero(np.isfinite(distance))
    order = found[np.argsort(distance[found], kind="stable")]
    partners, once = np.unique(nearest[order], return_index=True)
    return order[once], partners


def _fitted(mask: Floats, image: Floats, transform: Transform) -> Transform:
    """Fit as many numbers as the pairs support; the linear part stays where they are too few."""
    count = len(mask)
    if count == 0:
        return transform
    p, q = mask - transform.centre, image - transform.centre
    if count < FOR_SIMILARITY:
        return replace(transform, shift=np.median(q - p @ transform.matrix.T, axis=0))
    if count < FOR_AFFINE:
        matrix, shift = _similarity(p, q)
    else:
        design = np.column_stack((p, np.ones(count)))
        solution = np.linalg.lstsq(design, q, rcond=None)[0]
        matrix, shift = solution[:2].T.astype(np.float64), solution[2].astype(np.float64)
    return replace(transform, matrix=matrix, shift=shift)


def _similarity(p: Floats, q: Floats) -> tuple[Floats, Floats]:
    """Least squares over scale, rotation and shift: one complex linear equation."""
    a, b = p[:, 0] + 1j * p[:, 1], q[:, 0] + 1j * q[:, 1]
    spread = float((np.abs(a - a.mean()) ** 2).sum())
    factor = complex(np.vdot(a - a.mean(), b - b.mean()) / spread) if spread > 0 else 1.0 + 0j
    move = complex(b.mean() - factor * a.mean())
    matrix = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return matrix, np.array([move.real, move.imag])


def _judged(
    points: Floats, image: Floats, tree: cKDTree, shape: tuple[int, int], radius: float, transform: Transform
) -> Fit:
    tolerance = TOLERANCES[-1] * radius
    moved = transform(points)
    first, second = nearest_pairs(moved, tree, tolerance)
    count = len(first)
    residual = float(np.sqrt(np.mean((moved[first] - image[second]) ** 2))) if count else math.inf
    disc = math.pi * tolerance**2 / (shape[0] * shape[1])
    inside = max(1, int(np.count_nonzero(((moved >= 0) & (moved <= np.array(shape) - 1)).all(axis=1))))
    spread = points[first] - points[first].mean(axis=0) if count else points
    squares = float((spread**2).sum())
    slope = residual / math.sqrt(squares) if count >= FOR_SIMILARITY and squares > 0 else math.inf
    # The shift is that of the image's centre: less certain where the pairs lie to one side of it.
    away = float(np.hypot(*(points[first].mean(axis=0) - transform.centre))) if count else 0.0
    lever = slope * away if math.isfinite(slope) else 0.0
    return Fit(
        transform=transform,
        pairs=count,
        marked=_beyond_chance(count / inside, len(image) * disc),
        seen=_beyond_chance(count / max(1, len(image)), inside * disc),
        residual=residual,
        shift_error=math.hypot(residual / math.sqrt(count), math.sqrt(2) * lever) if count else math.inf,
        scale_error=slope,
        angle_error=math.degrees(slope),
    )


def _beyond_chance(share: float, expected: float) -> float:
    chance = 1.0 - math.exp(-expected)
    return max(0.0, (min(1.0, share) - chance) / (1.0 - chance)) if chance < 1 else 0.0
