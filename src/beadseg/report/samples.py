"""Predicted beads against true ones in a picture: hits, misses and false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from beadseg.measure.beads import bead_table
from beadseg.measure.matching import match_points
from beadseg.measure.scores import true_objects, visible_objects
from beadseg.predict.results import outlines, overlay
from beadseg.report.html import Key
from beadseg.text import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.dataset import Target


HIT, MISS, FALSE_ALARM = "#56B4E9", "#F0E442", "#D55E00"
"""Sky blue, yellow and vermilion: told apart with any colour vision (Okabe and Ito 2008), and by brightness."""
LEGEND = (
    Key(HIT, "hit: found, and true (thin outline)"),
    Key(MISS, "miss: true, not found (thick outline of the annotation)"),
    Key(FALSE_ALARM, "false alarm: found, not true (thick outline, crossed)"),
)
"""What the colours mean, for the page."""
WINDOW = 256
"""Side of the shown part of an image, px."""
SHOWN_SIDE = 768
"""Small parts are enlarged by a whole number, up to about this, px."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Which objects of two label images belong together.

    Attributes
    ----------
    predicted, true : (Y, X) integer
        Labels; what lies under the ignore mask is left out.
    hits, false_alarms : (N,) integer
        Ids of predicted objects with and without a partner.
    misses : (N,) integer
        Ids of true objects without a partner.
    errors : (N, 2) float
        Centres (y, x) of misses and false alarms, px.
    centres : (N, 2) float
        Centres (y, x) of all true and predicted objects, px.
    """

    predicted: NDArray[np.integer]
    true: NDArray[np.integer]
    hits: NDArray[np.integer]
    false_alarms: NDArray[np.integer]
    misses: NDArray[np.integer]
    errors: NDArray[np.float64]
    centres: NDArray[np.float64]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Hits, false alarms, misses."""
        return len(self.hits), len(self.false_alarms), len(self.misses)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there is nothing on either side."""
        hits, false_alarms, misses = self.counts
        return 2 * hits / (2 * hits + false_alarms + misses) if hits + false_alarms + misses else 1.0

    def caption(self) -> str:
        """Return the counts in words."""
        hits, false_alarms, misses = self.counts
        return f"{plural(hits, 'hit')}, {plural(misses, 'miss')}, {plural(false_alarms, 'false alarm')}"


def match(
    foreground: NDArray[np.bool_],
    labels: NDArray[np.integer] | None,
    target: Target,
    tolerance_px: float | None = None,
) -> Matched:
    """Match predicted objects with the annotation as `beadseg.measure.scores.score_image` does.

    Parameters
    ----------
    foreground, labels : (Y, X)
        The predicted mask and, where there are some, instances.
    target : Target
        The annotation.
    tolerance_px : float, optional
        Largest distance of matched centres; half the median diameter of the true objects when not given.
    """
    predicted = visible_objects(foreground, labels, target.ignore)
    true = true_objects(target)
    found, wanted = bead_table(predicted), bead_table(true)
    found_centres, true_centres = (table[["y", "x"]].to_numpy(np.float64) for table in (found, wanted))
    hit, met = np.zeros(len(found), bool), np.zeros(len(wanted), bool)
    if len(wanted):
        sized = wanted if target.areas or not len(found) else found
        tolerance = float(sized["equivalent_diameter_px"].median()) / 2 if tolerance_px is None else tolerance_px
        matching = match_points(found_centres, true_centres, tolerance)
        hit[matching.predicted], met[matching.true] = True, True
    ids, true_ids = found["id"].to_numpy(), wanted["id"].to_numpy()
    return Matched(
        predicted, true, ids[hit], ids[~hit], true_ids[~met],
        errors=np.concatenate([found_centres[~hit], true_centres[~met]]),
        centres=np.concatenate([found_centres, true_centres]),
    )  # fmt: skip


@dataclass(frozen=True)
class Window:
    """A part of an image, px."""

    top: int
    left: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The part as index of a (Y, X) array."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def caption(self, shape: tuple[int, int]) -> str:
        """Return which part of an image of `shape` (Y, X) it is; empty for all of it."""
        if (self.height, self.width) == shape:
            return ""
        return f"Shown: {self.width} x {self.height} px at x {self.left}, y {self.top} of {shape[1]} x {shape[0]} px."


def fullest_window(points: NDArray[np.float64], shape: tuple[int, int], side: int = WINDOW) -> Window:
    """Return the part of an image that holds the most points.

    Parameters
    ----------
    points : (N, 2) float
        Positions (y, x), px. Without any, the middle of the image is taken.
    shape : (int, int)
        Height and width of the image, px.
    side : int
        Side of the part, px; at most the image's.
    """
    height, width = min(side, shape[0]), min(side, shape[1])
    best, most = Window((shape[0] - height) // 2, (shape[1] - width) // 2, height, width), 0
    for top in _starts(shape[0], height):
        rows = points[(points[:, 0] >= top) & (points[:, 0] < top + height)]
        for left in _starts(shape[1], width):
            inside = int(np.count_nonzero((rows[:, 1] >= left) & (rows[:, 1] < left + width)))
            if inside > most:
                best, most = Window(top, left, height, width), inside
    return best


def _starts(length: int, side: int) -> list[int]:
    """Return where windows may begin: every half window, and at the end."""
    return [*range(0, length - side, max(1, side // 2)), length - side]


def matched_picture(pixels: NDArray[np.generic], matched: Matched, window: Window) -> NDArray[np.uint8]:
    """Draw a part of an image with the outlines of hits, misses and false alarms, enlarged where it is small.

    Parameters
    ----------
    pixels : (C, Y, X)
        The image.
    matched : Matched
        Of the whole image.
    window : Window
        The part to show.

    Returns
    -------
    (Y, X, 3) uint8
    """
    predicted, true = matched.predicted[window.slices], matched.true[window.slices]
    picture = overlay(pixels, np.zeros(matched.true.shape, np.uint8))[window.slices]
    scale = max(1, SHOWN_SIDE // max(window.height, window.width))
    large = Image.fromarray(np.ascontiguousarray(picture)).resize(
        (window.width * scale, window.height * scale), Image.Resampling.BICUBIC
    )
    canvas = np.asarray(large).copy()
    for labels, ids, colour, width in (
        (predicted, matched.hits, HIT, 2),
        (true, matched.misses, MISS, 3),
        (predicted, matched.false_alarms, FALSE_ALARM, 3),
    ):
        chosen = np.where(np.isin(labels, ids), labels, 0).repeat(scale, axis=0).repeat(scale, axis=1)
        canvas[_ring(chosen, width if scale > 1 else 1)] = _rgb(colour)
    for y, x in _centres(predicted, matched.false_alarms):
        _cross(canvas, round((y + 0.5) * scale), round((x + 0.5) * scale), scale)
    return canvas


def _ring(labels: NDArray[np.integer], width: int) -> NDArray[np.bool_]:
    """Return the outlines of objects, `width` px wide, inside them."""
    ring = outlines(labels)
    for _ in range(width - 1):
        ring |= outlines(np.where(ring, 0, labels))
    return ring


def _centres(labels: NDArray[np.integer], ids: NDArray[np.integer]) -> NDArray[np.float64]:
    table = bead_table(np.where(np.isin(labels, ids), labels, 0))
    centres: NDArray[np.float64] = table[["y", "x"]].to_numpy(np.float64)
    return centres


def _cross(canvas: NDArray[np.uint8], y: int, x: int, arm: int) -> None:
    for step in range(-arm, arm + 1):
        for column in (x + step, x - step):
            if 0 <= y + step < canvas.shape[0] and 0 <= column < canvas.shape[1]:
                canvas[y + step, column] = _rgb(FALSE_ALARM)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
