"""From light to a file's numbers in random looks: colour, photons, enlargement, tone, bits and JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter, map_coordinates, shift, uniform_filter

if TYPE_CHECKING:
    from beadseg.data.simulate.look_config import LookConfig

Floats = NDArray[np.float32]

_BAYER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4


@dataclass(frozen=True)
class Exposure:
    """What a camera is pointed at.

    Attributes
    ----------
    light : (Y, X) float32
        Light on the sensor, 0 or more.
    ground : (Y, X) float32
        The light without beads.
    full : float
        Light that is to reach the exposure's level.
    noise : float
        Standard deviation of a pixel's noise at the light 1.
    shot : float
        Share of that variance that grows with the light; the rest is the same everywhere.
    contrast : float
        Typical difference of light between bead and ground.
    """

    light: Floats
    ground: Floats
    full: float
    noise: float
    shot: float
    contrast: float


def photograph(
    config: LookConfig, exposure: Exposure, side: int, diameter: float, rng: np.random.Generator
) -> NDArray[Any]:
    """Return the file's numbers, (side, side) or (side, side, 3), uint8 or uint16.

    Parameters
    ----------
    config : LookConfig
        Ranges.
    exposure : Exposure
        On the sensor's grid, which may be coarser than the image.
    side : int
        Of the finished image, px.
    diameter : float
        Typical bead diameter on the sensor, px: colour fringes grow with it.
    rng : numpy.random.Generator
        Decides everything random.
    """
    coloured = rng.random() < config.colour
    channels = _channels(config, exposure, diameter, rng) if coloured else exposure.light[None]
    image = _sensed(config, channels, exposure, rng)
    if coloured and rng.random() < config.bayer:
        image = _through_bayer(image)
    if image.shape[1] != side:
        image = np.stack([enlarged(channel, side, order=int(rng.choice([1, 1, 3]))) for channel in image])
    if rng.random() < config.sharpened:
        sigma, strength = rng.uniform(0.7, 1.8), rng.uniform(*config.sharpening)
        image = image + strength * (image - gaussian_filter(image, (0, sigma, sigma)))
    return _developed(config, image, exposure, rng)


def _channels(config: LookConfig, exposure: Exposure, diameter: float, rng: np.random.Generator) -> Floats:
    """Return red, green and blue (3, Y, X): a bead's colour is a power of its contrast, which Beer and Lambert give."""
    tints = rng.uniform(0.75, 1.0, 3)
    powers = rng.uniform(0.45, 1.15, 3)
    powers[1] = max(powers[1], 0.85)
    ground = np.maximum(exposure.ground, 1e-3)
    ratio = np.clip(exposure.light / ground, 1e-3, None)
    channels = [tint * ground * ratio**power for tint, power in zip(tints, powers, strict=True)]
    far, turn = float(rng.uniform(*config.fringe)) * diameter, float(rng.uniform(0, 2 * np.pi))
    for index, sign in ((0, 1), (2, -1)):
        away = (sign * far * np.sin(turn), sign * far * np.cos(turn))
        channels[index] = shift(channels[index], away, order=1, mode="nearest")
    return np.asarray(np.stack(channels), np.float32)


def _sensed(config: LookConfig, light: Floats, exposure: Exposure, rng: np.random.Generator) -> Floats:
    """Return noisy readings; few photons come in whole numbers."""
    variance = exposure.noise**2 * (exposure.shot * np.clip(light, 0, None) + (1 - exposure.shot))
    per_photon = exposure.noise**2 * exposure.shot
    if per_photon > 1 / 60 and exposure.shot > 0.5:
        drawn = rng.poisson(np.clip(light, 0, None) / per_photon) * per_photon
        reading = drawn + exposure.noise * np.sqrt(1 - exposure.shot) * rng.standard_normal(light.shape)
    else:
        reading = light + np.sqrt(variance) * rng.standard_normal(light.shape, np.float32)
    if rng.random() < config.stripes:
        lines = rng.standard_normal((light.shape[-1],)) * rng.uniform(0.05, 0.2) * exposure.contrast
        reading = reading + (lines if rng.random() < 0.5 else lines[:, None])
    if rng.random() < config.hot:
        count = int(rng.integers(1, 1 + light[0].size // 800))
        at = rng.integers(0, light.shape[-1], (2, count))
        reading[:, at[0], at[1]] = rng.choice([0.0, 1.3], count) * exposure.full
    return np.asarray(reading, np.float32)


def _through_bayer(image: Floats) -> Floats:
    """Return red, green and blue as interpolated from one colour per pixel (linear interpolation)."""
    rows, columns = np.indices(image.shape[1:]) % 2
    masks = ((rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1))
    out = []
    for channel, mask in zip(image, masks, strict=True):
        weights = convolve(mask.astype(np.float32), _BAYER, mode="mirror")
        out.append(convolve(channel * mask, _BAYER, mode="mirror") / weights)
    return np.stack(out)


def enlarged(channel: Floats, side: int, order: int = 1) -> Floats:
    """Return a square image (Y, X) resampled to `side`; averaged first where it shrinks."""
    factor = channel.shape[0] / side
    if factor > 1.5:
        channel = uniform_filter(channel, round(factor), mode="nearest")
    axis = np.clip((np.arange(side) + 0.5) * factor - 0.5, 0, channel.shape[0] - 1)
    at = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    out = np.empty((side, side), np.float32)
    map_coordinates(channel, at, output=out, order=order, mode="nearest")  # type: ignore[call-overload]
    return out


def _developed(config: LookConfig, image: Floats, exposure: Exposure, rng: np.random.Generator) -> NDArray[Any]:
    """Return the file's numbers, with exposure, pedestal, tone curve, clipping, bits and JPEG."""
    level = rng.uniform(*config.exposure)
    if rng.random() < config.clipped:
        level = rng.uniform(1.0, 1.3)
    pedestal = rng.uniform(*config.pedestal) if rng.random() < 0.5 else 0.0
    gain = level * (1 - pedestal) / exposure.full
    share = np.clip(pedestal + gain * image, 0, 1)
    gamma = float(np.exp(rng.uniform(*np.log(config.gamma)))) if rng.random() < 0.5 else 1.0
    share = share**gamma
    steps = _steps(exposure, pedestal, gain, gamma)
    if rng.random() < config.sixteen or steps < config.grey_levels:
        bits = 16 if rng.random() < 0.5 or steps * 16 < config.grey_levels else 12
        return _last(np.rint(share * (2**bits - 1)).astype(np.uint16))
    rounded = _last(np.rint(share * 255).astype(np.uint8))
    if steps > 2.5 * config.grey_levels and rng.random() < config.jpeg:
        return _through_jpeg(rounded, int(rng.integers(*config.jpeg_quality)))
    return rounded


def _last(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (C, Y, X) as (Y, X) or (Y, X, 3)."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def _steps(exposure: Exposure, pedestal: float, gain: float, gamma: float) -> float:
    """Return the difference of 8-bit numbers between typical ground and typical bead."""
    ground = float(np.median(exposure.ground))
    first, second = (np.clip(pedestal + gain * at, 0, 1) ** gamma for at in (ground, ground + exposure.contrast))
    return 255 * abs(float(second - first))


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
