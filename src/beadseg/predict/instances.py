"""From maps to beads: seeds at the peaks, basins around them, and the candidates that a threshold selects.

Beads are separated once, independent of any threshold; threshold, smallest area and confidence only choose among
them afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from beadseg.data.masks import equal_regions, label_objects
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig

Cut: TypeAlias = tuple[bool, bool, bool, bool]
"""Which edges are cut out of a larger plane: upper, lower, left, right."""

LEVEL = 0.5
"""Probability at which shapes are looked at: every connected component there has a seed of its own."""
_ROWS = 256
"""Rows whose distances are computed at a time."""


def separate(
    probability: NDArray[np.float32],
    config: ObjectConfig,
    centre: NDArray[np.float32] | None = None,
    diameter: float | None = None,
    cut: Cut = (False, False, False, False),
    corner: tuple[int, int] = (0, 0),
) -> Separation:
    """Find the candidates for beads of one plane, or of a part of it.

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
    cut : (bool, bool, bool, bool)
        At which edges (upper, lower, left, right) the maps are cut out of larger ones: `Separation.unsure` then says
        how far from these the whole may have other candidates.
    corner : (int, int)
        Where the first pixel of a part lies in the whole.

    Raises
    ------
    ConfigError
        The diameter is not known.
    """
    diameter = needed_diameter(config) if diameter is None else diameter
    borders = _Borders((probability.shape[0], probability.shape[1]), cut, corner)
    pixels = np.flatnonzero(probability >= np.float32(config.seeds.lowest))
    likely = np.asarray(probability.reshape(-1)[pixels], np.float32)
    seeds = np.zeros(0, np.int64)
    if config.separate and len(pixels):
        height = _height(probability, centre, config.seeds.smoothing * diameter, borders)
        apart = max(1.5, config.seeds.distance * diameter)
        seeds = peaks(height, pixels, distance=apart, reach=diameter, valley=config.seeds.valley, borders=borders)
        if centre is not None:
            seeds = seeds[height.reshape(-1)[seeds] >= config.seeds.threshold]
        seeds = _with_missing(seeds, height, probability >= LEVEL, borders)
    seeds = _with_missing(seeds, probability, probability >= np.float32(config.seeds.lowest), borders)
    owner, steps = _grown(borders.shape, pixels, seeds)
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
        unsure=borders.unsure(pixels, owner, seeds, steps) if any(cut) else 0,
    )


class _Borders:
    """How far from the edges at which maps were cut out of larger ones the whole may have other seeds.

    Attributes
    ----------
    depth : int
        Seeds farther from these edges, px, are those of the whole; the outermost pixels are at 1.
    """

    def __init__(self, shape: tuple[int, int], cut: Cut, corner: tuple[int, int] = (0, 0)) -> None:
        self.shape, self.cut, self.corner, self.depth = shape, cut, corner, 0

    def of(self, flat: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how far pixels, flat indices, are from the nearest of these edges."""
        y, x = np.divmod(flat, self.shape[1])
        far = np.full(len(flat), sum(self.shape))
        for each, is_cut in zip((y + 1, self.shape[0] - y, x + 1, self.shape[1] - x), self.cut, strict=True):
            far = np.minimum(far, each) if is_cut else far
        return far

    def distances(self, distance: NDArray[np.float32], smoothed: float) -> None:
        """Take note of distances (Y, X) to the background: what is beyond an edge may be nearer."""
        inside = np.flatnonzero(distance)
        far = self.of(inside)
        wrong = far[distance.reshape(-1)[inside] > far]
        self.depth = int(wrong.max(initial=0)) + math.ceil(3 * smoothed) + 1

    def peaks(self, at: NDArray[np.int64], rivals: NDArray[np.int64], apart: float) -> None:
        """Take note of peaks and of which of them compete: those at an edge decide about others, and these likewise."""
        far = self.of(at)
        self.depth += 1 + math.ceil(apart)
        pairs = sparse.coo_array((np.ones(len(rivals), bool), tuple(rivals.T)), shape=(len(at), len(at)))
        _, group = connected_components(pairs, directed=False)
        within = np.isin(group, group[far <= self.depth])
        self.depth = max(self.depth, int(far[within].max(initial=0)))

    def regions(self, regions: NDArray[np.integer], seeds: NDArray[np.int64]) -> None:
        """Take note of regions (Y, X): what is seen of one at an edge may lack a seed that it has beyond the edge."""
        near = [slice(0, self.depth), slice(max(0, self.shape[0] - self.depth), None),
                slice(0, self.depth), slice(max(0, self.shape[1] - self.depth), None)]  # fmt: skip
        strips = [regions[:, each] if i > 1 else regions[each] for i, each in enumerate(near) if self.cut[i]]
        flat = regions.reshape(-1)
        sure = flat[seeds[self.of(seeds) > self.depth]]
        open_ = np.setdiff1d(np.concatenate([np.unique(strip) for strip in strips]), [0, *np.unique(sure)])
        if len(open_):
            self.depth = max(self.depth, int(self.of(np.flatnonzero(np.isin(flat, open_))).max()))

    def unsure(self, pixels: NDArray[np.int64], owner: NDArray[np.uint32], seeds: NDArray[np.int64], steps: int) -> int:
        """Return how far from the edges beads may be others in the whole.

        In as many steps as regions grow, what is wrong at `depth` comes so much farther. Afterwards a pixel changes
        only for a nearer seed: one that is within the largest radius of where it comes in, and takes pixels within
        that radius. A bead's own pixels lie within twice that radius of each other.
        """
        if not len(pixels):
            return self.depth
        (y, x), (ys, xs) = np.divmod(pixels, self.shape[1]), np.divmod(seeds[owner.astype(np.int64) - 1], self.shape[1])
        return self.depth + 2 + steps + math.ceil(4 * float(np.hypot(y - ys, x - xs).max()))


