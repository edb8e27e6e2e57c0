"""How large the beads of an image are, found by the network itself over a range of scales."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter

from beadseg.errors import InputError
from beadseg.model.inputs import luminance, resized
from beadseg.predict.instances import needed_diameter, peaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from beadseg.config.predict import ObjectConfig, SizeConfig
    from beadseg.events import StopFlag
    from beadseg.predict.prediction import Maps


SMALLEST_PX, LARGEST_PX = 3.0, 150.0
"""Diameters that are looked for, px."""
SCALES = tuple(3.6 * 2 ** (step / 2) for step in range(11))
"""Diameters whose scales are looked at, px: half an octave apart, so that one of them is nearly right."""
WINDOW = 28.0
"""Side of the part of an image that is looked at, in diameters of the scale."""
LOOKED_AT = 1024
"""Pixels along an axis from which that part is chosen."""
REACH = 0.8
"""Beads count for a scale when they are within so many octaves of it."""
ENOUGH = 0.25
"""Scales whose beads cover at least this share of the most are compared by what their beads are like."""
SIZE_SIGNS = np.array([0.0, 1.0, 2.0, 3.0, -0.5, 0.0, 0.0])
"""Weights of what tells the right scale, see `_fitness`."""
ALIKE = 0.25
"""Scales agree when their diameters are within about so many octaves."""
NEAR = 0.5
"""Scales within about so many octaves of the right one have a say in the diameter."""
LEAST_SEED = 0.15
"""Peaks of the centre map below this are not looked at."""
LEAST_CONFIDENCE = 0.45
"""Without a bead as sure as this there are none."""
SIGNS = 8
"""How many numbers tell beads from other things."""
BEAD_SIGNS = np.array([8.005, -1.485, 16.698, -3.406, 6.774, 2.498, 0.44, -0.028, 0.047, 1.815, -19.61])
"""Weights of these, of what other sizes cover, of how far other scales agree, and a constant: a logistic regression
(docs/models.md)."""
MORE_EVIDENCE = 1.6
"""A diameter that was given is doubted where beads half or twice as large have so many times its evidence."""
RIVAL_OCTAVES, RIVAL_SHARE = 1.2, 0.5
"""A scale so far from the chosen one, whose beads cover so much of what its beads do, is named in a doubt."""
FAINT_PX, FAINT, FAINT_GIVEN, FAINT_BEADS = 10.0, 2.0, 3.0, 8
"""Beads smaller than this (px), when less than this says that they are beads (`_sureness`; where the diameter was given
less than that), may be missed; it can be told of so many beads or more."""
SEEN, LOWEST = 1e-4, -6.0
"""Share of the area below which beads of another size speak for nothing; the least value of that sign, octaves."""
OCTAVES = 4.0
"""Range of the size map: from a quarter to four times the diameter that the network works at."""


@dataclass(frozen=True)
class Size:
    """A bead diameter.

    Attributes
    ----------
    diameter : float or None
        px of the image; None where nothing was found at any scale.
    doubt : str
        Why it is not sure; empty when it is.
    """

    diameter: float | None
    doubt: str = ""


def encoded(diameter: ArrayLike, known: float) -> NDArray[np.float32]:
    """Return the value of the size map, 0 to 1, of diameters; 0.5 for the diameter that the network works at."""
    value = 0.5 + np.log2(np.asarray(diameter, np.float32) / known) / OCTAVES
    return np.asarray(np.clip(value, 0.01, 0.99), np.float32)


def decoded(value: ArrayLike, known: float) -> NDArray[np.float32]:
    """Return the diameters of values of the size map."""
    return np.asarray(known * 2.0 ** ((np.asarray(value, np.float32) - 0.5) * OCTAVES), np.float32)


def given_size(wanted: SizeConfig, pixel_size_um: float | None) -> Size:
    """Return the diameter that somebody gave, in px.

    Raises
    ------
    InputError
        It is in µm, and the pixel size is not known.
    """
    diameter = wanted.diameter or 0.0
    if wanted.unit == "um":
        if pixel_size_um is None:
            text = f"The bead diameter is given as {diameter:g} µm, but the image does not tell its pixel size."
            raise InputError(text, remedy="Give the diameter in px, or write the pixel size into the image.")
        diameter /= pixel_size_um
    if SMALLEST_PX <= diameter <= LARGEST_PX:
        return Size(diameter)
    return Size(diameter, outside(diameter))


def outside(diameter: float) -> str:
    """Return why beads of a size are not sure to be counted."""
    return f"beads of {diameter:.3g} px are outside the range of {SMALLEST_PX:g} to {LARGEST_PX:g} px"


def checked_size(
    answer: Callable[[NDArray[np.generic], float], Maps], plane: NDArray[np.generic], objects: ObjectConfig, given: Size
) -> Size:
    """Return a diameter that somebody gave, with a doubt where beads half or twice as large are found instead.

    Blurred beads look larger than they are, and what counts is how large they look. Small beads that are faint are in
    doubt, too. Arguments as of `find_size`.
    """
    if given.doubt or given.diameter is None:
        return given
    part = _busiest(plane, round(WINDOW * given.diameter / 2), given.diameter)
    views = [_view(answer, part, objects, given.diameter * 2.0 ** (step / 2)) for step in (0, -2, 2, -1, 1)]
    own, rival = views[0], max(views[1:3], key=lambda view: view.evidence)
    if rival.surest < LEAST_CONFIDENCE or rival.evidence <= MORE_EVIDENCE * own.evidence:
        beads = max(view.beads for view in views) * plane.size / part.size
        sure = _sureness(own, views) if own.surest else math.inf
        return Size(given.diameter, _faint(beads, own.diameter, sure, FAINT_GIVEN))
    text = f"more beads of about {rival.diameter:.2g} px are found than of {given.diameter:.3g} px: check the diameter"
    return Size(given.diameter, text)


def find_size(
    answer: Callable[[NDArray[np.generic], float], Maps],
    plane: NDArray[np.generic],
    objects: ObjectConfig,
    stop: StopFlag | None = None,
) -> Size:
    """Find the bead diameter of a plane.

    The network looks at the plane at scales half an octave apart, at a part of it where the scale is fine. At each
    scale it says where beads are, how sure it is and how large they are. Of the scales whose beads cover most, weighted
    by how sure the network is, that whose beads speak most for it decides (`_fitness`); the median of their diameters,
    averaged with those of the scales beside it, is the answer.

    Parameters
    ----------
    answer : callable
        Of a plane (C, Y, X) and a factor: what the network says of the plane resampled by that factor, at that scale.
    plane : (C, Y, X)
        Pixels of the image.
    objects : ObjectConfig
        What a bead is at the size that the network knows.
    """
    views: list[View] = []
    for diameter in SCALES:
        if stop is not None:
            stop.check()
        if not views or diameter <= max(plane.shape[-2:]):
            views.append(_view(answer, plane, objects, diameter))
    best = _best(views)
    if best.surest < LEAST_CONFIDENCE:
        return Size(None, f"no beads of {SMALLEST_PX:g} to {LARGEST_PX:g} px were found")
    diameter = _settled(best, views)
    return Size(min(max(diameter, SMALLEST_PX), LARGEST_PX), _doubt(best, views, diameter))


def _best(views: list[View]) -> View:
    """Return the view at the right scale, of those whose beads cover enough."""
    most, densest = (max(getattr(view, name) for view in views) for name in ("share", "evidence"))

    def fitness(view: View) -> float:
        return _fitness(view, views, most, densest) if view.surest >= LEAST_CONFIDENCE else -math.inf

    return max((view for view in views if view.share >= ENOUGH * most), key=fitness)


def _fitness(view: View, views: list[View], most: float, densest: float) -> float:
    """Return how much speaks for a scale.

    Beads that are scaled down look like larger ones, and parts of large ones like small ones: of scales that explain as
    much, that is right whose beads are many, sure and sharp, explain the foreground, are equal in size, and are seen at
    other scales too.
    """
    sure, _, sharp, explained, spread = view.signs[:5]
    values = (
        math.log2(view.share / most),
        math.log2(view.evidence / densest),
        math.log2(sure),
        sharp,
        explained,
        spread,
        _agreement(view, views),
    )
    return float(np.array(values) @ SIZE_SIGNS)


def _settled(best: View, views: list[View]) -> float:
    """Return the diameter, px: the geometric mean of what the best view and those beside it say, by their weight."""
    apart = np.array([math.log2(view.scale / best.scale) / NEAR for view in views])
    weights = np.array([view.share * view.signs[0] ** 2 for view in views]) * np.exp(-(apart**2))
    return float(2 ** np.average(np.log2([view.diameter for view in views]), weights=weights))


def _agreement(view: View, views: list[View]) -> float:
    """Return how much is covered by beads of the size that this view says, at all scales, over what it covers; log2."""
    apart = np.array([math.log2(other.diameter / view.diameter) / ALIKE for other in views])
    shares = np.array([other.share for other in views])
    return math.log2(max(float((shares * np.exp(-(apart**2))).sum()) / max(view.share, 1e-12), 1.0))


@dataclass(frozen=True)
class View:
    """What the network says of an image at one scale.

    Attributes
    ----------
    scale : float
        Diameter that beads would have if they were as large as the network knows them, px of the image.
    diameter : float
        Median diameter of what was found, px of the image; `scale` where nothing was.
    share : float
        Of the area, covered by beads, each weighted by its confidence and by how near its size is to the scale.
    evidence : float
        Number of beads, weighted likewise, per px² of the image.
    surest : float
        Highest confidence; 0 where nothing was found.
    signs : (`SIGNS`,) float64
        What distinguishes beads from other things, see `_signs`.
    """

    scale: float
    diameter: float
    share: float = 0.0
    evidence: float = 0.0
    surest: float = 0.0
    signs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(SIGNS))

    @property
    def beads(self) -> int:
        """Number of beads in what was looked at."""
        return round(2 ** float(self.signs[6])) - 1


def _view(
    answer: Callable[[NDArray[np.generic], float], Maps],
    plane: NDArray[np.generic],
    objects: ObjectConfig,
    scale: float,
) -> View:
    """Return what the network says of a plane when beads of `scale` px have the size that it knows."""
    known = needed_diameter(objects)
    part = _busiest(plane, round(WINDOW * scale), scale)
    maps = answer(part, known / scale)
    height = maps.probability if maps.centre is None else maps.centre
    pixels = np.flatnonzero(height >= np.float32(max(objects.seeds.threshold, LEAST_SEED)))
    at = peaks(height, pixels, distance=max(1.5, objects.seeds.distance * known), reach=known, valley=0.0)
    sizes = decoded(np.full(len(at), 0.5) if maps.size is None else maps.size.reshape(-1)[at], known)
    off = np.log2(sizes / known).astype(np.float64)
    fits = np.abs(off) <= REACH
    at, off, sure = at[fits], off[fits], height.reshape(-1)[at][fits].astype(np.float64)
    if not len(at):
        return View(scale, scale)
    order = np.argsort(off)
    middle = float(off[order][np.searchsorted(np.cumsum(sure[order]), sure.sum() / 2)])
    # Beads that the network is sure of, and that have nearly the size it knows, speak most for a scale.
    weights = sure**2 * np.exp(-((off / REACH) ** 2))
    share = float((weights * (known * 2**off) ** 2).sum()) * math.pi / 4 / height.size
    signs = _signs(maps, resized(luminance(part)[None], known / scale)[0], at, sure, off, known, 2**middle * scale)
    evidence = float(weights.sum()) / height.size * (known / scale) ** 2
    return View(scale, 2**middle * scale, share, evidence, float(sure.max()), signs)


def _signs(
    maps: Maps,
    grey: NDArray[np.float32],
    at: NDArray[np.int64],
    sure: NDArray[np.float64],
    off: NDArray[np.float64],
    known: float,
    diameter: float,
) -> NDArray[np.float64]:
    """Return by what beads differ from letters, textures and noise that a network may take for beads.

    How sure it is of them on average, and of the weakest; how sharply it tells them from the ground; how much of the
    foreground is explained by discs of the sizes it says; how equal the sizes are; how alike they look; how many they
    are, and how large in the image, as logarithms.
    """
    probability = maps.probability
    likely = probability[probability > 0.1]
    sharp = float(np.abs(2 * likely - 1).mean()) if likely.size else 0.0
    discs = float(((known * 2**off) ** 2).sum()) * math.pi / 4
    explained = math.log2((discs + 20) / (float((probability > 0.5).sum()) + 20))
    spread = float(np.median(np.abs(off - np.median(off))))
    values = (sure.mean(), np.percentile(sure, 10), sharp, abs(explained), spread, _alike(grey, at, known))
    return np.array([*values, math.log2(len(at) + 1), math.log2(diameter)])


def _alike(grey: NDArray[np.float32], at: NDArray[np.int64], known: float) -> float:
    """Return the median correlation of the surroundings of beads with their mean; 0.5 where there are too few."""
    half = round(0.6 * known)
    y, x = np.divmod(at, grey.shape[1])
    inner = (np.minimum(y, x) >= half) & (y < grey.shape[0] - half) & (x < grey.shape[1] - half)
    y, x = y[inner][:400], x[inner][:400]
    if len(y) < 3:
        return 0.5
    around = np.arange(-half, half + 1)
    patches = grey[y[:, None, None] + around[:, None], x[:, None, None] + around].reshape(len(y), -1).astype(np.float64)
    patches -= patches.mean(axis=1, keepdims=True)
    patches /= np.linalg.norm(patches, axis=1, keepdims=True) + 1e-9
    mean = patches.sum(axis=0)
    # Every patch is compared with the mean of the others.
    others = mean - patches
    return float(np.median((patches * others).sum(axis=1) / (np.linalg.norm(others, axis=1) + 1e-9)))


def _doubt(best: View, views: list[View], diameter: float) -> str:
    """Return why the size, and with it the count, is not sure; empty when it is."""
    if not SMALLEST_PX < diameter < LARGEST_PX:
        return outside(diameter)
    sure, rival = _sureness(best, views), _rival(best, views)
    if sure >= 0:
        return _faint(best.beads, diameter, sure, FAINT)
    if rival is not None and rival.share > RIVAL_SHARE * best.share:
        return f"beads of {diameter:.3g} px and of {rival.diameter:.3g} px would both fit: give the diameter"
    return "what was found may not be beads"


def _sureness(best: View, views: list[View]) -> float:
    """Return how much says that what was found are beads; below 0 it may be something else."""
    rival = _rival(best, views)
    ratio = math.log2((rival.share + SEEN) / (best.share + SEEN)) if rival else LOWEST
    return float(np.array([*best.signs, max(ratio, LOWEST), _agreement(best, views), 1.0]) @ BEAD_SIGNS)


def _faint(beads: float, diameter: float, sure: float, enough: float) -> str:
    """Return a doubt where there are enough small beads to tell that they are hard to see; empty where they are not."""
    if diameter >= FAINT_PX or sure >= enough or beads < FAINT_BEADS:
        return ""
    return f"beads of {diameter:.2g} px are faint, blurred or crowded: some may be missed"


def _rival(best: View, views: list[View]) -> View | None:
    """Return the view whose beads cover most, of those that say a quite different size."""
    others = [view for view in views if abs(math.log2(view.diameter / best.diameter)) > RIVAL_OCTAVES and view.surest]
    return max(others, key=lambda view: view.share, default=None)


def _busiest(plane: NDArray[np.generic], side: int, scale: float) -> NDArray[np.generic]:
    """Return the part (C, side, side) of a plane that has most structure of about `scale` px, or all of a small one."""
    height, width = plane.shape[-2:]
    if height <= side and width <= side:
        return plane[:]  # also of an image of which parts are read
    step = max(1, int(scale / 4), max(height, width) // LOOKED_AT)
    grey = plane[:, ::step, ::step].mean(axis=0, dtype=np.float32)
    grey = np.nan_to_num(grey, copy=False)
    size = max(1.0, scale / step / 4)
    structure = np.abs(gaussian_filter(grey, size) - gaussian_filter(grey, 3 * size))
    # No single bright thing decides: what counts is how much of the window has structure.
    structure = np.minimum(structure, np.percentile(structure, 98))
    sums = np.pad(structure, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    high, wide = (min(max(1, side // step), length) for length in structure.shape)
    within = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
    row, column = np.unravel_index(int(np.argmax(within)), within.shape)
    top, left = (max(0, min(int(at) * step, length - side)) for at, length in ((row, height), (column, width)))
    return plane[:, top : top + side, left : left + side]
