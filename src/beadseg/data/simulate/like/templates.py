"""Beads of a data set: found in the image itself, cut out as templates, varied as they vary, and packed as they lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.particles import Beads, place
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SMOOTH = 0.2
"""Blur before maxima are looked for, in bead diameters."""
APART = 0.5
"""Two maxima are two beads from this distance on, in bead diameters."""
WEAK = 0.45
"""A bead has at least this share of the density that annotated beads have in the middle."""
NOISE = 5.0
"""A maximum is seen from this many robust standard deviations on."""

Floats = NDArray[np.float64]

FADE = (1.4, 2.0)
"""Radii between which a bead's stamp fades to nothing, in bead diameters."""
CENTRE_ROUNDS = 3
"""Times a centre is corrected to the centre of darkness around it."""
WITHIN = 0.6
"""Radius in which the centre of darkness is taken, in bead diameters."""

MODES = 14
"""Patterns kept."""
PRIOR = 4.0
"""A tile's own mean counts like so many beads less than it has: the rest is its field's."""

LIGHTEST, DARKEST = 0.4, 1.5
"""Beads by themselves have a sum of density between these shares of the median of their image."""
BETWEEN = 0.35
"""Weight of a second sample in the drawn ones."""

NEAR = (0.7, 0.85, 1.0, 1.15, 1.3, 1.5, 1.75, 2.0)
"""Distances to the nearest neighbour, in diameters, at which shares of beads are compared …"""
HIGH = (1.3, 1.6)
"""… and densities, in those of a usual bead, at which they are."""
COARSE = ((0.0, 0.1, 0.25, 0.45), (0.1, 0.35), (1.0, 1.12, 1.25), (0.0, 0.05, 0.12))
"""Values of a crowd's four parameters of which all combinations are tried …"""
FINE = (
    (0.0, 0.05, 0.1, 0.17, 0.25, 0.35, 0.5),
    (0.1, 0.25, 0.45),
    (1.0, 1.06, 1.12, 1.18, 1.25),
    (0.0, 0.03, 0.06, 0.1),
)
"""… and of which each is tried after that, the other three being kept."""
BEADS = 500
"""Beads in a candidate."""
FEW = 100
"""Fewer beads in a field say nothing about how they lie together."""

SIDE = 512
"""Side of the images drawn to see how many beads are found, px."""
PACKING_ROUNDS = 4
"""Such images, each with as many beads as the one before lets expect."""

Parameters = tuple[float, float, float, float]

STACKED_WITHIN = 0.55
"""Largest distance of a bead to the one that it lies on, in diameters."""


@dataclass(frozen=True, eq=False)
class Peaks:
    """Maxima of an image's density: centres (N, 2), row and column, px, and their height (N,)."""

    centres: Floats
    height: Floats

    def at_least(self, height: float) -> Peaks:
        """Return the maxima of this height or more."""
        keep = self.height >= height
        return Peaks(self.centres[keep], self.height[keep])


def find_peaks(off: Floats, diameter: float) -> Peaks:
    """Return all maxima above the noise of a density (C, Y, X), channels averaged."""
    smooth = ndimage.gaussian_filter(off.mean(axis=0), SMOOTH * diameter)
    reach = max(1, round(APART * diameter / 2))
    # Beads raise the upper half of the values, so the noise is told from the lower tail: 5 % and 25 % of a Gaussian.
    spread = float(np.subtract(*np.quantile(smooth, (0.25, 0.05)))) / 0.970
    highest = ndimage.maximum_filter(smooth, 2 * reach + 1)
    rows, columns = np.nonzero((smooth == highest) & (smooth > np.median(smooth) + NOISE * spread))
    order = np.argsort(-smooth[rows, columns], kind="stable")
    whole = np.stack((rows, columns), axis=1)[order]
    centres = _exact(smooth, whole[_first_of_close(whole, APART * diameter)])
    height = smooth[tuple(np.clip(np.rint(centres).astype(int), 0, np.array(smooth.shape) - 1).T)]
    return Peaks(centres, height)


def _first_of_close(centres: NDArray[np.intp], apart: float) -> NDArray[np.bool_]:
    """Tell which centres (N, 2) stay when of two closer than `apart` the later goes."""
    keep = np.ones(len(centres), dtype=bool)
    if len(centres) > 1:
        for first, second in np.sort(cKDTree(centres).query_pairs(apart, output_type="ndarray"), axis=1).tolist():
            if keep[first]:
                keep[second] = False
    return keep


