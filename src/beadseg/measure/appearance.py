"""What an image looks like, in numbers that do not depend on how many beads it has; and what training images look like.

Everything but `PixelStats` is measured in what the network sees (`beadseg.model.inputs.prepare`): an exposure that the
normalisation removes changes nothing here. Numbers of beads are measured at the beads that the network found; what they
cannot tell, since beads may be missing, the background tells: its noise, and spots of bead size that were not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from scipy import ndimage

from beadseg.config.base import Config
from beadseg.config.train import BackgroundNormConfig, RgbConfig
from beadseg.errors import ConfigError, RunError
from beadseg.model.inputs import DARK_FIELD, luminance

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.config.train import ImageConfig

    Floats = NDArray[np.float64]

APPEARANCE = "appearance"
"""What the training images' appearance is called in a model's fingerprint."""
SAMPLED = 1_000_000
"""So many pixels of a larger image are looked at, in blocks spread over it."""
SMALLEST_BLOCK, LARGEST_BLOCK, BLOCK_DIAMETERS = 256, 1024, 12.0
"""Side of these blocks, px, and in bead diameters."""
PIXELS = 250_000
"""So many pixels of the file tell the range of its values."""
MOST_BEADS, PATCH_PIXELS = 300, 3_000_000
"""Beads that are measured, and the pixels around all of them together."""
FEWEST_BEADS = 3
"""Fewer beads say little about what beads look like here."""
FEWEST_PIXELS = 1000
"""Less background says little about noise, px."""
CORE, INNER, OUTER, RING = 0.25, (0.25, 0.42), (0.58, 0.8), (0.8, 1.2)
"""Distances from a bead's centre, in bead diameters: its middle, both sides of its edge, and what is around it."""
SINGLE_PRECISION = 1e30
"""Larger values are divided before a luminance is taken of them, which is float32."""
MOST_VARIATION = 100.0
"""The range of values over the background is not told beyond this: the background may be 0."""
LOGARITHMIC = ("contrast", "diameter", "noise", "variation", "response")
"""Properties of which ratios matter."""
LEVELS = (0.5, 1.0, 2.0)
"""Spots at least so strong are counted, as a share of the response to beads of the faintest training image."""
MOST_SPOTS = 500
"""Strongest spots kept of an image."""
SURE_BEADS, SURE_IMAGES = 10, 3
"""Where so many training images show at least so many beads, those with fewer do not widen the range of properties of
beads."""

FEWEST_CANDIDATES = 5
"""Fewest candidates of which a share is given."""

BEAD_PROPERTIES = ("contrast", "red", "blue", "diameter", "sharpness", "confidence", "probability", "response")
"""Properties of an image's beads, of which it has the median. Contrast of the middle (negative: darker), share of red
and blue in it; diameter at half of the contrast, px; share of the contrast that is lost across the edge; height of the
centre map; mean probability; response of a filter of bead size."""
PROPERTIES = (*BEAD_PROPERTIES, "noise", "variation", "clipped", "left_out")
"""And of the image: standard deviation of the background's noise; what `PixelStats` tells; share of the candidates for
beads that do not count as one."""


