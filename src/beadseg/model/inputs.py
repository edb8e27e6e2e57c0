"""How the pixels of an image become what a network sees: channels first, then normalisation, per whole image.

Normalisation by the local background: what a pixel looks like does not change with how many beads an image has.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from beadseg.config.train import (
    BackgroundNormConfig,
    GreyConfig,
    PercentileNormConfig,
    RangeNormConfig,
    RgbConfig,
    SingleChannelConfig,
    ZScoreNormConfig,
)
from beadseg.errors import ConfigError, ImageError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy.typing as npt

    from beadseg.config.train import ChannelConfig, ImageConfig, NormConfig

    FloatPlane = npt.NDArray[np.float32]

ONE_CHANNEL = (
    "Choose one, counted from 0: `predict --channel 0`, or "
    "`train --set image.channels.kind=single --set image.channels.index=0`."
)
"""What to do about an image of other channels than a network reads."""
BT601 = (0.299, 0.587, 0.114)
"""Luminance weights of red, green and blue (ITU-R BT.601)."""

DARK_FIELD = 4.0
"""An image is a dark field when its objects stand out by more than this many times the background."""
NOISE_FLOOR = 4.0
"""The denominator is never below this many standard deviations of noise: an empty dark field stays calm."""
SHADE_FLOOR = 0.1
"""The denominator is never below this share of the image's typical background (black corners)."""
_OBJECT_NOISE = 6.0
"""A pixel this many standard deviations of noise off its background belongs to something."""
MOST = 100.0
"""No value is farther from the background: beads come out at about 1, a hot pixel of a camera at any number."""
_BAND_PIXELS = 8_000_000
"""So many pixels of an image that does not fit into memory are looked at together."""
_ROWS = 256
"""Rows interpolated at a time: a huge image needs no second copy of itself."""
_OBJECT_QUANTILE = 75.0
"""Percentile of those pixels' deviations that is the objects' contrast: their bodies, not their rims."""


def prepare(plane: npt.NDArray[Any], config: ImageConfig) -> FloatPlane:
    """Return the network's input for one whole image.

    Values that are not finite count as background: they become 0 and do not influence any other pixel's scale.

    Parameters
    ----------
    plane : (C, Y, X) array
        Any real dtype. The result does not depend on the dtype, up to rounding, except under ``range`` normalisation.
    config : ImageConfig
        Channels and normalisation.

    Returns
    -------
    (Cin, Y, X) float32
        Finite everywhere.

    Raises
    ------
    ImageError
        The array is not a (C, Y, X) image of real numbers, is empty, has no finite pixel, or its channels do not suit.
    """
    _check(plane)
    chosen, valid = _finite(_available(plane, config.channels))
    unit = fixed_unit(plane.dtype, config.norm)
    scaled = _scaler(chosen.dtype, _magnitude(chosen) if unit is None else unit)
    normalise = _normaliser(config.norm)
    if isinstance(config.channels, GreyConfig) and len(chosen) == 3:
        out = normalise(_weighted(chosen, scaled))[np.newaxis]
    else:
        out = np.empty(chosen.shape, np.float32)
        for result, channel in zip(out, chosen, strict=True):
            result[...] = scaled(channel)
            result[...] = normalise(result)
    if valid is not None:
        out[:, ~valid] = 0.0
    if isinstance(config.channels, RgbConfig) and len(out) == 1:
        out = np.repeat(out, 3, axis=0)
    return np.ascontiguousarray(out)


def resized(plane: npt.NDArray[Any], factor: float) -> FloatPlane:
    """Return a plane (C, Y, X) with `factor` times as many pixels along each axis, float32, at least one.

    Antialiased (bilinear over the pixels that become one) where it shrinks, bicubic where it grows. Values that are not
    finite become the median of their channel.

    Raises
    ------
    ImageError
        As in `prepare`.
    """
    import torch  # late: what only reads images needs no torch

    _check(plane)
    values, _ = _finite(plane)
    shape = [max(1, round(side * factor)) for side in plane.shape[-2:]]
    mode, smooth = ("bicubic", False) if factor > 1 else ("bilinear", True)
    out = np.empty((len(plane), *shape), np.float32)
    for result, channel in zip(out, values, strict=True):
        x = torch.from_numpy(np.ascontiguousarray(channel, np.float32))[None, None]
        result[...] = torch.nn.functional.interpolate(x, shape, mode=mode, antialias=smooth)[0, 0].numpy()
    return out