def _exact(smooth: Floats, centres: NDArray[np.intp]) -> Floats:
    """Return centres between pixels: the top of the parabola through a maximum and its neighbours."""
    found = centres.astype(np.float64)
    for axis in (0, 1):
        inner = (centres[:, axis] > 0) & (centres[:, axis] < smooth.shape[axis] - 1)
        rows, columns = centres[inner].T
        step = (1, 0) if axis == 0 else (0, 1)
        below, middle, above = (smooth[rows + k * step[0], columns + k * step[1]] for k in (-1, 0, 1))
        bend = np.minimum(below - 2 * middle + above, -1e-12)
        found[inner, axis] += np.clip(0.5 * (below - above) / bend, -0.5, 0.5)
    return found


def neighbour_distance(centres: Floats) -> Floats:
    """Return the distance (N,) of every centre to the nearest other one, px; infinite where there is none."""
    if len(centres) < 2:
        return np.full(len(centres), np.inf)
    distance = np.asarray(cKDTree(centres).query(centres, k=2)[0], dtype=np.float64)
    return distance[:, 1]


def usual_height(found: Peaks, foreground: NDArray[np.bool_], diameter: float) -> Floats:
    """Return the heights of the maxima that an annotation (Y, X) names, each object by its highest one."""
    reach = max(1, round(diameter / 4))
    near = ndimage.binary_dilation(foreground, iterations=reach)
    objects, count = ndimage.label(near, structure=np.ones((3, 3)))
    place = np.clip(np.rint(found.centres).astype(int), 0, np.array(foreground.shape) - 1)
    owner = objects[tuple(place.T)] if len(place) else np.zeros(0, dtype=int)
    best = np.zeros(count + 1)
    np.maximum.at(best, owner, found.height)
    heights: Floats = best[1:][best[1:] > 0]
    return heights


def stamp_radius(diameter: float) -> int:
    """Return how far a stamp reaches from its middle pixel, px."""
    return int(np.ceil(FADE[1] * diameter))


def fading(diameter: float) -> Floats:
    """Return the weight (K, K) of a stamp's pixels, 1 around its middle and 0 from its rim on."""
    reach = np.arange(-stamp_radius(diameter), stamp_radius(diameter) + 1)
    distance = np.hypot(reach[:, None], reach[None, :]) / diameter
    ramp = np.clip((FADE[1] - distance) / (FADE[1] - FADE[0]), 0.0, 1.0)
    weight: Floats = 0.5 - 0.5 * np.cos(np.pi * ramp)
    return weight


def cut_stamps(off: Floats, centres: Floats, diameter: float, rounds: int = CENTRE_ROUNDS) -> tuple[Floats, Floats]:
    """Return stamps (N, C, K, K) of a density (C, Y, X) around beads, and their corrected centres (N, 2).

    A stamp is taken relative to its own rim, where a bead by itself has ended, and fades out towards it. Centres
    are corrected `rounds` times.
    """
    reach = np.arange(-stamp_radius(diameter), stamp_radius(diameter) + 1, dtype=np.float64)
    curves = [ndimage.spline_filter(plane, order=3) for plane in off]
    near = np.hypot(reach[:, None], reach[None, :]) <= WITHIN * diameter
    centres = centres.copy()
    for _ in range(rounds):
        mean = _sample(curves, centres, reach).mean(axis=1)
        weight = np.clip(mean - _rim(mean, diameter), 0.0, None) * near
        mass = np.maximum(weight.sum(axis=(1, 2)), 1e-9)
        centres[:, 0] += np.clip((weight * reach[:, None]).sum(axis=(1, 2)) / mass, -1, 1)
        centres[:, 1] += np.clip((weight * reach[None, :]).sum(axis=(1, 2)) / mass, -1, 1)
    stamps = _sample(curves, centres, reach)
    return (stamps - _rim(stamps, diameter)) * fading(diameter), centres


def _sample(curves: list[Floats], centres: Floats, reach: Floats) -> Floats:
    """Return the values (N, C, K, K) of cubic splines around centres."""
    rows = np.broadcast_to((centres[:, 0, None] + reach)[:, :, None], (len(centres), len(reach), len(reach)))
    columns = np.broadcast_to((centres[:, 1, None] + reach)[:, None, :], rows.shape)
    planes = [
        ndimage.map_coordinates(curve, (rows, columns), order=3, mode="nearest", prefilter=False) for curve in curves
    ]
    return np.stack(planes, axis=1)


