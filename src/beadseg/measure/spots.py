"""Beads without a network: spots that the eye sees, masks that seem to omit some, and the plain threshold method."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import difference_of_gaussians, threshold_otsu

from beadseg.config.base import Config
from beadseg.data.masks import label_objects
from beadseg.errors import InputError
from beadseg.model.inputs import luminance, relative_to_background

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Plane = NDArray[np.float32]

SIGMA_PER_DIAMETER = 0.3
"""Width of the Laplacian's Gaussian over the bead diameter: a little below the best for a lone disc (0.35), so that
touching beads stay two."""
BLOCKS_PER_DIAMETER = 8
"""Side of the blocks whose median is the background, in bead diameters."""
SMALLEST_BLOCK = 32
"""… and never less than this, px."""
SPACING = 0.45
"""Two spots are at least this many diameters apart."""
NOISE_LEVELS = 3.0
"""Weaker spots, in standard deviations of noise, are not even looked at."""
QUIET_BLOCKS = 10.0
"""The noise is that of the quietest blocks, per cent: in a crowded image the others are full of beads."""
SHIFT_REACH = 6
"""Masks are tried so far off their place in every direction, px."""
SHIFT_GAIN = 1.1
"""A mask counts as shifted only when it fits this many times better elsewhere."""

REACH = 0.35
"""A spot so far from the mask is still marked, diameters: hand-drawn masks are not exact."""
ENOUGH = 5
"""Marked spots that an image, or a field of view, needs to say how strong a bead is."""
QUARTILE = 25.0
"""Percentile of the marked spots' strengths from which a spot is strong."""
ABOVE_NOISE = 5.0
"""A strong spot exceeds the noise by this many standard deviations."""
LEAST = 2
"""Unmarked strong spots that a suspect has."""
SHARE = 0.05
"""Share of the strong spots that are unmarked in a suspect."""
REGION_LEAST = 5
"""Unmarked strong spots in one unmarked rectangle that make a suspect."""
REGION_SHARE = 1 / 16
"""… when it covers so much of the image."""
STRAY = 0.5
"""Marks without a bead for every unmarked bead, from which a suspect is misplaced rather than partial."""
STRAY_SHARE = 0.2
"""… and they are so large a part of all marks: one or two faint beads are not a misplaced mask."""
WEAK = 0.5
"""A mark holds a bead when there is a spot on it that has this share of the strength of a strong one."""
MOST_SHOWN = 300
"""Maximum number of unmarked spots whose places are kept."""
CELLS = 16
"""Maximum number of cells along a side of the grid on which rectangles are searched."""

Source = Literal["image", "field", "dataset"]
Verdict = Literal["complete", "partial", "misplaced"]

SIGMA_LOW = 1.0
"""Standard deviation of the narrow Gaussian, px: takes away noise."""
SIGMA_HIGH = 15.0
"""Standard deviation of the wide Gaussian, px: the local background, wider than a bead."""


@dataclass(frozen=True, eq=False)
class Spots:
    """Bead-like spots of one plane, strongest first.

    Attributes
    ----------
    at : (N, 2) int
        Row and column, px.
    strength : (N,) float32
        Negative Laplacian of Gaussian of the relative contrast, scaled by sigma squared: no unit.
    noise : float
        Standard deviation of the strength on empty ground.
    shift : (int, int)
        Where the mask fits better: rows and columns that it should move by, px; (0, 0) where it is well placed.
    """

    at: NDArray[np.integer]
    strength: Plane
    noise: float
    shift: tuple[int, int]


def find_spots(pixels: NDArray[np.generic], foreground: NDArray[np.bool_], diameter_px: float, sign: float) -> Spots:
    """Return the spots of the size of a bead, and how the mask is shifted against them.

    A Laplacian of Gaussian on the contrast relative to the local background (Lindeberg 1998, one scale); spots are its
    local maxima. The shift is the best cross-correlation of mask and spots in whole pixels.

    Parameters
    ----------
    pixels : (C, Y, X), any real dtype
        The image.
    foreground : (Y, X) bool
        The mask.
    diameter_px : float
        Bead diameter, px.
    sign : float
        -1 for beads darker than their surroundings, +1 for brighter ones.
    """
    response = _response(luminance(pixels), diameter_px, sign)
    noise = _noise(response, diameter_px)
    at = peak_local_max(  # type: ignore[no-untyped-call]
        response,
        min_distance=max(1, round(SPACING * diameter_px)),
        threshold_abs=max(NOISE_LEVELS * noise, 1e-6),
        exclude_border=False,
    )
    return Spots(at, response[at[:, 0], at[:, 1]], noise, _shift(response, foreground))


