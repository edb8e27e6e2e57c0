"""How beads lie together: the simulator's placement, chosen so that what is found in it is what was found.

Centres that are found in an image are not those of its beads: of two that overlap, one is found. So the beads of a
candidate are placed, those that would be seen as one are taken together, and the rest is compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.like import detect, stamps
from beadseg.data.simulate.like.arrange import arrange
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
ROUNDS = 4
"""Such images, each with as many beads as the one before lets expect."""

Floats = NDArray[np.float64]
Parameters = tuple[float, float, float, float]


@dataclass(frozen=True)
class Crowd:
    """How beads lie together: see `SceneConfig` and `arrange`; `found` is the share of them that is found again."""

    cluster_probability: float = 0.1
    max_overlap: float = 0.25
    contact: float = 1.12
    stacked: float = 0.03
    found: float = 1.0


def describe(found: Sequence[detect.Peaks], diameter: float, usual: float) -> Floats:
    """Return the shares of beads with a neighbour nearer than `NEAR`, and those higher than `HIGH`."""
    distance = np.concatenate([detect.neighbour_distance(each.centres) for each in found]) / diameter
    height = np.concatenate([each.height for each in found]) / usual
    if not len(distance):
        return np.zeros(len(NEAR) + len(HIGH))
    return np.array([(distance < near).mean() for near in NEAR] + [(height > high).mean() for high in HIGH])


def fit(target: Floats, beads: int, per_px: float, example: Floats, diameter: float) -> Crowd:
    """Return the placement in which the same is found.

    Parameters
    ----------
    target : numpy.ndarray
        What `describe` says of the images.
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
        return Crowd()
    planes = example.mean(axis=1)
    profile = _radial(planes.mean(axis=0))
    middle = planes.shape[-1] // 2
    heights = planes[:, middle, middle] / profile[0]

    def distance(parameters: Parameters) -> float:
        seen = _try(Crowd(*parameters), per_px, profile / profile[0], heights, diameter)
        return np.inf if seen is None else float(((describe([seen], diameter, 1.0) - target) ** 2).sum())

    coarse: Iterator[Parameters] = product(*COARSE)
    tried: dict[Parameters, float] = {parameters: distance(parameters) for parameters in coarse}
    for place, values in enumerate(FINE):
        best = list(_nearest(tried))
        for value in values:
            best[place] = value
            parameters = (best[0], best[1], best[2], best[3])
            if parameters not in tried:
                tried[parameters] = distance(parameters)
    crowd = Crowd(*_nearest(tried))
    return replace(crowd, found=_found(crowd, per_px, example.mean(axis=1, keepdims=True), diameter))


def _nearest(tried: dict[Parameters, float]) -> Parameters:
    """Return the parameters of the least distance."""
    return min(tried, key=tried.__getitem__)


def _found(crowd: Crowd, per_px: float, example: Floats, diameter: float) -> float:
    """Return the share of beads that is found in images drawn with so many that `per_px` are found."""
    middle = np.full(1, SIDE / 2)
    one = detect.peaks(stamps.lay((SIDE, SIDE), example.mean(axis=0)[None], middle, middle), diameter)
    least = detect.WEAK * float(one.height.max(initial=0.0))
    share = 1.0
    for trial in range(ROUNDS):
        rng = np.random.default_rng(trial)
        try:
            beads = arrange(_scene(crowd, SIDE, per_px / share * SIDE**2, diameter), crowd.contact, crowd.stacked, rng)
        except InputError:
            break
        off = stamps.lay((SIDE, SIDE), example[rng.integers(0, len(example), len(beads))], beads.y, beads.x)
        seen = len(detect.peaks(off, diameter).at_least(least).height) / max(len(beads), 1)
        share = float(np.clip(seen, 0.3, 1.0))
    return share


def _scene(crowd: Crowd, side: int, beads: float, diameter: float) -> SceneConfig:
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


def _try(crowd: Crowd, per_px: float, profile: Floats, heights: Floats, diameter: float) -> detect.Peaks | None:
    """Return what would be found of a candidate's beads; None where they have no room."""
    side = int(np.clip(np.sqrt(BEADS / per_px), 16, 32768))
    config = _scene(crowd, side, BEADS, diameter)
    rng = np.random.default_rng(0)
    try:
        beads = arrange(config, crowd.contact, crowd.stacked, rng)
    except InputError:
        return None
    return _seen(np.stack((beads.y, beads.x), axis=1), rng.choice(heights, len(beads)), profile)


def _seen(centres: Floats, heights: Floats, profile: Floats) -> detect.Peaks:
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
    return detect.Peaks(centres[keep], total[keep])


def _resolved(profile: Floats) -> float:
    """Return the distance from which on two beads have two maxima: there is a dip between them (Sparrow)."""
    steps = np.arange(len(profile), dtype=np.float64)
    apart = np.arange(0.0, steps[-1], 0.1)
    between = 2.0 * np.interp(apart / 2, steps, profile)
    dips = between < 0.98 * (1.0 + np.interp(apart, steps, profile))
    return float(apart[int(np.argmax(dips))]) if dips.any() else float(steps[-1])