def _rim(stamps: Floats, diameter: float) -> Floats:
    """Return the median of the stamps' rims, (..., 1, 1)."""
    reach = np.arange(-stamp_radius(diameter), stamp_radius(diameter) + 1)
    distance = np.hypot(reach[:, None], reach[None, :])
    rim = (distance >= FADE[0] * diameter) & (distance <= FADE[1] * diameter)
    middle: Floats = np.median(stamps[..., rim], axis=-1)[..., None, None]
    return middle


def lay_stamps(shape: tuple[int, int], stamps: Floats, y: Floats, x: Floats) -> Floats:
    """Return the sum (C, Y, X) of stamps (N, C, K, K) with their middles at `y`, `x` (N,), px."""
    count, channels, side, _ = stamps.shape
    reach = side // 2
    total = np.zeros((channels, shape[0] + 2 * side, shape[1] + 2 * side))
    rows, columns = np.rint(y).astype(int), np.rint(x).astype(int)
    stamps = _moved(stamps, y - rows, x - columns)
    for index in range(count):
        top, left = rows[index] - reach + side, columns[index] - reach + side
        if 0 <= top <= shape[0] + side and 0 <= left <= shape[1] + side:
            total[:, top : top + side, left : left + side] += stamps[index]
    return total[:, side:-side, side:-side]


def _moved(stamps: Floats, dy: Floats, dx: Floats) -> Floats:
    """Return stamps (N, C, K, K) moved by less than a pixel, through their Fourier transform."""
    if not len(stamps):
        return stamps
    side = stamps.shape[-1]
    down, across = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    turn = np.exp(-2j * np.pi * (down[None, :, None] * dy[:, None, None] + across[None, None, :] * dx[:, None, None]))
    moved: Floats = np.fft.irfft2(np.fft.rfft2(stamps) * turn[:, None], (side, side))
    return moved


def width_at_half(stamp: Floats) -> float:
    """Return the diameter of the disc that is as large as the part of a stamp (K, K) above half of its height."""
    reach = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    fine = ndimage.zoom(stamp, 4, order=3)
    area = float(np.count_nonzero(fine >= 0.5 * fine.max())) / 16 * (len(reach) / (fine.shape[0] / 4)) ** 2
    return 2.0 * float(np.sqrt(area / np.pi))