def place_on_mask(
    spots: Spots, foreground: NDArray[np.bool_], reach_px: float
) -> tuple[NDArray[np.bool_], NDArray[np.integer]]:
    """Return which spots lie on the (shifted) mask or at most `reach_px` beside it, and on which of its pixels.

    Returns
    -------
    marked : (N,) bool
        False everywhere where the mask is empty.
    nearest : (N, 2) int
        Row and column of the nearest pixel of the mask as it is stored, px; meaningless where not `marked`.
    """
    at = (spots.at - np.array(spots.shift)).clip(0, np.array(foreground.shape) - 1)
    if not foreground.any():
        return np.zeros(len(at), bool), at
    distance, nearest = ndimage.distance_transform_edt(~foreground, return_indices=True)
    rows, columns = at.T
    return distance[rows, columns] <= reach_px, nearest[:, rows, columns].T


def _response(grey: Plane, diameter_px: float, sign: float) -> Plane:
    window = max(SMALLEST_BLOCK, round(BLOCKS_PER_DIAMETER * diameter_px))
    relative = relative_to_background(grey, window, 1.0)
    sigma = SIGMA_PER_DIAMETER * diameter_px
    return np.asarray(-sign * sigma**2 * ndimage.gaussian_laplace(relative, sigma), np.float32)


def _noise(response: Plane, diameter_px: float) -> float:
    """Return the standard deviation of the quietest blocks, from the median absolute deviation."""
    side = max(16, round(4 * diameter_px))
    blocks = [
        response[top : top + side, left : left + side]
        for top in range(0, max(1, response.shape[0] - side + 1), side)
        for left in range(0, max(1, response.shape[1] - side + 1), side)
    ]
    deviations = [1.4826 * np.median(np.abs(block - np.median(block))) for block in blocks]
    return float(np.percentile(deviations, QUIET_BLOCKS))


