"""How the pixels of an image become what a network sees: channels first, then normalisation, per whole image.

Normalisation by the local background: what a pixel looks like does not change with how many beads an image has.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

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
from beadseg.errors import ImageError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
    scaled = _scaler(chosen, _unit(plane, config.norm))
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


def _unit(plane: npt.NDArray[Any], config: NormConfig) -> float | None:
    """Return the fixed intensity that becomes 1, or None where the image's own largest magnitude does."""
    if isinstance(config, RangeNormConfig) and plane.dtype.kind in "iu":
        return float(np.iinfo(plane.dtype).max)
    return None


def _finite(plane: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]:
    """Return `plane` with finite values only, and where (Y, X) all channels were finite (None: everywhere)."""
    if plane.dtype.kind == "f" and not np.isfinite(plane).all():
        return _filled(plane)
    return plane, None


def _scaler(plane: npt.NDArray[Any], unit: float | None) -> Callable[[npt.NDArray[Any]], FloatPlane]:
    """Return the function that makes a channel float32, divided by `unit` or the plane's largest magnitude.

    Dividing by the largest magnitude first makes values beyond the range of float32 harmless. One channel at a time:
    a large colour image as float32 is several times its size in the file.
    """
    if unit is None:
        unit = max(abs(float(plane.max())), abs(float(plane.min())))
        unit = unit if unit > 0 else 1.0
    wide = plane.dtype.itemsize > 4 or plane.dtype == np.uint32
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
    typical = float(np.median(blocks))
    floor = max(SHADE_FLOOR * typical, NOISE_FLOOR * noise, gain * _object_contrast(deviation, typical, noise))
    denominator = np.maximum(background, np.float32(floor), out=background)
    # A rounding error of the interpolation is not a contrast.
    flat = denominator <= np.float32(1e-6 * _largest(np.abs(plane)))
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
        for chosen, blocks in _alike(plane[top:bottom], columns):
            medians[i, chosen] = _medians(blocks)
            # Every second pixel of a spread is enough for a floor, and halves the cost.
            off = np.abs(blocks[:, ::2] - medians[i, chosen][:, np.newaxis, np.newaxis])
            spreads[i, chosen] = _medians(off)
    return medians, 1.4826 * float(np.median(spreads))


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


def _interpolate(blocks: npt.NDArray[np.float32], shape: tuple[int, ...]) -> FloatPlane:
    """Return `blocks` interpolated bilinearly between their centres to `shape`; constant beyond the outer centres."""
    (top, bottom, down), (left, right, across) = (
        _neighbours(count, length) for count, length in zip(blocks.shape, shape, strict=True)
    )
    wide = blocks[:, left] * (1 - across) + blocks[:, right] * across
    out = np.empty(shape, np.float32)
    for start in range(0, shape[0], _ROWS):
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