@dataclass(frozen=True, eq=False)
class Shapes:
    """Mean (C, K, K) and orthonormal modes (M, C, K, K) of beads."""

    mean: Floats
    modes: Floats

    @classmethod
    def of(cls, stamps: Floats) -> Shapes:
        """Return the mean and the main modes of stamps (N, C, K, K)."""
        mean = stamps.mean(axis=0)
        flat = (stamps - mean).reshape(len(stamps), -1)
        _, _, patterns = np.linalg.svd(flat, full_matrices=False)
        return cls(mean, patterns[:MODES].reshape(-1, *mean.shape))

    def coefficients(self, stamps: Floats) -> Floats:
        """Return the coefficients (N, M) of stamps (N, C, K, K)."""
        return np.asarray(np.tensordot(stamps - self.mean, self.modes, ((1, 2, 3), (1, 2, 3))))

    def draw(self, mean: Floats, samples: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Draw stamps (N, C, K, K) whose coefficients lie around a mean (M,) as the samples (S, M) lie around 0.

        Between the samples: a smoothed bootstrap (Silverman and Young, Biometrika 74, 1987) that keeps the covariance.
        """
        chosen = samples[rng.integers(0, len(samples), count)]
        other = samples[rng.integers(0, len(samples), count)]
        drawn = mean + (chosen + BETWEEN * other) / np.hypot(1.0, BETWEEN)
        return np.asarray(self.mean + np.tensordot(drawn, self.modes, 1))


def single_beads(stamps: Floats) -> NDArray[np.bool_]:
    """Tell which stamps (N, C, K, K) of one image hold one bead: two that lie on each other are twice as dark."""
    mass = stamps.sum(axis=(1, 2, 3))
    middle = float(np.median(mass)) if len(mass) else 0.0
    return np.asarray((mass > LIGHTEST * middle) & (mass < DARKEST * middle))


def samples(coefficients: list[Floats], bare: Floats, most: int) -> Floats:
    """Return how beads of one image differ: centred coefficients (S, M), shrunk by the noise of `bare` ground (N, M).

    `coefficients` holds (N, M) for every image.
    """
    modes = bare.shape[1]
    centred = np.concatenate(
        [each - each.mean(axis=0) for each in coefficients if len(each) > 1] or [np.zeros((1, modes))]
    )
    if len(centred) <= modes:
        return np.zeros((1, modes))
    found = np.cov(centred, rowvar=False)
    signal = found - np.cov(bare, rowvar=False) if len(bare) > modes else found
    kept = centred @ _root(np.linalg.pinv(found, hermitian=True)) @ _root(signal)
    chosen = np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int)
    return np.asarray(kept[chosen])


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def tile_means(coefficients: list[Floats], fallback: Floats) -> list[Floats]:
    """Return the mean (M,) of every tile's beads, drawn towards the field's mean where they are few.

    `fallback` (M,) stands for a field without any.
    """
    everything = np.concatenate(coefficients)
    field = everything.mean(axis=0) if len(everything) else fallback
    return [(each.sum(axis=0) + PRIOR * field) / (len(each) + PRIOR) for each in coefficients]


@dataclass(frozen=True)
class Packing:
    """How beads lie together: see `SceneConfig` and `arrange`; `found` is the share of them that is found again."""

    cluster_probability: float = 0.1
    max_overlap: float = 0.25
    contact: float = 1.12
    stacked: float = 0.03
    found: float = 1.0


def describe_packing(found: Sequence[Peaks], diameter: float) -> Floats:
    """Return the shares of beads with a neighbour nearer than `NEAR`, and those higher than `HIGH`."""
    distance = np.concatenate([neighbour_distance(each.centres) for each in found]) / diameter
    height = np.concatenate([each.height for each in found])
    if not len(distance):
        return np.zeros(len(NEAR) + len(HIGH))
    return np.array([(distance < near).mean() for near in NEAR] + [(height > high).mean() for high in HIGH])


def fit_packing(target: Floats, beads: int, per_px: float, example: Floats, diameter: float) -> Packing:
    """Return the placement in which the same is found.

    Parameters
    ----------
    target : numpy.ndarray
        What `describe_packing` says of the images.
    beads : int
        Beads that were found.
    per_px : float
        Beads found per pixel.
    example : numpy.ndarray
        (N, C, K, K) stamps of the field's beads.
    diameter : float
        Bead diameter, px.
    """
    if beads < FEW:
        return Packing()
    planes = example.mean(axis=1)
    profile = _radial(planes.mean(axis=0))
    middle = planes.shape[-1] // 2
    heights = planes[:, middle, middle] / profile[0]

    def distance(parameters: Parameters) -> float:
        seen = _try(Packing(*parameters), per_px, profile / profile[0], heights, diameter)
        return np.inf if seen is None else float(((describe_packing([seen], diameter) - target) ** 2).sum())

    coarse: Iterator[Parameters] = product(*COARSE)
    tried: dict[Parameters, float] = {parameters: distance(parameters) for parameters in coarse}
    for position, values in enumerate(FINE):
        best = list(_nearest(tried))
        for value in values:
            best[position] = value
            parameters = (best[0], best[1], best[2], best[3])
            if parameters not in tried:
                tried[parameters] = distance(parameters)
    crowd = Packing(*_nearest(tried))
    return replace(crowd, found=_found(crowd, per_px, example.mean(axis=1, keepdims=True), diameter))


def _nearest(tried: dict[Parameters, float]) -> Parameters:
    """Return the parameters of the least distance."""
    return min(tried, key=tried.__getitem__)


def _found(crowd: Packing, per_px: float, example: Floats, diameter: float) -> float:
    """Return the share of beads that is found in images drawn with so many that `per_px` are found."""
    middle = np.full(1, SIDE / 2)
    one = find_peaks(lay_stamps((SIDE, SIDE), example.mean(axis=0)[None], middle, middle), diameter)
    least = WEAK * float(one.height.max(initial=0.0))
    share = 1.0
    for trial in range(PACKING_ROUNDS):
        rng = np.random.default_rng(trial)
        try:
            beads = arrange(_scene(crowd, SIDE, per_px / share * SIDE**2, diameter), crowd.contact, crowd.stacked, rng)
        except InputError:
            break
        off = lay_stamps((SIDE, SIDE), example[rng.integers(0, len(example), len(beads))], beads.y, beads.x)
        seen = len(find_peaks(off, diameter).at_least(least).height) / max(len(beads), 1)
        share = float(np.clip(seen, 0.3, 1.0))
    return share


def _scene(crowd: Packing, side: int, beads: float, diameter: float) -> SceneConfig:
    return SceneConfig(
        height=side, width=side, beads=beads, poisson=False, diameter_px=diameter, diameter_spread=0.0,
        cluster_probability=crowd.cluster_probability, max_overlap=crowd.max_overlap,
    )  # fmt: skip


def _radial(plane: Floats) -> Floats:
    """Return the mean (R,) of a stamp (K, K) at distances 0, 1, 2 … px from its middle."""
    reach = np.arange(plane.shape[0]) - plane.shape[0] // 2
    distance = np.rint(np.hypot(reach[:, None], reach[None, :])).astype(int)
    total = np.bincount(distance.ravel(), plane.ravel()) / np.bincount(distance.ravel())
    mean: Floats = total[: plane.shape[0] // 2 + 1]
    return mean


def _try(crowd: Packing, per_px: float, profile: Floats, heights: Floats, diameter: float) -> Peaks | None:
    """Return what would be found of a candidate's beads; None where they have no room."""
    side = int(np.clip(np.sqrt(BEADS / per_px), 16, 32768))
    config = _scene(crowd, side, BEADS, diameter)
    rng = np.random.default_rng(0)
    try:
        beads = arrange(config, crowd.contact, crowd.stacked, rng)
    except InputError:
        return None
    return _seen(np.stack((beads.y, beads.x), axis=1), rng.choice(heights, len(beads)), profile)


def _seen(centres: Floats, heights: Floats, profile: Floats) -> Peaks:
    """Return which of beads that add up would be found, and how high."""
    steps = np.arange(len(profile), dtype=np.float64)
    pairs = cKDTree(centres).query_pairs(steps[-1], output_type="ndarray")
    distance = np.hypot(*(centres[pairs[:, 0]] - centres[pairs[:, 1]]).T)
    share = np.interp(distance, steps, profile)
    total = heights + np.bincount(pairs[:, 0], share * heights[pairs[:, 1]], len(heights))
    total += np.bincount(pairs[:, 1], share * heights[pairs[:, 0]], len(heights))
    keep = np.ones(len(heights), dtype=bool)
    close = pairs[distance < _resolved(profile)]
    for first, second in close[np.argsort(-total[close].max(axis=1), kind="stable")].tolist():
        if keep[first] and keep[second]:
            keep[second if total[first] >= total[second] else first] = False
    return Peaks(centres[keep], total[keep])


def _resolved(profile: Floats) -> float:
    """Return the distance from which on two beads have two maxima: there is a dip between them (Sparrow)."""
    steps = np.arange(len(profile), dtype=np.float64)
    apart = np.arange(0.0, steps[-1], 0.1)
    between = 2.0 * np.interp(apart / 2, steps, profile)
    dips = between < 0.98 * (1.0 + np.interp(apart, steps, profile))
    return float(apart[int(np.argmax(dips))]) if dips.any() else float(steps[-1])


def arrange(config: SceneConfig, contact: float, stacked: float, rng: np.random.Generator) -> Beads:
    """Return the beads of one image.

    Parameters
    ----------
    config : SceneConfig
        Size, number, diameter and clustering of the beads.
    contact : float
        Distance of two beads in contact, in diameters: what is seen of a bead may be smaller than it is.
    stacked : float
        Share of the beads that lie on another one, so that the two are hardly told apart.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    placed = place(config.replace(diameter_px=config.diameter_px * contact), rng)
    centres = np.stack((placed.y, placed.x), axis=1)
    for upper in np.flatnonzero(rng.random(len(placed)) < stacked):
        lower = int(rng.integers(len(placed)))
        if lower != upper:
            angle, distance = rng.uniform(0, 2 * np.pi), STACKED_WITHIN * config.diameter_px * np.sqrt(rng.random())
            moved = centres[lower] + distance * np.array([np.sin(angle), np.cos(angle)])
            centres[upper] = np.clip(moved, -0.5, np.array([config.height, config.width]) - 0.5000001)
    return Beads(centres[:, 0], centres[:, 1], placed.diameter / contact)