def _shift(response: Plane, foreground: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the shift of the mask, up to `SHIFT_REACH`, that lays it best over the spots."""
    reach = min(SHIFT_REACH, (min(response.shape) - 1) // 2)
    spectrum = np.fft.rfft2(response.clip(0)) * np.conj(np.fft.rfft2(foreground - foreground.mean()))
    near = np.roll(np.fft.irfft2(spectrum, response.shape), (reach, reach), (0, 1))[: 2 * reach + 1, : 2 * reach + 1]
    row, column = np.unravel_index(int(near.argmax()), near.shape)
    if near[row, column] <= SHIFT_GAIN * max(0.0, float(near[reach, reach])):
        return 0, 0
    return int(row) - reach, int(column) - reach


class PartialMask(Config):
    """What speaks for and against a mask that leaves beads out."""

    verdict: Verdict
    """What the rule of this module says."""
    calibrated_on: Source
    """Whose marked beads say how strong a bead is."""
    marked: int
    """Strong spots that are marked."""
    unmarked: int
    """Strong spots that are not marked."""
    unmarked_share: float
    """Unmarked strong spots over all strong spots: about the share of visible beads that are not marked."""
    stray_marks: int
    """Objects of the mask that lie on no bead."""
    region: tuple[int, int, int, int] | None
    """Rectangle without marks that holds most unmarked spots, two at least: top, left, bottom, right, px, the last two
    outside."""
    region_spots: int
    """Unmarked strong spots in it."""
    region_share: float
    """Its share of the image's area."""
    unmarked_at: tuple[tuple[int, int], ...]
    """Row and column, px, of the strongest unmarked spots of a suspect, at most `MOST_SHOWN`; for pictures."""
    shift_y: int
    """Rows by which the mask had to be moved to lie over its beads, px."""
    shift_x: int
    """Columns by which the mask had to be moved, px."""

    @property
    def suspect(self) -> bool:
        """Whether the mask seems to leave beads out, for whatever reason."""
        return self.verdict != "complete"


@dataclass(frozen=True, eq=False)
class Marks:
    """The spots of one image, each marked or not: all that the rule needs, a few kilobytes.

    Attributes
    ----------
    at : (N, 2) int
        Row and column, px.
    strength : (N,) float32
        How much each spot looks like a bead.
    marked : (N,) bool
        Whether the mask marks it.
    noise : float
        Standard deviation of the strength on empty ground.
    shift : (int, int)
        By which the mask was moved, px.
    objects : (M,) float32
        Strength of the strongest spot on each object of the mask; 0 where there is none.
    covered : (R, C) bool
        Cells of a grid over the image that hold a marked pixel.
    shape : (int, int)
        Height and width of the image, px.
    """

    at: NDArray[np.integer]
    strength: NDArray[np.float32]
    marked: NDArray[np.bool_]
    noise: float
    shift: tuple[int, int]
    objects: NDArray[np.float32]
    covered: NDArray[np.bool_]
    shape: tuple[int, int]


def mark_spots(
    pixels: NDArray[np.generic],
    foreground: NDArray[np.bool_],
    ignored: NDArray[np.bool_] | None,
    diameter_px: float,
    sign: float,
) -> Marks:
    """Find the bead-like spots of an image and whether its mask marks them.

    Parameters
    ----------
    pixels : (C, Y, X), any real dtype
        The image.
    foreground, ignored : (Y, X) bool
        The mask, and where it says nothing; spots there are dropped.
    diameter_px : float
        Bead diameter, px.
    sign : float
        -1 for dark beads, +1 for bright ones.
    """
    spots = find_spots(pixels, foreground, diameter_px, sign)
    marked, nearest = place_on_mask(spots, foreground, REACH * diameter_px)
    objects = _strongest(label_objects(foreground), nearest[marked], spots.strength[marked])
    keep = np.ones(len(spots.at), bool) if ignored is None else ~ignored[spots.at[:, 0], spots.at[:, 1]]
    covered = _cells(foreground if ignored is None else foreground | ignored)
    return Marks(
        at=spots.at[keep],
        strength=spots.strength[keep],
        marked=marked[keep],
        noise=spots.noise,
        shift=spots.shift,
        objects=objects,
        covered=covered,
        shape=(foreground.shape[0], foreground.shape[1]),
    )


def _strongest(
    labels: NDArray[np.integer], at: NDArray[np.integer], strength: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the strongest of the spots `at` (N, 2) the pixels of each label, 0 where there is none."""
    strongest = np.zeros(int(labels.max()) + 1, np.float32)
    np.maximum.at(strongest, labels[at[:, 0], at[:, 1]], strength)
    return strongest[1:]


def judge_masks(images: Sequence[tuple[str, Marks | None]]) -> list[PartialMask | None]:
    """Judge the masks of a dataset.

    Parameters
    ----------
    images : sequence of (field of view, Marks or None)
        None where nothing could be looked for.

    Returns
    -------
    list of PartialMask or None
        In the same order; None where too few beads are marked in the whole dataset to say how strong one is.
    """
    members: dict[str, list[Marks | None]] = {}
    for field, marks in images:
        members.setdefault(field, []).append(marks)
    fields = {field: _strengths(found) for field, found in members.items()}
    everything = _strengths(marks for _, marks in images)
    judged: list[PartialMask | None] = []
    for field, marks in images:
        sources: tuple[tuple[Source, NDArray[np.float32]], ...] = (
            ("image", _strengths([marks])), ("field", fields[field]), ("dataset", everything),
        )  # fmt: skip
        found = next(((source, values) for source, values in sources if len(values) >= ENOUGH), None)
        judged.append(None if marks is None or found is None else _judge(marks, *found))
    return judged


def _strengths(images: Iterable[Marks | None]) -> NDArray[np.float32]:
    values = [marks.strength[marks.marked] for marks in images if marks is not None]
    return np.concatenate(values) if values else np.empty(0, np.float32)


def _judge(marks: Marks, source: Source, strengths: NDArray[np.float32]) -> PartialMask:
    level = max(float(np.percentile(strengths, QUARTILE)), ABOVE_NOISE * marks.noise)
    strong = marks.strength >= level
    missed = marks.at[strong & ~marks.marked]
    marked, unmarked = int((strong & marks.marked).sum()), len(missed)
    stray = int((marks.objects < WEAK * level).sum())
    region, inside = _region(marks, missed)
    covers = 0.0 if region is None else (region[2] - region[0]) * (region[3] - region[1]) / np.prod(marks.shape)
    share = unmarked / max(1, marked + unmarked)
    verdict: Verdict = "complete"
    if (unmarked >= LEAST and share >= SHARE) or (inside >= REGION_LEAST and covers >= REGION_SHARE):
        many_stray = stray >= STRAY * unmarked and stray >= STRAY_SHARE * len(marks.objects) > 0
        verdict = "misplaced" if many_stray else "partial"
    return PartialMask(
        verdict=verdict,
        calibrated_on=source,
        marked=marked,
        unmarked=unmarked,
        unmarked_share=share,
        stray_marks=stray,
        region=region,
        region_spots=inside,
        region_share=float(covers),
        unmarked_at=() if verdict == "complete" else tuple((int(y), int(x)) for y, x in missed[:MOST_SHOWN]),
        shift_y=marks.shift[0],
        shift_x=marks.shift[1],
    )


def _edges(length: int) -> NDArray[np.int64]:
    """Return the edges of the grid's cells along one side, px."""
    count = max(1, min(CELLS, length // 4))
    return np.arange(count + 1, dtype=np.int64) * length // count


def _cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which cells of the grid hold a True pixel."""
    rows, columns = (_edges(length)[:-1] for length in mask.shape)
    return np.asarray(np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1))


def _region(marks: Marks, spots: NDArray[np.integer]) -> tuple[tuple[int, int, int, int] | None, int]:
    """Return the rectangle of unmarked cells that holds most `spots` (N, 2), the larger of equals, and their number."""
    if not len(spots):
        return None, 0
    rows, columns = (_edges(length) for length in marks.shape)
    counts, _, _ = np.histogram2d(spots[:, 0], spots[:, 1], bins=(rows, columns))
    best, box = (0, 0), None
    for top, bottom in combinations_with_replacement(range(len(rows) - 1), 2):
        free = np.asarray(~marks.covered[top : bottom + 1].any(axis=0))
        inside = counts[top : bottom + 1].sum(axis=0)
        for left, right in _runs(free):
            value = (int(inside[left:right].sum()), (bottom + 1 - top) * (right - left))
            if value[0] and value > best:
                best, box = value, (top, left, bottom + 1, right)
    if box is None or best[0] < LEAST:
        return None, 0
    top, left, bottom, right = box
    return (int(rows[top]), int(columns[left]), int(rows[bottom]), int(columns[right])), best[0]


def _runs(free: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and end of every run of True."""
    changes = np.flatnonzero(np.diff(np.concatenate(([False], free, [False])).astype(np.int8)))
    return [(int(start), int(end)) for start, end in zip(changes[::2], changes[1::2], strict=True)]


def threshold_baseline(grey: NDArray[np.generic], polarity: Literal["dark", "bright"] = "dark") -> NDArray[np.bool_]:
    """Segment beads with a difference of Gaussians and Otsu's threshold (Otsu 1979; scikit-image).

    Parameters
    ----------
    grey : (Y, X), any real dtype
        Grey values of one plane; the result does not change with their scale or offset.
    polarity : {"dark", "bright"}
        Whether beads are darker or brighter than their surroundings.

    Returns
    -------
    (Y, X) bool
        True in beads; nowhere where the image is of one grey value, which has no threshold.

    Raises
    ------
    InputError
        The image is not 2D, is empty, holds NaN or infinity, or the polarity is unknown.
    """
    if polarity not in ("dark", "bright"):
        raise InputError(f"The polarity is {polarity!r}.", remedy="Choose dark or bright.")
    if grey.ndim != 2 or not grey.size:
        raise InputError(f"The image has shape {grey.shape}.", remedy="Give one grey plane (Y, X).")
    values = grey.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("The image holds NaN or infinity.", remedy="Replace them first.")
    if values.min() == values.max():
        return np.zeros(grey.shape, dtype=np.bool_)
    # Offset and scale away first: rounding would otherwise make the result depend on them.
    values = (values - values.min()) / (values.max() - values.min())
    contrast = difference_of_gaussians(values, SIGMA_LOW, SIGMA_HIGH, mode="nearest")  # type: ignore[no-untyped-call]
    if polarity == "dark":
        contrast = -contrast
    level = threshold_otsu(contrast)  # type: ignore[no-untyped-call]
    return np.asarray(contrast > level, dtype=np.bool_)
