"""One simulated image with its truth: a window of a field of view, its beads, and the camera that takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beadseg.data.simulate import particles
from beadseg.data.simulate.particles import Beads, place

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

Floats = NDArray[np.float64]

WHITE = 255.0
"""Full scale in 8-bit grey levels."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A simulated image and what is really in it.

    Attributes
    ----------
    image : numpy.ndarray
        (Y, X) or (Y, X, 3), uint8 or uint16.
    labels : numpy.ndarray
        (Y, X) uint32, 0 is ground; where beads overlap, the one on top has the pixel.
    beads : pandas.DataFrame
        One row per label: ``id, y, x, diameter_px, defocus_px, visible_area`` (px of the label). A bead of which no
        pixel is visible is drawn but not listed.
    """

    image: NDArray[Any]
    labels: NDArray[np.uint32]
    beads: pd.DataFrame


def simulate(config: SceneConfig, seed: int, window: Window | None = None) -> Scene:
    """Simulate one image.

    Parameters
    ----------
    config : SceneConfig
        What the image looks like.
    seed : int
        Non-negative. The same configuration, seed and window give the same image.
    window : Window, optional
        The image's place in a field of view that it shares with other tiles; by default it is one by itself.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    view = window or Window(FieldOfView.draw(config, seed))
    # Streams of their own: to change the debris or the noise does not move the beads.
    placing, looks, dirt, noise = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence((seed, 0)).spawn(4)
    )
    beads = place(config, placing)
    sigma, contrast = _looks(config, view, beads, looks)
    light = _light(config, view, beads, sigma, contrast, dirt)
    shape = (config.height, config.width)
    image = develop(enlarge(expose(light, config, noise), shape, config.upscaling), config)
    return Scene(image, *truth(shape, beads, sigma))