def luminance(plane: npt.NDArray[Any]) -> FloatPlane:
    """Return the brightness (Y, X) float32 of a plane (C, Y, X), in the image's own units.

    BT.601 for three channels, the channel itself for one, the mean over channels for other numbers.

    Raises
    ------
    ImageError
        The array is not a (C, Y, X) image of real numbers, or is empty.
    """
    _check(plane)
    if len(plane) == 1:
        return np.asarray(plane[0], np.float32)
    if len(plane) == 3:
        return _weighted(plane, lambda channel: channel.astype(np.float32))
    return np.asarray(plane.mean(axis=0, dtype=np.float64), np.float32)


def chosen_channel(
    plane: npt.NDArray[Any], channel: int | None, config: ChannelConfig | None = None
) -> npt.NDArray[Any]:
    """Return one channel of a plane (C, Y, X) as a grey image (1, Y, X); the plane itself when `channel` is None.

    With the policy of a network that reads one channel of several (`config`), the chosen one stands in their place.

    Raises
    ------
    ImageError
        It has no such channel.
    """
    if channel is None:
        return plane
    if channel >= len(plane):
        text = f"Has {plural(len(plane), 'channel')}, counted from 0; channel {channel} is not there."
        raise ImageError(text, remedy="Choose another one by --channel.")
    chosen = plane[channel : channel + 1]
    expected = config.index + 1 if isinstance(config, SingleChannelConfig) else 1
    return np.broadcast_to(chosen, (expected, *chosen.shape[1:])) if expected > 1 else chosen


def _check(plane: npt.NDArray[Any]) -> None:
    if plane.ndim != 3 or plane.size == 0:
        raise ImageError(f"An image plane must be (C, Y, X) and not empty, but has the shape {plane.shape}.")
    if plane.dtype.kind not in "buif":
        raise ImageError(f"Pixels of type {plane.dtype} are not intensities.", remedy="Convert to integer or float.")


def _available(plane: npt.NDArray[Any], config: ChannelConfig) -> npt.NDArray[Any]:
    """Return those channels of `plane` that the policy reads."""
    count = len(plane)
    if isinstance(config, GreyConfig | RgbConfig):
        if count in (1, 3):
            return plane
        raise ImageError(
            f"Has {count} channels, where 1 (grey) or 3 (red, green, blue) are expected.", remedy=ONE_CHANNEL
        )
    if config.index >= count:
        raise ImageError(
            f"Has {plural(count, 'channel')}, counted from 0; channel {config.index} is not there.", remedy=ONE_CHANNEL
        )
    return plane[config.index : config.index + 1]


def fixed_unit(dtype: np.dtype, config: NormConfig) -> float | None:
    """Return the fixed intensity that becomes 1, or None where the image's own largest magnitude does."""
    return float(np.iinfo(dtype).max) if isinstance(config, RangeNormConfig) and dtype.kind in "iu" else None


def _magnitude(plane: npt.NDArray[Any]) -> float:
    return max(abs(float(plane.max())), abs(float(plane.min())))