@dataclass(frozen=True)
class PixelStats:
    """The values in a file.

    Attributes
    ----------
    channels : int
        Channels that the network sees and that differ: 1 for a grey image stored as colour.
    background : float
        Median of the luminance, in the file's units.
    lowest, highest : float
        0.1 % of the pixels are darker, and 0.1 % brighter, in the file's units.
    clipped : float
        Share of the pixels at the smallest or at the largest value of a channel, whichever is more.
    """

    channels: int
    background: float
    lowest: float
    highest: float
    clipped: float

    @property
    def variation(self) -> float:
        """Range of the values over the background, 0 to `MOST_VARIATION`: 0 where a large offset was added."""
        span = self.highest - self.lowest
        return min(MOST_VARIATION, span / abs(self.background)) if self.background else MOST_VARIATION * (span > 0)

    @classmethod
    def of(cls, plane: NDArray[np.generic], config: ImageConfig) -> PixelStats:
        """Look at every n-th pixel of a plane (C, Y, X)."""
        step = max(1, math.isqrt(plane.shape[1] * plane.shape[2] // PIXELS))
        part = plane[:, ::step, ::step]
        values = np.asarray(part.reshape(len(part), -1), np.float64)
        values = values[:, np.isfinite(values).all(axis=0)]
        if not values.size:
            return cls(channels=1, background=0.0, lowest=0.0, highest=0.0, clipped=1.0)
        unit = max(1.0, float(np.abs(values).max()) / SINGLE_PRECISION)
        grey = luminance(values[:, np.newaxis] / unit)
        lowest, middle, highest = (unit * np.quantile(grey, [0.001, 0.5, 0.999]).astype(np.float64)).tolist()
        varied = [channel for channel in values if channel.min() < channel.max()]
        distinct = 1 if len(varied) < 2 or all((channel == varied[0]).all() for channel in varied[1:]) else len(varied)
        ends = [max(float((c == c.min()).mean()), float((c == c.max()).mean())) for c in varied]
        return cls(
            channels=distinct if isinstance(config.channels, RgbConfig) else 1,
            background=middle,
            lowest=lowest,
            highest=highest,
            clipped=max(ends, default=1.0),
        )


@dataclass(frozen=True, eq=False)
class ImageSample:
    """What is kept of an image to tell its appearance once beads were found.

    Attributes
    ----------
    pixels : PixelStats
        The values in the file.
    blocks : list of (C, S, S) float32
        Parts of what the network sees, relative to the background where the network sees that.
    corners : list of (int, int)
        Row and column of their first pixels.
    """

    pixels: PixelStats
    blocks: list[NDArray[np.float32]]
    corners: list[tuple[int, int]]


def sample_of(plane: NDArray[np.generic], x: NDArray[np.float32], config: ImageConfig, diameter: float) -> ImageSample:
    """Keep what the appearance of a plane (C, Y, X), and of the network's input `x` (C, Y, X), is measured from."""
    return sample_of_input(PixelStats.of(plane, config), x, config, diameter)


def sample_of_input(pixels: PixelStats, x: NDArray[np.float32], config: ImageConfig, diameter: float) -> ImageSample:
    """Do the same where the plane's values were looked at before."""
    gain = config.norm.gain if isinstance(config.norm, BackgroundNormConfig) else 1.0
    height, width = x.shape[1:]
    corners, rows, columns = [(0, 0)], height, width
    if height * width > SAMPLED:
        side = int(min(LARGEST_BLOCK, max(SMALLEST_BLOCK, BLOCK_DIAMETERS * diameter)))
        rows, columns = min(side, height), min(side, width)
        blocks = max(1, SAMPLED // (rows * columns))
        down = max(1, min(blocks, round(math.sqrt(blocks * height / width))))
        tops, lefts = (np.linspace(0, room, count).astype(int).tolist() for room, count in
                       ((height - rows, down), (width - columns, max(1, blocks // down))))  # fmt: skip
        corners = [(top, left) for top in tops for left in lefts]
    parts = [x[:, top : top + rows, left : left + columns] / np.float32(gain) for top, left in corners]
    return ImageSample(pixels, parts, corners)


@dataclass(frozen=True)
class Value:
    """A measured property: its value and standard error."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Appearance:
    """What an image looks like.

    Attributes
    ----------
    pixels : PixelStats
        The values in its file.
    area : int
        Pixels looked at.
    found, candidates : int
        Beads found in them, and candidates for beads, found ones included.
    measured : int
        Beads that were measured.
    values : dict
        Properties that could be measured, by name: `PROPERTIES`.
    spots : (tuple of float, tuple of float)
        Responses of the dark and of the bright spots of bead size that were not counted, strongest first.
    """

    pixels: PixelStats
    area: int
    found: int
    candidates: int
    measured: int
    values: dict[str, Value]
    spots: tuple[tuple[float, ...], tuple[float, ...]]

    def seen_at(self, scale: float) -> Appearance:
        """Return it for a network that saw `scale` pixels per pixel; noise cannot be told then."""
        values = {name: value for name, value in self.values.items() if name != "noise"}
        if diameter := values.get("diameter"):
            values["diameter"] = Value(diameter.value * scale, diameter.error * scale)
        return replace(self, area=round(self.area * scale**2), values=values)


def appearance(
    sample: ImageSample,
    labels: NDArray[np.uint32],
    probability: NDArray[np.float32],
    centre: NDArray[np.float32] | None,
    candidates: NDArray[np.floating],
    diameter: float,
) -> Appearance:
    """Measure an image.

    Parameters
    ----------
    sample : ImageSample
        Of the image.
    labels : (Y, X) uint32
        Beads found; 0 is background.
    probability : (Y, X) float32
        Of being bead.
    centre : (Y, X) float32 or None
        Centre map of the network.
    candidates : (N, 2) float
        (y, x) of all candidates for beads, px.
    diameter : float
        Expected bead diameter, px.
    """
    views = [_View.of(block, corner, (labels, probability, probability if centre is None else centre), diameter)
             for block, corner in zip(sample.blocks, sample.corners, strict=True)]  # fmt: skip
    beads = _bead_values(views, diameter)
    known = {name: found[np.isfinite(found)] for name, found in beads.items()}
    values = {name: _median(found) for name, found in known.items() if len(found) >= FEWEST_BEADS}
    values |= {"variation": Value(sample.pixels.variation), "clipped": Value(sample.pixels.clipped)}
    background = np.concatenate([view.ripple() for view in views])
    if background.size >= FEWEST_PIXELS:
        values["noise"] = Value(_spread(background))
    found = sum(len(view.places) for view in views)
    inside = max(found, sum(_number_within(candidates, view.corner, view.labels.shape) for view in views))
    if inside >= FEWEST_CANDIDATES:
        share = (inside - found) / inside
        values["left_out"] = Value(share, math.sqrt((share * (1 - share) + 1 / inside) / inside))
    return Appearance(
        pixels=sample.pixels,
        area=sum(view.labels.size for view in views),
        found=found,
        candidates=inside,
        measured=len(beads["contrast"]),
        values=values,
        spots=(_strongest([view.spots(-1) for view in views]), _strongest([view.spots(1) for view in views])),
    )


class PropertyRange(Config):
    """What one property was like in the training images."""

    low: float
    """Smallest value of an image."""
    high: float
    """Largest value."""
    middle: float
    """Mean over images; of the logarithm of the size for `LOGARITHMIC` properties."""
    spread: float
    """Standard deviation between images, likewise."""
    scatter: float
    """Standard deviation between the beads of an image; 0 where a property has none."""


class TrainingAppearance(Config):
    """What the images were like that a model was trained and validated on. Stored with the model."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    images: int
    """Images it was measured in."""
    diameter: Annotated[float, Field(gt=0.0)]
    """Bead diameter that they were measured with, px."""
    channels_min: int
    """Fewest channels that differ in an image."""
    channels_max: int
    """Most of them."""
    relative: bool
    """Contrast and noise are relative to the background: the network sees images so, and there is one."""
    ranges: dict[str, PropertyRange]
    """By property; one that could not be measured in any image is left out."""
    dark_per_mpx: tuple[float, ...]
    """Most dark spots of bead size per million pixels that are not counted, by strength: `LEVELS`."""
    bright_per_mpx: tuple[float, ...]
    """Most bright ones."""

    @classmethod
    def of(cls, images: Sequence[Appearance], config: ImageConfig, diameter: float) -> TrainingAppearance:
        """Summarize images, at least one, that a network saw as `config` says, measured with a bead diameter (px)."""
        channels = [image.pixels.channels for image in images]
        ranges = {name: found for name in PROPERTIES if (found := _range(name, images)) is not None}
        dark, bright = (
            tuple(
                max(1e6 * sum(spot >= level for spot in image.spots[kind]) / image.area for image in images)
                for level in levels(ranges)
            )
            for kind in (0, 1)
        )
        return cls(
            images=len(images),
            diameter=diameter,
            channels_min=min(channels),
            channels_max=max(channels),
            relative=isinstance(config.norm, BackgroundNormConfig)
            and all(image.pixels.variation < DARK_FIELD for image in images),
            ranges=ranges,
            dark_per_mpx=dark,
            bright_per_mpx=bright,
        )

    @classmethod
    def stored_in(cls, fingerprint: Mapping[str, Any], where: Path | None = None) -> TrainingAppearance | None:
        """Return what a model's fingerprint holds; None for a model that was stored without.

        Raises
        ------
        RunError
            It is damaged, or of another version.
        """
        stored = fingerprint.get(APPEARANCE)
        try:
            return None if stored is None else cls.parse(stored, where)
        except ConfigError as error:
            text = f"Holds a description of the training images of another version, or a damaged one ({error.what})."
            raise RunError(text, where, "Update beadseg, or train again.") from None


def levels(ranges: dict[str, PropertyRange]) -> tuple[float, ...]:
    """Return how strong the spots are that differ in strength; empty where no beads were measured."""
    known = ranges.get("response")
    return () if known is None else tuple(level * min(abs(known.low), abs(known.high)) for level in LEVELS)


def _range(name: str, images: Sequence[Appearance]) -> PropertyRange | None:
    """Return the range of a property: over images of enough beads if there are some of these, else over all."""
    known = [image for image in images if name in image.values]
    sure = [image for image in known if image.measured >= SURE_BEADS]
    chosen = sure if name in BEAD_PROPERTIES and len(sure) >= SURE_IMAGES else known
    if not chosen:
        return None
    values = np.array([image.values[name].value for image in chosen])
    scaled = np.log(np.maximum(np.abs(values), 1e-9)) if name in LOGARITHMIC else values
    scatters = [image.values[name].error * math.sqrt(max(1, image.measured)) for image in chosen]
    return PropertyRange(
        low=float(values.min()),
        high=float(values.max()),
        middle=float(scaled.mean()),
        spread=float(scaled.std(ddof=1)) if len(scaled) > 1 else 0.0,
        scatter=float(np.median(scatters)) if name in BEAD_PROPERTIES else 0.0,
    )


@dataclass(frozen=True, eq=False)
class _View:
    """A block of the image with what was found in it."""

    corner: tuple[int, int]
    x: NDArray[np.float32]
    grey: NDArray[np.float32]
    labels: NDArray[np.uint32]
    probability: NDArray[np.float32]
    centre: NDArray[np.float32]
    ids: NDArray[np.int64]
    places: Floats
    response: NDArray[np.float32]
    far: NDArray[np.bool_]
    diameter: float

    @classmethod
    def of(
        cls, x: NDArray[np.float32], corner: tuple[int, int], maps: tuple[NDArray[Any], ...], diameter: float
    ) -> _View:
        rows, columns = (slice(start, start + size) for start, size in zip(corner, x.shape[1:], strict=True))
        labels, probability, centre = (each[rows, columns] for each in maps)
        grey = x.mean(axis=0)
        small, large = (max(3, 2 * round(share * diameter / 2) + 1) for share in (0.7, 2.0))
        response = ndimage.uniform_filter(grey, small) - ndimage.uniform_filter(grey, large)
        near = ndimage.maximum_filter(labels > 0, 2 * math.ceil(0.75 * diameter) + 1)
        ids, places = _centroids(labels)
        return cls(corner, x, grey, labels, probability, centre, ids, places, response, ~near, diameter)

    def ripple(self) -> Floats:
        """Return second differences over 2 px in both directions on the background: white noise of the same spread."""
        once = self.grey[4:] - 2 * self.grey[2:-2] + self.grey[:-4]
        twice = (once[:, 4:] - 2 * once[:, 2:-2] + once[:, :-4]) / 6
        calm = self.far[2:-2, 2:-2] & (self.probability[2:-2, 2:-2] < 0.1)
        return np.asarray(twice[calm], np.float64)

    def spots(self, sign: Literal[-1, 1]) -> Floats:
        """Return how strong the spots of bead size are, darker (-1) or brighter than the background, off all beads."""
        height = self.response * sign
        top = (height > 0) & self.far & (ndimage.maximum_filter(height, 2 * round(self.diameter / 2) + 1) == height)
        return np.asarray(height[top], np.float64)


def _bead_values(views: Sequence[_View], diameter: float) -> dict[str, Floats]:
    """Return the properties of beads that lie well inside of a block, (N,) each."""
    reach = math.ceil(RING[1] * diameter)
    most = min(MOST_BEADS, max(2 * FEWEST_BEADS, PATCH_PIXELS // (2 * reach + 1) ** 2))
    inner = [_inside(view, reach) for view in views]
    share = min(1.0, most / max(1, sum(len(chosen) for chosen in inner)))
    parts = [
        _measure(view, chosen[np.linspace(0, len(chosen) - 1, math.ceil(share * len(chosen))).astype(int)], reach)
        for view, chosen in zip(views, inner, strict=True)
        if len(chosen)
    ]
    return {
        name: np.concatenate([part[name] for part in parts if name in part] or [np.empty(0)])
        for name in BEAD_PROPERTIES
    }


def _inside(view: _View, reach: int) -> NDArray[np.int64]:
    size = np.array(view.labels.shape)
    return np.flatnonzero(((view.places >= reach) & (view.places <= size - 1 - reach)).all(axis=1))


def _measure(view: _View, chosen: NDArray[np.int64], reach: int) -> dict[str, Floats]:
    """Return the properties of some beads of a block, from square patches around their centres."""
    places, diameter = view.places[chosen], view.diameter
    at, steps = np.rint(places).astype(np.int64), np.arange(-reach, reach + 1)
    rows, columns = at[:, :1, np.newaxis] + steps[:, np.newaxis], at[:, 1:, np.newaxis] + steps
    away = np.hypot(rows - places[:, :1, np.newaxis], columns - places[:, 1:, np.newaxis]) / diameter
    labels, grey = view.labels[rows, columns], view.grey[rows, columns]
    own = labels == view.ids[chosen, np.newaxis, np.newaxis]
    free, core = own | (labels == 0), away <= max(CORE, 0.75 / diameter)
    ring = (away >= RING[0]) & (away < RING[1]) & (labels == 0)
    around = _mean(grey, ring)
    contrast = _mean(grey, core) - around
    contrast[contrast == 0] = np.nan
    edge = [_mean(grey, free & (away >= low) & (away < high)) for low, high in (INNER, OUTER)]
    relative = (grey - around[:, np.newaxis, np.newaxis]) / contrast[:, np.newaxis, np.newaxis]
    covered = (relative > 0.5) & free & (away < RING[0])
    found = {
        "contrast": contrast,
        "sharpness": (edge[0] - edge[1]) / contrast,
        "diameter": 2 * np.sqrt(covered.sum(axis=(1, 2)) / math.pi),
        "confidence": np.where(own, view.centre[rows, columns], 0).max(axis=(1, 2)),
        "probability": _mean(view.probability[rows, columns], own),
        "response": view.response[at[:, 0], at[:, 1]],
    }
    if len(view.x) == 3:
        colours = np.stack([_mean(x[rows, columns], core) - _mean(x[rows, columns], ring) for x in view.x])
        whole = np.maximum(np.abs(colours).sum(axis=0), np.abs(contrast))  # 0 only where the contrast is unknown too
        found |= {"red": np.abs(colours[0]) / whole, "blue": np.abs(colours[2]) / whole}
    known = np.isfinite(contrast)
    return {name: values[known].astype(np.float64) for name, values in found.items()}


def _mean(values: NDArray[np.floating], where: NDArray[np.bool_]) -> Floats:
    """Return the mean of each patch (N, P, P) over the pixels of a mask; NaN where there are none."""
    count = where.sum(axis=(1, 2))
    total = np.where(where, values, 0).sum(axis=(1, 2), dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))


def _centroids(labels: NDArray[np.uint32]) -> tuple[NDArray[np.int64], Floats]:
    """Return the ids (N,) in a block and the centroids (N, 2) of their pixels in it."""
    flat = labels.reshape(-1)
    inside = np.flatnonzero(flat)
    ids, own, count = np.unique(flat[inside], return_inverse=True, return_counts=True)
    places = [np.bincount(own, weights=along, minlength=len(ids)) / count for along in divmod(inside, labels.shape[1])]
    return ids.astype(np.int64), np.stack(places, axis=1)


def _number_within(places: NDArray[np.floating], corner: tuple[int, int], size: tuple[int, ...]) -> int:
    return int(((places >= corner) & (places < np.add(corner, size))).all(axis=1).sum())


def _strongest(spots: list[Floats]) -> tuple[float, ...]:
    return tuple(np.sort(np.concatenate(spots))[::-1][:MOST_SPOTS].tolist())


def _spread(values: Floats) -> float:
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _median(values: Floats) -> Value:
    return Value(float(np.median(values)), 1.25 * _spread(values) / math.sqrt(len(values)))
