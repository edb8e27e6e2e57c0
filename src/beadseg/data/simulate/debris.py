"""Things in the image that are not beads: irregular specks and fibres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

Floats = NDArray[np.float64]


def draw(config: SceneConfig, shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Floats:
    """Return the contrast (Y, X) of all debris, 0 where there is none, on a grid of `scale` image px per pixel."""
    layer = np.zeros(shape)
    for _ in range(int(rng.poisson(config.debris))):
        centre = rng.uniform((0.0, 0.0), shape)
        contrast = config.debris_contrast * rng.uniform(0.5, 1.3)
        size = config.debris_size_px / scale * rng.uniform(0.5, 1.6)
        outline = _fibre if rng.random() < config.fibre_share else _speck
        _paste(layer, outline(size, rng) * min(contrast, 0.95), centre)
    return layer


def _grid(half: float) -> tuple[Floats, Floats]:
    axis = np.arange(-int(np.ceil(half)), int(np.ceil(half)) + 1, dtype=np.float64)
    return axis[:, None], axis[None, :]


def _speck(size: float, rng: np.random.Generator) -> Floats:
    """Return an irregular blot, 0-1: a radius that varies with the angle, and a mottled inside."""
    y, x = _grid(1.5 * size + 3)
    angle = np.arctan2(y, x)
    radius = np.full(angle.shape, size / 2)
    for order in (2, 3, 4, 5):
        radius += size / 2 * rng.normal(0.0, 0.25 / order**0.5) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    inside = expit((np.maximum(radius, 0.1 * size) - np.hypot(y, x)) / 0.6)
    mottle = gaussian_filter(rng.standard_normal(inside.shape), max(size / 8, 0.5))
    blot: Floats = inside * np.clip(0.8 + 0.25 * mottle / max(float(mottle.std()), 1e-9), 0.2, 1.2)
    return blot


def _fibre(size: float, rng: np.random.Generator) -> Floats:
    """Return a thin curved thread, 0-1."""
    length = 4.0 * size
    width = max(size / 10, 0.7)
    points = max(int(2 * length), 8)
    bends = rng.normal(0.0, 0.6 / np.sqrt(points), points) + rng.normal(0.0, 0.015)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
    path = np.cumsum(np.stack((np.sin(heading), np.cos(heading))), axis=1) * (length / points)
    path -= path.mean(axis=1, keepdims=True)
    y, x = _grid(float(np.abs(path).max()) + 4 * width)
    nearest = np.full((y.size, x.size), np.inf)
    for row, column in path.T:
        np.minimum(nearest, (y - row) ** 2 + (x - column) ** 2, out=nearest)
    thread: Floats = np.exp(-0.5 * nearest / width**2)
    return thread


def _paste(layer: Floats, patch: Floats, centre: Floats) -> None:
    """Lay `patch` over `layer`, the stronger of the two at each pixel; what lies outside is cut off."""
    top, left = (round(float(at)) - side // 2 for at, side in zip(centre, patch.shape, strict=True))
    rows = slice(max(top, 0), min(top + patch.shape[0], layer.shape[0]))
    columns = slice(max(left, 0), min(left + patch.shape[1], layer.shape[1]))
    part = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    layer[rows, columns] = np.maximum(layer[rows, columns], part)