def _finite(plane: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return `plane` with finite values only, and where (Y, X) all channels were finite (None: everywhere)."""
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        return _filled(plane)
    return plane, None


def _scaler(dtype: np.dtype, unit: float) -> Callable[[npt.NDArray[Any]], FloatPlane]:
    """Return the function that makes a channel float32, divided by `unit`: a fixed one or the largest magnitude.

    Dividing by the largest magnitude first makes values beyond the range of float32 harmless. One channel at a time:
    a large colour image as float32 is several times its size in the file.
    """
    unit = unit if unit > 0 else 1.0
    wide = dtype.itemsize > 4 or dtype == np.uint32
    if wide or not 1e-30 < unit < 1e30:
        return lambda channel: (channel.astype(np.float64) / unit).astype(np.float32)

    def scaled(channel: npt.NDArray[Any]) -> FloatPlane:
        result = channel.astype(np.float32)
        result *= np.float32(1.0 / unit)
        return result

    return scaled


def _filled(plane: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return `plane` with values that are not finite replaced by the channel's median, and where all were finite."""
    finite = np.isfinite(plane)
    filled = plane.copy()
    for channel, known in zip(filled, finite, strict=True):
        if not known.any():
            raise ImageError("A channel of the image has no finite pixel.", remedy="Check how the file was written.")
        # The lower median: the mean of two huge middle values would overflow.
        values = channel[known]
        channel[~known] = np.partition(values, (values.size - 1) // 2)[(values.size - 1) // 2]
    return filled, finite.all(axis=0)


def _weighted(rgb: npt.NDArray[Any], scaled: Callable[[npt.NDArray[Any]], FloatPlane]) -> FloatPlane:
    """Return the luminance (Y, X) of three channels, each made float32 by `scaled`."""
    luminance = np.zeros(rgb.shape[1:], np.float32)
    for channel, weight in zip(rgb, BT601, strict=True):
        share = scaled(channel)
        share *= np.float32(weight)
        luminance += share
    return luminance


def _normaliser(config: NormConfig) -> Callable[[FloatPlane], FloatPlane]:
    if isinstance(config, BackgroundNormConfig):
        return lambda channel: relative_to_background(channel, config.window, config.gain)
    if isinstance(config, ZScoreNormConfig):
        return _zscore
    if isinstance(config, PercentileNormConfig):
        return lambda channel: _between_percentiles(channel, config)
    return lambda channel: channel


def _zscore(channel: FloatPlane) -> FloatPlane:
    mean = channel.mean(dtype=np.float64)
    std = channel.std(dtype=np.float64)
    # A constant image has a rounding error for its standard deviation.
    if std <= 1e-6 * abs(mean) or std == 0:
        return np.zeros_like(channel)
    return np.asarray((channel - mean) / std, np.float32)


def _between_percentiles(channel: FloatPlane, config: PercentileNormConfig) -> FloatPlane:
    if config.low >= config.high:
        raise ImageError(
            f"norm.low={config.low} is not below norm.high={config.high}.", remedy="Choose norm.low below norm.high."
        )
    low, high = np.percentile(channel, [config.low, config.high])
    if high <= low:
        return np.zeros_like(channel)
    return np.asarray((channel - low) / (high - low), np.float32)


def relative_to_background(plane: FloatPlane, window: int, gain: float) -> FloatPlane:
    """Return ``gain * (I - background) / denominator``.

    The background is the median of blocks of about `window` px, interpolated linearly between the blocks' centres:
    beads may cover up to half of a block. In a bright field the denominator is that background (the Weber contrast),
    so a pixel's value depends on its surroundings of a block or two only. In a dark field (objects more than
    `DARK_FIELD` times their background; fluorescence) that ratio would be noise divided by nearly nothing; there the
    denominator is the objects' own contrast: a percentile over the pixels that belong to something, which more
    objects of the same kind do not move, however many they are; they come out at about 1, as beads of a contrast of
    ``1 / gain`` do in a bright field. Images with a negative background (subtracted, or signed) are treated likewise.
    In both, the denominator has floors from the noise and the shading. Single hot pixels, and hot rows or columns, move
    nothing but themselves, however hot they are.

    Parameters
    ----------
    plane : (Y, X) float32
        Finite intensities.
    window : int
        Side of a block, px.
    gain : float
        Factor.

    Returns
    -------
    (Y, X) float32
        Finite, at most `MOST` times `gain`; 0 on the background; all 0 for a constant image.
    """
    blocks, noise = _block_statistics(plane, window)
    background = _interpolate(blocks, plane.shape)
    deviation = plane - background
    contrast = _object_contrast(deviation, float(np.median(blocks)), noise)
    limits = _floor(blocks, noise, gain * contrast), 1e-6 * _largest(np.abs(plane))
    return _over(background, deviation, limits, gain)


def _floor(blocks: FloatPlane, noise: float, contrast: float) -> float:
    """Return what the denominator is never below."""
    return max(SHADE_FLOOR * float(np.median(blocks)), NOISE_FLOOR * noise, contrast)


def _over(background: FloatPlane, deviation: FloatPlane, limits: tuple[float, float], gain: float) -> FloatPlane:
    """Return, in the place of `deviation`, ``gain * deviation / denominator``; 0 where that is nearly nothing."""
    denominator = np.maximum(background, np.float32(limits[0]), out=background)
    # A rounding error of the interpolation is not a contrast.
    flat = denominator <= np.float32(limits[1])
    with np.errstate(over="ignore"):  # a hot pixel over a background of nearly nothing
        np.divide(deviation, denominator, out=deviation, where=~flat)
    deviation[flat] = 0.0
    deviation *= np.float32(gain)
    return np.clip(deviation, -MOST * gain, MOST * gain, out=deviation)


def _largest(size: FloatPlane) -> float:
    """Return the largest value that 2x2 pixels reach: a camera's hot pixels, rows and columns are not objects."""
    if min(size.shape) > 1:
        size = np.minimum(size[:-1], size[1:])
        size = np.minimum(size[:, :-1], size[:, 1:])
    return float(size.max())


def _block_statistics(plane: FloatPlane, window: int) -> tuple[npt.NDArray[np.float32], float]:
    """Return the blocks' medians (By, Bx), and the noise: the median of the blocks' scaled absolute deviations."""
    rows, columns = (_edges(length, window) for length in plane.shape)
    medians = np.empty((len(rows) - 1, len(columns) - 1), np.float32)
    spreads = np.empty_like(medians)
    for i, (top, bottom) in enumerate(pairwise(rows)):
        _strip_statistics(plane[top:bottom], columns, medians[i], spreads[i])
    return medians, 1.4826 * float(np.median(spreads))


def _strip_statistics(
    strip: FloatPlane, columns: npt.NDArray[np.int64], medians: FloatPlane, spreads: FloatPlane
) -> None:
    """Write the medians and the median deviations of the blocks of one strip."""
    for chosen, blocks in _alike(strip, columns):
        medians[chosen] = _medians(blocks)
        # Every second pixel of a spread is enough for a floor, and halves the cost.
        off = np.abs(blocks[:, ::2] - medians[chosen][:, np.newaxis, np.newaxis])
        spreads[chosen] = _medians(off)


def _alike(strip: FloatPlane, edges: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], FloatPlane]]:
    """Yield the indices (K,) and pixels (K, Y, X) of a strip's blocks of one width: there are two widths at most."""
    widths = np.diff(edges)
    for width in np.unique(widths):
        chosen = np.flatnonzero(widths == width)
        columns = edges[chosen, np.newaxis] + np.arange(width)
        yield chosen, np.ascontiguousarray(strip[:, columns].transpose(1, 0, 2))


