"""From maps to candidates for beads: seeds, then basins, independent of any threshold that is chosen later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from beadseg.data.objects import equal_regions
from beadseg.predict.grow import grow
from beadseg.predict.peaks import peaks
from beadseg.predict.separation import Separation, needed_diameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig

LEVEL = 0.5
"""Probability at which shapes are looked at: what hangs together there has a seed of its own."""
_ROWS = 256
"""Rows whose distances are computed at a time."""


def separate(
    probability: NDArray[np.float32],
    config: ObjectConfig,
    centre: NDArray[np.float32] | None = None,
    diameter: float | None = None,
) -> Separation:
    """Find the candidates for beads of one plane.

    Seeds are the peaks of the centre map, or without one of the distance to the edge at a probability of 0.5 (where
    nothing reaches 0.5, of the probability). Every connected component gets at least one seed. Each pixel that can be
    bead goes to the nearest seed that reaches it. Threshold, smallest area and least confidence in `config` are not
    used: they choose afterwards (`Separation.chosen`).

    Parameters
    ----------
    probability : (Y, X) float32
        Of being part of a bead, between 0 and 1.
    config : ObjectConfig
        With a diameter (px).
    centre : (Y, X) float32, optional
        Centre map, between 0 and 1, with a peak at every bead's centre.
    diameter : float, optional
        Of the beads in these maps, px; when not given, `config.diameter`.

    Raises
    ------
    ConfigError
        The diameter is not known.
    """
    diameter = needed_diameter(config) if diameter is None else diameter
    pixels = np.flatnonzero(probability >= np.float32(config.seeds.lowest))
    likely = np.asarray(probability.reshape(-1)[pixels], np.float32)
    seeds = np.zeros(0, np.int64)
    if config.separate and len(pixels):
        height = _height(probability, centre, config.seeds.smoothing * diameter)
        apart = max(1.5, config.seeds.distance * diameter)
        seeds = peaks(height, pixels, distance=apart, reach=diameter, valley=config.seeds.valley)
        if centre is not None:
            seeds = seeds[height.reshape(-1)[seeds] >= config.seeds.threshold]
        seeds = _with_missing(seeds, height, probability >= LEVEL)
    seeds = _with_missing(seeds, probability, probability >= np.float32(config.seeds.lowest))
    owner = grow((probability.shape[0], probability.shape[1]), pixels, seeds)
    values = likely if centre is None else np.asarray(centre.reshape(-1)[pixels], np.float32)
    return Separation(
        shape=(probability.shape[0], probability.shape[1]),
        lowest=config.seeds.lowest,
        pixels=pixels,
        owner=owner,
        probability=likely,
        positions=np.stack(np.divmod(seeds, probability.shape[1]), axis=1).astype(np.float32),
        confidence=_highest(values, owner, len(seeds)),
        touching=not config.separate,
        diameter=diameter,
    )


def _height(probability: NDArray[np.float32], centre: NDArray[np.float32] | None, sigma: float) -> NDArray[np.float32]:
    """Return the map (Y, X) whose peaks are seeds: the centre map, or the smoothed distance to the edge."""
    if centre is not None:
        return centre
    inside = probability >= LEVEL
    smooth = ndimage.gaussian_filter(_distance(inside), sigma, truncate=3.0)
    return np.where(inside, np.maximum(smooth, LEVEL), probability).astype(np.float32)


def _with_missing(
    seeds: NDArray[np.int64], height: NDArray[np.float32], foreground: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return `seeds` with the highest pixel of each object of `foreground` added that has none; ascending."""
    regions = equal_regions(foreground, connectivity=2).reshape(-1)
    without = np.ones(int(regions.max(initial=0)) + 1, bool)
    without[0] = False
    without[regions[seeds]] = False
    left = np.flatnonzero(without[regions])
    order = np.lexsort((-height.reshape(-1)[left], regions[left]))
    first = np.unique(regions[left][order], return_index=True)[1]
    return np.sort(np.concatenate([seeds, left[order[first]]]))


def _highest(values: NDArray[np.float32], owner: NDArray[np.uint32], count: int) -> NDArray[np.float32]:
    """Return the highest value of each owner 1 to `count`."""
    highest = np.zeros(count + 1, np.float32)
    np.maximum.at(highest, owner, values)
    return highest[1:]


def _distance(foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return each pixel's distance to the background, px: SciPy's own, which needs 33 bytes per pixel, in bands."""
    nearest = ndimage.distance_transform_edt(foreground, return_distances=False, return_indices=True)
    out = np.empty(foreground.shape, np.float32)
    columns = np.arange(foreground.shape[1])
    for start in range(0, len(out), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(out)))
        down = (nearest[0, rows] - rows[:, np.newaxis]).astype(np.float64)
        across = (nearest[1, rows] - columns).astype(np.float64)
        out[rows] = np.sqrt(down * down + across * across)
    return out
