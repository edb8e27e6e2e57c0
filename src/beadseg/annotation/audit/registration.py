"""Lay the beads of a mask over the beads of its image: votes for displacements, then least squares on the pairs.

The result is a turn or mirroring and an affine map about the centre; parts of a mask may be shifted against the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.spatial import cKDTree

from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.measurement import Part

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

ORIENTATIONS = (
    "as it is", "turned by 90°", "turned by 180°", "turned by 270°",
    "mirrored left to right", "transposed", "mirrored top to bottom", "transposed over the other diagonal",
)  # fmt: skip
"""What an orientation 0-7 does to a mask: number % 4 quarter turns counter-clockwise; from 4 on mirrored first."""

BEADS_PER_PART = 12
"""A part has at least about this many beads: fewer agree by chance."""
MOST_PARTS = 4
"""Parts along a side, at most."""


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


def local_shifts(mask: Floats, image: Floats, shape: tuple[int, int], radius: float) -> tuple[Part, ...]:
    """Return the parts whose beads agree on a shift that the rest has not.

    Parameters
    ----------
    mask : (N, 2) float64
        Beads of the mask after the best fit of the whole, px.
    image : (M, 2) float64
        Beads of the image, px.
    shape : (int, int)
        Of the image, px.
    radius : float
        Bead radius, px.
    """
    sides = min(MOST_PARTS, int(np.sqrt(len(mask) / BEADS_PER_PART)))
    if sides < 2 or len(image) == 0:
        return ()
    found = []
    rows, columns = (np.linspace(0, length, sides + 1) for length in shape)
    row, column = np.searchsorted(rows, mask[:, 0]) - 1, np.searchsorted(columns, mask[:, 1]) - 1
    for i in range(sides):
        for j in range(sides):
            inside = mask[(row == i) & (column == j)]
            shift = _own_shift(inside, image, radius)
            if shift is not None:
                box = (int(rows[i]), int(columns[j]), int(rows[i + 1]), int(columns[j + 1]))
                found.append(Part(box=box, dy=float(shift[0]), dx=float(shift[1]), beads=len(inside)))
    return tuple(found)


def _own_shift(mask: Floats, image: Floats, radius: float) -> Floats | None:
    """Return the shift (dy, dx) that most of a part's beads agree on, or None where they fit as they lie."""
    if len(mask) < thresholds.FEWEST_PAIRS:
        return None
    tree = cKDTree(image)
    here = np.count_nonzero(tree.query(mask)[0] <= thresholds.LOCAL_PX)
    if here > 0.5 * len(mask):
        return None
    moves = displacements(mask, image, REACH)
    shift, _ = vote(moves, REACH)
    close = moves[(np.abs(moves - shift) <= 0.6 * radius).all(axis=1)]
    if len(close) == 0:
        return None
    shift = np.median(close, axis=0)
    there = np.count_nonzero(tree.query(mask + shift)[0] <= thresholds.LOCAL_PX)
    # One of the 600 shifts tried fits some beads by chance: dense images need more to prove it.
    chance = 1 - np.exp(-_density(image) * np.pi * thresholds.LOCAL_PX**2)
    enough = there >= max(thresholds.LOCAL_SHARE, 2 * chance) * len(mask) and there >= 2 * here
    return shift if enough and float(np.hypot(*shift)) >= thresholds.LOCAL_PX else None


def _density(points: Floats) -> float:
    """Return points per px of the box that holds them."""
    sides = points.max(axis=0) - points.min(axis=0) + 1
    return float(len(points) / sides.prod())
