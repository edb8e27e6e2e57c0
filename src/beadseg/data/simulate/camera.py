"""From light to a file's numbers: sensor noise, enlargement, rounding and JPEG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

WHITE = 255.0
"""Full scale in 8-bit grey levels."""

Floats = NDArray[np.float64]


def expose(light: Floats, config: SceneConfig, rng: np.random.Generator) -> Floats:
    """Return the sensor's reading of `light` (Y, X, ...), both in 8-bit grey levels: photon noise, then read noise."""
    variance = config.read_noise**2 + config.shot_noise**2 * np.clip(light, 0.0, None) / WHITE
    reading: Floats = light + np.sqrt(variance) * rng.standard_normal(light.shape)
    return reading


def enlarge(image: Floats, shape: tuple[int, int], factor: float) -> Floats:
    """Return `image` (Y, X, C) enlarged by `factor` to `shape`, linearly along each axis."""
    if factor == 1.0:
        return image
    for axis, size in enumerate(shape):
        position = np.clip((np.arange(size) + 0.5) / factor - 0.5, 0, image.shape[axis] - 1)
        low = np.minimum(position.astype(np.intp), max(image.shape[axis] - 2, 0))
        weight = (position - low).reshape([-1 if axis == other else 1 for other in range(image.ndim)])
        high = np.minimum(low + 1, image.shape[axis] - 1)
        image = (1.0 - weight) * image.take(low, axis) + weight * image.take(high, axis)
    return image


def develop(image: Floats, config: SceneConfig) -> NDArray[Any]:
    """Return the file's numbers, uint8 or uint16, (Y, X) or (Y, X, 3), from 8-bit grey levels (Y, X, C)."""
    if image.shape[2] == 1:
        image = image[:, :, 0]
    if config.bit_depth == 16:
        return np.rint(np.clip(image, 0, WHITE) * 257.0).astype(np.uint16)
    rounded = np.rint(np.clip(image, 0, WHITE)).astype(np.uint8)
    return rounded if config.jpeg_quality is None else _through_jpeg(rounded, config.jpeg_quality)


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[Any]:
    encoded = iio.imwrite("<bytes>", image, extension=".jpg", quality=quality)
    decoded: NDArray[Any] = iio.imread(encoded, extension=".jpg")
    return decoded
