"""How large the beads of an image are, found by the network itself over a range of scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from beadseg.errors import InputError
from beadseg.predict.peaks import peaks
from beadseg.predict.separation import needed_diameter

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from beadseg.config.predict import ObjectConfig, SizeConfig
    from beadseg.events import StopFlag
    from beadseg.predict.prediction import Maps

SMALLEST_PX, LARGEST_PX = 3.0, 150.0
"""Diameters that are looked for, px."""
SCALES = (3.6, 7.2, 14.4, 28.8, 57.6, 115.2)
"""Diameters whose scales are looked at, px: an octave apart, since the network knows sizes of half an octave around."""
WINDOW = 28.0
"""Side of the part of an image that is looked at, in diameters of the scale."""
REACH = 0.8
"""Beads count for a scale when they are within so many octaves of it."""
AGAIN = 0.3
"""A diameter that is more octaves than this from its scale is looked at once more."""
LEAST_SEED = 0.15
"""Peaks of the centre map below this are not looked at."""
LEAST_CONFIDENCE = 0.35
"""Without a bead as sure as this there are none."""
TYPICAL_CONFIDENCE = 0.3
"""Beads that are less sure on average are flagged."""
RIVAL_OCTAVES, RIVAL_SHARE = 1.2, 0.6
"""A scale so far from the chosen one whose beads cover so much of what its beads do makes it doubtful."""
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
    return Size(diameter, f"beads of {diameter:.3g} px are outside the range of {SMALLEST_PX:g} to {LARGEST_PX:g} px")


def find_size(
    answer: Callable[[NDArray[np.generic], float], Maps],
    plane: NDArray[np.generic],
    objects: ObjectConfig,
    stop: StopFlag | None = None,
) -> Size:
    """Find the bead diameter of a plane.

    The network looks at the plane at scales an octave apart, at a part of it where the scale is fine. At each scale it
    says where beads are, how sure it is and how large they are. The scale whose beads cover most, weighted by how sure
    the network is, decides; the median of their diameters is the answer, looked at once more at its own scale.

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
    best = max(views, key=lambda view: view.share)
    if best.surest < LEAST_CONFIDENCE:
        return Size(None, f"no beads of {SMALLEST_PX:g} to {LARGEST_PX:g} px were found")
    if abs(math.log2(best.diameter / best.scale)) > AGAIN:
        again = _view(answer, plane, objects, best.diameter)
        best = again if again.surest >= LEAST_CONFIDENCE else best
    return Size(min(max(best.diameter, SMALLEST_PX), LARGEST_PX), _doubt(best, views))


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
        Of the area, covered by beads, each weighted by its confidence.
    beads : int
        How many were found.
    surest, typical : float
        Highest and mean confidence; 0 where there is none.
    """

    scale: float
    diameter: float
    share: float
    beads: int
    surest: float
    typical: float


def _view(
    answer: Callable[[NDArray[np.generic], float], Maps],
    plane: NDArray[np.generic],
    objects: ObjectConfig,
    scale: float,
) -> View:
    """Return what the network says of a plane when beads of `scale` px have the size that it knows."""
    known = needed_diameter(objects)
    maps = answer(_busiest(plane, round(WINDOW * scale), scale), known / scale)
    height = maps.probability if maps.centre is None else maps.centre
    pixels = np.flatnonzero(height >= np.float32(max(objects.seeds.threshold, LEAST_SEED)))
    at = peaks(height, pixels, distance=max(1.5, objects.seeds.distance * known), reach=known, valley=0.0)
    sizes = decoded(np.full(len(at), 0.5) if maps.size is None else maps.size.reshape(-1)[at], known)
    fits = np.abs(np.log2(sizes / known)) <= REACH
    sure, sizes = height.reshape(-1)[at][fits].astype(np.float64), sizes[fits].astype(np.float64)
    if not len(sure):
        return View(scale, scale, 0.0, 0, 0.0, 0.0)
    order = np.argsort(sizes)
    middle = np.searchsorted(np.cumsum(sure[order]), sure.sum() / 2)
    share = float((sure * sizes**2).sum()) * math.pi / 4 / height.size
    diameter = float(sizes[order][middle]) * scale / known
    return View(scale, diameter, share, len(sure), float(sure.max()), float(sure.mean()))


def _doubt(best: View, views: list[View]) -> str:
    """Return why the size is not sure; empty when it is."""
    for view in views:
        apart = abs(math.log2(view.diameter / best.diameter))
        if apart > RIVAL_OCTAVES and view.share > RIVAL_SHARE * best.share and view.surest >= LEAST_CONFIDENCE:
            return f"beads of {best.diameter:.3g} px and of {view.diameter:.3g} px would both fit: give the diameter"
    if best.typical < TYPICAL_CONFIDENCE:
        return "what was found does not look like beads"
    return ""


def _busiest(plane: NDArray[np.generic], side: int, scale: float) -> NDArray[np.generic]:
    """Return the part (C, side, side) of a plane that has most structure of about `scale` px, or all of a small one."""
    height, width = plane.shape[-2:]
    if height <= side and width <= side:
        return plane
    step = max(1, int(scale / 4))
    grey = plane[:, ::step, ::step].mean(axis=0, dtype=np.float32)
    grey = np.nan_to_num(grey, copy=False)
    size = max(1.0, scale / step / 4)
    structure = np.abs(gaussian_filter(grey, size) - gaussian_filter(grey, 3 * size))
    # No single bright thing decides: what counts is how much of the window has structure.
    structure = np.minimum(structure, np.percentile(structure, 98))
    within = min(max(1, side // step), *structure.shape)
    sums = uniform_filter(structure, within, mode="constant")
    half = within // 2
    inner = sums[half : sums.shape[0] - half or None, half : sums.shape[1] - half or None]
    row, column = np.unravel_index(int(np.argmax(inner)), inner.shape)
    top, left = (min(int(at) * step, max(0, length - side)) for at, length in ((row, height), (column, width)))
    return plane[:, top : top + side, left : left + side]
