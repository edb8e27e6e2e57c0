"""How large the beads of an image are, found by the network itself over a range of scales."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.errors import InputError
from beadseg.measure.beads import bead_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from beadseg.config.predict import ObjectConfig, SizeConfig
    from beadseg.events import StopFlag
    from beadseg.predict.prediction import Maps

SMALLEST_PX, LARGEST_PX = 3.0, 150.0
"""Diameters that are looked for, px."""
RATIO = 1.4
"""Of one scale to the next."""
WINDOW = 40.0
"""The middle of an image is looked at, so many bead diameters across, where it is larger."""


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

    Parameters
    ----------
    answer : callable
        Of a plane (C, Y, X) and a factor: what the network says of the plane resampled by that factor, at that scale.
    plane : (C, Y, X)
        Pixels of the image.
    objects : ObjectConfig
        What a bead is at the size that the network knows.
    """
    knows = objects.diameter or 10.0
    best: tuple[float, float | None] = (0.0, None)
    for step in range(math.ceil(math.log(LARGEST_PX / SMALLEST_PX) / math.log(RATIO)) + 1):
        if stop is not None:
            stop.check()
        diameter = SMALLEST_PX * RATIO**step
        if diameter > max(plane.shape[-2:]):
            break
        maps = answer(_middle(plane, round(WINDOW * diameter)), knows / diameter)
        separation = maps.separated(objects)
        labels = separation.chosen(objects)
        table = bead_table(labels)
        if not len(table):
            continue
        measured = 2 * np.sqrt(table["area_px"].to_numpy(np.float64) / math.pi)
        fits = np.exp(-((np.log2(measured / knows) / 0.35) ** 2))
        score = float(fits.sum()) / math.sqrt(labels.size) * float(np.median(separation.confidence))
        middle = float(np.median(measured)) / knows * diameter
        if score > best[0]:
            best = (score, middle)
    if best[1] is None:
        return Size(None, f"no beads of {SMALLEST_PX:g} to {LARGEST_PX:g} px were found")
    return Size(min(max(best[1], SMALLEST_PX), LARGEST_PX))


def _middle(plane: NDArray[np.generic], side: int) -> NDArray[np.generic]:
    top, left = (max(0, (length - side) // 2) for length in plane.shape[-2:])
    return plane[:, top : top + side, left : left + side]