def _medians(blocks: FloatPlane) -> npt.NDArray[np.float32]:
    """Return the medians of (K, Y, X) finite blocks, as `numpy.median` does, but without its search for NaN."""
    values = blocks.reshape(len(blocks), -1)
    half = values.shape[1] // 2
    values = np.partition(values, half, axis=1)
    upper: npt.NDArray[np.float32] = values[:, half]
    if values.shape[1] % 2:
        return upper
    middle: npt.NDArray[np.float32] = (values[:, :half].max(axis=1) + upper) / np.float32(2)
    return middle


def _edges(length: int, window: int) -> npt.NDArray[np.int64]:
    """Return the edges of blocks of nearly equal size, as near to `window` as a whole number of them can be."""
    count = max(1, round(length / window))
    return np.arange(count + 1, dtype=np.int64) * length // count


def _interpolate(
    blocks: npt.NDArray[np.float32], shape: tuple[int, ...], part: tuple[slice, slice] = (slice(None), slice(None))
) -> FloatPlane:
    """Return `blocks` interpolated bilinearly between their centres to `shape`; constant beyond the outer centres.

    With `part` only these rows and columns.
    """
    (top, bottom, down), (left, right, across) = (
        tuple(each[along] for each in _neighbours(count, length))
        for count, length, along in zip(blocks.shape, shape, part, strict=True)
    )
    wide = blocks[:, left] * (1 - across) + blocks[:, right] * across
    out = np.empty((len(top), len(left)), np.float32)
    for start in range(0, len(top), _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = wide[top[rows]]
        out[rows] *= (1 - down[rows])[:, np.newaxis]
        out[rows] += wide[bottom[rows]] * down[rows, np.newaxis]
    return out


def _neighbours(count: int, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatPlane]:
    """Return for each pixel the two nearest blocks along an axis, and the share of the second."""
    edges = np.arange(count + 1, dtype=np.int64) * length // count
    centres = (edges[:-1] + edges[1:]) / 2 - 0.5
    position = np.interp(np.arange(length), centres, np.arange(count))
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, count - 1), (position - first).astype(np.float32)


def _object_contrast(deviation: FloatPlane, typical: float, noise: float) -> float:
    """Return the contrast of a dark field's objects, in intensity; 0 for a bright field."""
    limit = DARK_FIELD * max(typical, 0.0)
    if max(float(deviation.max()), -float(deviation.min())) <= limit:
        return 0.0
    size = np.abs(deviation)
    # Without noise, rounding errors of the interpolation would count as objects.
    objects = size[size > max(_OBJECT_NOISE * noise, 1e-3 * _largest(size))]
    if objects.size == 0:
        return 0.0
    contrast = float(np.percentile(objects, _OBJECT_QUANTILE))
    return contrast if contrast > limit else 0.0


