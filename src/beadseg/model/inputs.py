"""How the pixels of an image become what a network sees: channels first, then normalisation, per whole image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.config.image import (
    BackgroundNormConfig,
    GreyConfig,
    PercentileNormConfig,
    RangeNormConfig,
    RgbConfig,
    SingleChannelConfig,
    ZScoreNormConfig,
)
from beadseg.errors import ImageError
from beadseg.model.background import relative_to_background
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from beadseg.config.image import ChannelConfig, ImageConfig, NormConfig

    FloatPlane = npt.NDArray[np.float32]

ONE_CHANNEL = (
    "Choose one, counted from 0: `predict --channel 0`, or "
    "`train --set image.channels.kind=single --set image.channels.index=0`."
)
"""What to do about an image of other channels than a network reads."""
BT601 = (0.299, 0.587, 0.114)
"""Luminance weights of red, green and blue (ITU-R BT.601)."""


def input_channels(config: ChannelConfig) -> int:
    """Return how many input channels a network has under this channel policy."""
    return 3 if isinstance(config, RgbConfig) else 1


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