def _height(
    probability: NDArray[np.float32], centre: NDArray[np.float32] | None, sigma: float, borders: _Borders
) -> NDArray[np.float32]:
    """Return the map (Y, X) whose peaks are seeds: the centre map, or the smoothed distance to the edge."""
    if centre is not None:
        return centre
    inside = probability >= LEVEL
    distance = _distance(inside)
    if any(borders.cut):
        borders.distances(distance, sigma)
    smooth = ndimage.gaussian_filter(distance, sigma, truncate=3.0)
    return np.where(inside, np.maximum(smooth, LEVEL), probability).astype(np.float32)


def _with_missing(
    seeds: NDArray[np.int64], height: NDArray[np.float32], foreground: NDArray[np.bool_], borders: _Borders
) -> NDArray[np.int64]:
    """Return `seeds` with the highest pixel of each object of `foreground` added that has none; ascending."""
    plane = equal_regions(foreground, connectivity=2)
    if any(borders.cut):
        borders.regions(plane, seeds)
    regions = plane.reshape(-1)
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


def grow(shape: tuple[int, int], pixels: NDArray[np.int64], seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Give the pixels around `seeds` to the nearest seed (straight distance) that reaches them over `pixels`.

    Two equal discs that overlap are divided along the chord between them. The work grows with the number of `pixels`,
    not with the size of the plane, but for one pass over it.

    Parameters
    ----------
    shape : (int, int)
        Y and X of the plane.
    pixels : (P,) int64
        Flat indices of the pixels to divide.
    seeds : (S,) int64
        Flat indices, among `pixels`, of seeds ``1`` to ``S``.

    Returns
    -------
    (P,) uint32
        The number of each pixel's seed, 0 where none reaches.
    """
    return _grown(shape, pixels, seeds)[0]


def _grown(
    shape: tuple[int, int], pixels: NDArray[np.int64], seeds: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], int]:
    """Return the number of each pixel's seed, and in how many steps of a pixel all was divided."""
    field, steps = _Field(shape, pixels), 0
    front = field.inner(seeds)
    field.owner[front] = np.arange(1, len(seeds) + 1)
    field.distance[front] = 0.0
    ys, xs = (np.concatenate([[0], part]).astype(np.float32) for part in np.divmod(seeds, shape[1]))
    while len(front):
        front, steps = field.advance(front, ys, xs), steps + 1
    return np.asarray(field.owner[field.inner(pixels)]), steps


class _Field:
    """A plane with a margin of one pixel that nothing can enter."""

    def __init__(self, shape: tuple[int, int], pixels: NDArray[np.int64]) -> None:
        self.columns, self.width = shape[1], shape[1] + 2
        size = (shape[0] + 2) * self.width
        self.owner = np.zeros(size, np.uint32)
        self.distance = np.full(size, -1.0, np.float32)
        self.distance[self.inner(pixels)] = np.inf
        self.stamp = np.empty(size, np.int64)
        self.offsets = [dy * self.width + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]

    def inner(self, flat: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return flat indices of the plane as those of the field."""
        rows, columns = np.divmod(flat, self.columns)
        return np.asarray((rows + 1) * self.width + columns + 1)

    def advance(self, front: NDArray[np.int64], ys: NDArray[np.float32], xs: NDArray[np.float32]) -> NDArray[np.int64]:
        """Let the owners of `front` take neighbours that are nearer to their seed; return the pixels taken."""
        taken = []
        owners = self.owner[front]
        for offset in self.offsets:
            beside = front + offset
            open_ = np.flatnonzero(self.distance[beside] > 0)
            at, who = beside[open_], owners[open_]
            rows, columns = np.divmod(at, self.width)
            # Compared as it is stored: beyond 2**24 px² the rounded copy may be the larger one, for ever.
            away = ((rows - 1 - ys[who]) ** 2 + (columns - 1 - xs[who]) ** 2).astype(np.float32)
            nearer = away < self.distance[at]
            at = at[nearer]
            self.distance[at] = away[nearer]
            self.owner[at] = who[nearer]
            taken.append(at)
        return self._once(np.concatenate(taken))

    def _once(self, pixels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return `pixels` without repetitions: each writes its place, and the last to write stays."""
        places = np.arange(len(pixels))
        self.stamp[pixels] = places
        once: NDArray[np.int64] = pixels[self.stamp[pixels] == places]
        return once


def peaks(
    height: NDArray[np.float32], pixels: NDArray[np.int64], *, distance: float, reach: float, valley: float,
    borders: _Borders | None = None,
) -> NDArray[np.int64]:  # fmt: skip
    """Return the flat indices, ascending, of the peaks of a map.

    A peak is no lower than its eight neighbours; of an even plateau one pixel is taken. Of two the lower one is none
    when they are nearer than `distance`, or nearer than `reach` without a valley on the straight line between them.

    Parameters
    ----------
    height : (Y, X) float32
        The map, 0 or more; lower outside of `pixels` than inside.
    pixels : (P,) int64
        Flat indices of the pixels that can be peaks.
    distance, reach : float
        Distances of two peaks, px.
    valley : float
        How far the map falls between two peaks, share of the lower one.
    borders : _Borders, optional
        Of maps that were cut out of larger ones: is told which peaks compete.
    """
    at = local_maxima(height, pixels)
    at = at[np.argsort(-height.reshape(-1)[at], kind="stable")]
    points = np.stack(np.divmod(at, height.shape[1]), axis=1)
    # A step on the line is a pixel at most, so that it falls from every peak: without a valley only distance counts.
    reach = reach if valley > 0 else 0.0
    pairs = cKDTree(points).query_pairs(max(distance, reach), output_type="ndarray") if len(points) > 1 else None
    pairs = np.zeros((0, 2), np.int64) if pairs is None else pairs
    apart = np.hypot(*(points[pairs[:, 0]] - points[pairs[:, 1]]).T)
    rivals = pairs[apart < distance]
    if reach and len(pairs):
        corner = (0, 0) if borders is None else borders.corner
        ridge = _lowest_between(height, points[pairs[:, 0]], points[pairs[:, 1]], math.ceil(reach), corner)
        lower = height.reshape(-1)[at[pairs[:, 1]]]
        rivals = pairs[(apart < distance) | (ridge > (1.0 - valley) * lower)]
    if borders is not None and any(borders.cut):
        borders.peaks(at, rivals, max(distance, reach))
    return np.sort(at[~_beaten(rivals, len(at))])


def _beaten(rivals: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    """Return which of `count` peaks have a rival that stays: a better one, the first of its row in `rivals` (N, 2)."""
    beaten = np.zeros(count, bool)
    while len(rivals):
        better, worse = rivals.T
        contested = np.zeros(count, bool)
        contested[worse] = True
        wins = ~contested[better]
        beaten[worse[wins]] = True
        rivals = rivals[~(wins | beaten[better] | beaten[worse])]
    return beaten


def local_maxima(height: NDArray[np.float32], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of `pixels`, flat indices, that no neighbour is above; of equal neighbours the first."""
    rows, columns = height.shape
    width = columns + 2
    padded = np.full((rows + 2, width), -np.inf, np.float32)
    padded[1:-1, 1:-1] = height
    flat = padded.reshape(-1)
    at = pixels + 2 * (pixels // columns) + width + 1
    own = flat[at]
    for offset in (1, width, -1, -width, width + 1, width - 1, -width - 1, -width + 1):
        beside = flat[at + offset]
        stays = np.flatnonzero(own >= beside if offset > 0 else own > beside)
        at, own = at[stays], own[stays]
    return np.asarray((at // width - 1) * columns + at % width - 1)


def _lowest_between(
    height: NDArray[np.float32], one: NDArray[np.int64], other: NDArray[np.int64], steps: int, corner: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the lowest value of the map on the straight lines from `one` to `other`, both (N, 2).

    Halves are rounded to even rows and columns of the whole, in which the map begins at `corner`.
    """
    lowest = np.full(len(one), np.inf, np.float32)
    for part in np.linspace(0.0, 1.0, steps + 1)[1:-1]:
        y, x = (np.rint(one + corner + part * (other - one)).astype(np.int64) - corner).T
        lowest = np.minimum(lowest, height[y, x])
    return lowest


@dataclass(frozen=True, eq=False)
class Separation:
    """The candidates for beads of one plane, and which pixels can be theirs. Only what can be bead is stored.

    Attributes
    ----------
    shape : (int, int)
        Y and X of the plane, px.
    lowest : float
        Lowest threshold that can be chosen.
    pixels : (P,) int64
        Flat indices, ascending, of the pixels with a probability of at least `lowest`.
    owner : (P,) uint32
        Candidate, from 1, that each of them belongs to.
    probability : (P,) float32
        Of being bead.
    positions : (N, 2) float32
        (y, x) of the seed of candidates 1 to N, px.
    confidence : (N,) float32
        Height of each one's peak in the centre map; without such a map its highest probability.
    touching : bool
        Touching beads are left joined: what is chosen is relabelled by connected components.
    diameter : float or None
        Of the beads in this plane, px; None where it is what a choice says.
    unsure : int
        Of a part of a plane: beads with a pixel no farther than this from a cut edge, px, may be others in the whole.
    """

    shape: tuple[int, int]
    lowest: float
    pixels: NDArray[np.int64]
    owner: NDArray[np.uint32]
    probability: NDArray[np.float32]
    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]
    touching: bool = False
    diameter: float | None = None
    unsure: int = 0

    def select(self, *, threshold: float, min_area: int = 1, min_confidence: float = 0.0) -> NDArray[np.uint32]:
        """Return the labels (Y, X) uint32 of the candidates that suffice, 1, 2, … in their order; 0 is background.

        Parameters
        ----------
        threshold : float
            A bead keeps its pixels of at least this probability.
        min_area : int
            A bead has at least this many of them.
        min_confidence : float
            And at least this confidence.

        Raises
        ------
        InputError
            `threshold` is below `lowest`.
        """
        if threshold < self.lowest:
            text = f"The threshold {threshold} is below {self.lowest}, the lowest that beads were separated for."
            raise InputError(text, remedy="Separate again with a lower objects.seeds.lowest.")
        sure = np.concatenate([[False], self.confidence >= min_confidence])
        kept = np.flatnonzero((self.probability >= np.float32(threshold)) & sure[self.owner])
        labels = np.zeros(self.shape, np.uint32)
        flat = labels.reshape(-1)
        if self.touching:
            flat[self.pixels[kept]] = 1
            found: NDArray[np.uint32] = label_objects(labels, min_area)
            return found
        owner = self.owner[kept]
        large = np.bincount(owner, minlength=len(sure)) >= max(1, min_area)
        numbers = np.where(large, np.cumsum(large), 0).astype(np.uint32)
        flat[self.pixels[kept]] = numbers[owner]
        return labels

    def chosen(self, config: ObjectConfig) -> NDArray[np.uint32]:
        """Return the labels (Y, X) uint32 of the candidates that `config` selects; its diameter must be known."""
        return self.select(
            threshold=config.threshold,
            min_area=smallest_area(config, self.diameter),
            min_confidence=config.min_confidence,
        )


def needed_diameter(config: ObjectConfig) -> float:
    """Return the bead diameter (px); a configuration without one cannot be used yet."""
    if config.diameter is None:
        raise ConfigError("The bead diameter is not known.", "predict.objects.diameter", "Give it in px.")
    return config.diameter


def smallest_area(config: ObjectConfig, diameter: float | None = None) -> int:
    """Return the smallest area of an object, px²: the given one, or a sixth of a bead's (of `config` by default)."""
    if config.min_area is not None:
        return config.min_area
    return max(1, round(math.pi * (needed_diameter(config) if diameter is None else diameter) ** 2 / 24))