class Source(Protocol):
    """An image (C, Y, X) of which parts are read."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """C, Y and X."""

    @property
    def dtype(self) -> np.dtype:
        """Of its values."""

    def part(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return rows and columns, finite values; both slices have a start and a stop."""


@dataclass(frozen=True, eq=False)
class Preparation:
    """What must be known of a whole image so that its parts are prepared as `prepare` does the whole.

    Attributes
    ----------
    config : ImageConfig
        Channels and normalisation.
    unit : float
        Intensity that becomes 1 before anything else.
    grounds : tuple
        The local background of each channel that the network sees; empty where nothing is relative to it.
    """

    config: ImageConfig
    unit: float
    grounds: tuple[_Ground, ...] = ()

    @classmethod
    def of(cls, source: Source, config: ImageConfig) -> Preparation:
        """Look at an image, part by part, several times.

        Raises
        ------
        ConfigError
            The normalisation needs sums over the whole image, which parts do not give to the last digit.
        """
        if not isinstance(config.norm, BackgroundNormConfig | RangeNormConfig):
            text = f"Images that do not fit into memory cannot be normalised by {config.norm.kind!r}."
            raise ConfigError(text, "image.norm", "Train with image.norm.kind=background, or use more memory.")
        unit = fixed_unit(source.dtype, config.norm)
        if unit is None:
            unit = max(_magnitude(_available(part, config.channels)) for _, part in bands(source))
        plain = cls(config, unit)
        if isinstance(config.norm, RangeNormConfig):
            return plain
        count = len(plain._scaled(source.part(slice(0, 1), slice(0, 1))))
        norm, size = config.norm, (source.shape[1], source.shape[2])
        return cls(config, unit, tuple(_Ground.of(plain._reader(source, c), size, norm) for c in range(count)))

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return it as arrays, for a file."""
        kept = {f"blocks{i}": ground.blocks for i, ground in enumerate(self.grounds)}
        told = np.array([each for ground in self.grounds for each in (*ground.size, *ground.limits, ground.gain)])
        return {"unit": np.array(self.unit), "told": told.reshape(-1, 5), **kept}

    @classmethod
    def of_arrays(cls, config: ImageConfig, kept: dict[str, npt.NDArray[Any]]) -> Preparation:
        """Return what `arrays` was of."""
        grounds = tuple(
            _Ground(kept[f"blocks{i}"], (int(high), int(wide)), (floor, flat), gain)
            for i, (high, wide, floor, flat, gain) in enumerate(kept["told"].tolist())
        )
        return cls(config, float(kept["unit"]), grounds)

    def part(self, values: npt.NDArray[Any], top: int, left: int) -> FloatPlane:
        """Return the network's input (Cin, Y, X) for a part (C, Y, X) of the image whose first pixel is given."""
        out = self._scaled(values)
        if self.grounds:
            out = [ground.relative(each, top, left) for ground, each in zip(self.grounds, out, strict=True)]
        many = 3 if isinstance(self.config.channels, RgbConfig) else 1
        return np.ascontiguousarray(np.repeat(np.stack(out), many if len(out) == 1 else 1, axis=0))

    def _scaled(self, values: npt.NDArray[Any]) -> list[FloatPlane]:
        chosen = _available(values, self.config.channels)
        scaled = _scaler(chosen.dtype, self.unit)
        grey = isinstance(self.config.channels, GreyConfig) and len(chosen) == 3
        return [_weighted(chosen, scaled)] if grey else [scaled(channel) for channel in chosen]

    def _reader(self, source: Source, channel: int) -> Callable[[int, int], FloatPlane]:
        whole = slice(0, source.shape[2])
        return lambda top, bottom: self._scaled(source.part(slice(top, bottom), whole))[channel]


