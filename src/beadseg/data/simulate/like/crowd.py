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
from beadseg.data.simulate.like import detect
from beadseg.data.simulate.like.arrange import arrange
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

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

Floats = NDArray[np.float64]


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

    def distance(parameters: tuple[float, ...]) -> tuple[float, Crowd]:
        crowd = Crowd(*parameters)
        seen = _try(crowd, per_px, profile / profile[0], heights, diameter)
        if seen is None:
            return np.inf, crowd
        off = float(((describe([seen], diameter, 1.0) - target) ** 2).sum())
        return off, replace(crowd, found=len(seen.height) / BEADS)

    tried = {parameters: distance(parameters) for parameters in product(*COARSE)}
    for place, values in enumerate(FINE):
        best = min(tried, key=lambda parameters: tried[parameters][0])
        around = [(*best[:place], value, *best[place + 1 :]) for value in values]
        tried |= {parameters: distance(parameters) for parameters in around if parameters not in tried}
    off, crowd = min(tried.values(), key=lambda pair: pair[0])
    return crowd if np.isfinite(off) else Crowd()


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
    config = SceneConfig(
        height=side, width=side, beads=BEADS, poisson=False, diameter_px=diameter, diameter_spread=0.0,
        cluster_probability=crowd.cluster_probability, max_overlap=crowd.max_overlap,
    )  # fmt: skip
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