def _looks(config: SceneConfig, view: Window, beads: Beads, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return the blur's sigma, px, and the contrast of every bead."""
    tilt = config.tilt_px * (0.5 + view.along(view.field.tilt_angle, beads.y, beads.x))
    sigma = np.abs(rng.normal(config.defocus_px, config.defocus_spread_px, len(beads))) + tilt
    contrast = config.contrast * np.clip(rng.normal(1.0, config.contrast_spread, len(beads)), 0.3, 1.7)
    return sigma, np.minimum(contrast, 0.98) if config.polarity == "dark" else contrast


def _light(
    config: SceneConfig, view: Window, beads: Beads, sigma: Floats, contrast: Floats, rng: np.random.Generator
) -> Floats:
    """Return the light (Y, X, C) that reaches the sensor, on the sensor's own grid, 8-bit grey levels."""
    scale = config.upscaling
    shape = (int(np.ceil(config.height / scale)), int(np.ceil(config.width / scale)))
    y, x = (((np.arange(side) + 0.5) * scale - 0.5) for side in shape)
    ground = view.light(config, y[:, None], x[None, :])
    dirt = particles.draw_debris(config, shape, scale, rng)
    colours = (1,) if config.channels == "grey" else (0, 1, 2)
    layers = []
    for colour in colours:
        share = 1.0 if config.channels == "grey" else config.channel_contrast[colour]
        tint = 1.0 if config.channels == "grey" else config.background_tint[colour]
        stamps = _stamps(config, view, beads, sigma, contrast * share, colour - 1)
        layers.append(ground * tint * _effect(config, particles.draw_beads(shape, stamps, config.halo), dirt * share))
    return np.stack(layers, axis=2)


def _stamps(
    config: SceneConfig, view: Window, beads: Beads, sigma: Floats, contrast: Floats, side: int
) -> particles.Stamps:
    """Return the beads as seen in one colour (`side` -1 red, 0 green, 1 blue) on the sensor's grid."""
    scale = config.upscaling
    v, u = view.centred(beads.y, beads.x)
    shift, angle = side * config.lateral_shift_px, view.field.colour_angle
    y = beads.y - side * config.lateral_scale * v + shift * np.sin(angle)
    x = beads.x - side * config.lateral_scale * u + shift * np.cos(angle)
    # Dark beads absorb: their optical densities add up where they overlap. Bright ones add light.
    amplitude = -np.log1p(-contrast) if config.polarity == "dark" else contrast
    radius = beads.diameter / 2 / scale
    return particles.Stamps((y + 0.5) / scale - 0.5, (x + 0.5) / scale - 0.5, radius, sigma / scale, amplitude)


def _effect(config: SceneConfig, beads: Floats, dirt: Floats) -> Floats:
    """Return the factor on the ground's light."""
    if config.polarity == "dark":
        factor: Floats = np.exp(-beads) * (1.0 - dirt)
        return factor
    return np.clip(1.0 + beads + dirt, 0.0, None)


def truth(shape: tuple[int, int], beads: Beads, sigma: Floats) -> tuple[NDArray[np.uint32], pd.DataFrame]:
    """Return labels numbered without gaps and the table of the visible beads; `sigma` (N,) is their blur, px."""
    labels = particles.label_beads(shape, beads.y, beads.x, beads.diameter)
    area = np.bincount(labels.reshape(-1), minlength=len(beads) + 1)[1:]
    visible = np.flatnonzero(area)
    names = np.zeros(len(beads) + 1, dtype=np.uint32)
    names[visible + 1] = np.arange(1, len(visible) + 1)
    table = pd.DataFrame(
        {
            "id": names[visible + 1],
            "y": beads.y[visible],
            "x": beads.x[visible],
            "diameter_px": beads.diameter[visible],
            "defocus_px": sigma[visible],
            "visible_area": area[visible],
        }
    )
    return names[labels], table


@dataclass(frozen=True)
class FieldOfView:
    """The optics and the light of one photograph.

    Attributes
    ----------
    height, width : int
        Size of the whole field of view, px.
    level : float
        Mean level of the ground, 8-bit grey levels.
    light_angle, tilt_angle, colour_angle : float
        Directions of the light's gradient, of the slide's tilt and of the lateral colour shift, radians.
    """

    height: int
    width: int
    level: float
    light_angle: float
    tilt_angle: float
    colour_angle: float

    @classmethod
    def draw(cls, config: SceneConfig, seed: int, rows: int = 1, columns: int = 1) -> FieldOfView:
        """Draw a field of view of `rows` by `columns` tiles; the result depends on the arguments only."""
        rng = np.random.default_rng(np.random.SeedSequence((seed, 1)))
        level = float(rng.uniform(config.background_min, config.background_max))
        light, tilt, colour = (float(angle) for angle in rng.uniform(0.0, 2.0 * np.pi, 3))
        return cls(config.height * rows, config.width * columns, level, light, tilt, colour)


@dataclass(frozen=True)
class Window:
    """One tile of a field of view; `top` and `left` are its first row and column there, px."""

    field: FieldOfView
    top: int = 0
    left: int = 0

    def along(self, angle: float, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the position along a direction, -0.5 to 0.5 over the field of view, of tile coordinates."""
        v, u = self.centred(y, x)
        reach = abs(np.cos(angle)) * self.field.width + abs(np.sin(angle)) * self.field.height
        position: NDArray[np.floating] = (u * np.cos(angle) + v * np.sin(angle)) / reach
        return position

    def centred(
        self, y: NDArray[np.floating], x: NDArray[np.floating]
    ) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        """Return tile coordinates relative to the centre of the field of view, px."""
        return y + self.top - (self.field.height - 1) / 2, x + self.left - (self.field.width - 1) / 2

    def light(self, config: SceneConfig, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the level of the empty ground at tile coordinates, 8-bit grey levels."""
        v, u = self.centred(y, x)
        corner = (self.field.height**2 + self.field.width**2) / 4
        gradient = 1.0 + config.gradient * self.along(self.field.light_angle, y, x)
        ground: NDArray[np.floating] = self.field.level * gradient * (1.0 - config.vignetting * (u**2 + v**2) / corner)
        return ground


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