@dataclass(frozen=True, eq=False)
class _Ground:
    """The local background of one channel, see `relative_to_background`."""

    blocks: FloatPlane
    size: tuple[int, int]
    limits: tuple[float, float]
    gain: float

    @classmethod
    def of(cls, read: Callable[[int, int], FloatPlane], size: tuple[int, int], norm: BackgroundNormConfig) -> _Ground:
        rows, columns = (_edges(length, norm.window) for length in size)
        medians = np.empty((len(rows) - 1, len(columns) - 1), np.float32)
        spreads, largest = np.empty_like(medians), 0.0
        several = max(1, _BAND_PIXELS // (norm.window * size[1]))
        for first in range(0, len(medians), several):
            edges = rows[first : first + several + 1]
            band = read(int(edges[0]), min(int(edges[-1]) + 1, size[0]))
            for i, (top, bottom) in enumerate(pairwise(edges - edges[0]), first):
                _strip_statistics(band[top:bottom], columns, medians[i], spreads[i])
            largest = max(largest, _largest(np.abs(band)))
        noise = 1.4826 * float(np.median(spreads))
        contrast = cls(medians, size, (0.0, 0.0), norm.gain)._contrast(read, noise)
        return cls(medians, size, (_floor(medians, noise, norm.gain * contrast), 1e-6 * largest), norm.gain)

    def relative(self, values: FloatPlane, top: int, left: int) -> FloatPlane:
        """Return a part relative to the background."""
        background = self._background(values.shape, top, left)
        return _over(background, values - background, self.limits, self.gain)

    def _background(self, shape: tuple[int, ...], top: int, left: int) -> FloatPlane:
        return _interpolate(self.blocks, self.size, (slice(top, top + shape[0]), slice(left, left + shape[1])))

    def _contrast(self, read: Callable[[int, int], FloatPlane], noise: float) -> float:
        """Return what `_object_contrast` does, band by band."""
        limit = DARK_FIELD * max(float(np.median(self.blocks)), 0.0)

        step = max(2, _BAND_PIXELS // self.size[1])

        def sizes() -> Iterator[FloatPlane]:  # each with the first row of the next
            for top in range(0, self.size[0], step):
                values = read(top, min(top + step + 1, self.size[0]))
                yield np.abs(values - self._background(values.shape, top, 0))

        if max(float(size.max()) for size in sizes()) <= limit:
            return 0.0
        least = max(_OBJECT_NOISE * noise, 1e-3 * max(_largest(size) for size in sizes()))
        contrast = percentiles(lambda: (size[:step][size[:step] > least] for size in sizes()), [_OBJECT_QUANTILE])[0]
        return contrast if contrast > limit else 0.0


def bands(source: Source) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield the first row and the pixels (C, Y, X) of parts as wide as the image."""
    step = max(1, _BAND_PIXELS // source.shape[2])
    for top in range(0, source.shape[1], step):
        yield top, source.part(slice(top, min(top + step, source.shape[1])), slice(0, source.shape[2]))


def percentiles(parts: Callable[[], Iterable[FloatPlane]], wanted: Sequence[float]) -> list[float]:
    """Return what `numpy.percentile` does of float32 values that are read part by part, twice; 0 where there are none.

    Values are counted by the upper half of their bits, then by the lower half where a percentile lies.
    """
    counts = np.zeros(1 << 16, np.int64)
    for part in parts():
        counts += np.bincount(_sortable(part) >> 16, minlength=1 << 16)
    total, below = int(counts.sum()), np.concatenate([[0], np.cumsum(counts)])
    if not total:
        return [0.0] * len(wanted)
    places = [(total - 1) * (percent / 100) for percent in wanted]
    ranks = sorted({rank for place in places for rank in (int(place), min(int(place) + 1, total - 1))})
    upper = {rank: int(np.searchsorted(below, rank, side="right")) - 1 for rank in ranks}
    lower = {half: np.zeros(1 << 16, np.int64) for half in upper.values()}
    for part in parts():
        keys = _sortable(part)
        for half, within in lower.items():
            within += np.bincount(keys[keys >> 16 == half] & 0xFFFF, minlength=1 << 16)
    values = {}
    for rank, half in upper.items():
        low = int(np.searchsorted(np.cumsum(lower[half]), rank - below[half], side="right"))
        key = np.uint32(half << 16 | low)
        values[rank] = (key ^ np.uint32(1 << 31) if key >> 31 else ~key).view(np.float32)
    pairs = [np.array([values[int(place)], values[min(int(place) + 1, total - 1)]]) for place in places]
    return [float(np.percentile(pair, 100 * (place % 1))) for pair, place in zip(pairs, places, strict=True)]


def _sortable(values: FloatPlane) -> npt.NDArray[np.uint32]:
    """Return whole numbers in the order of the values."""
    bits = np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint32)
    return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
