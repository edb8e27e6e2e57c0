"""One simulated image with its truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from beadseg.data.simulate import camera, debris, optics
from beadseg.data.simulate.placement import Beads, place
from beadseg.data.simulate.view import FieldOfView, Window

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

Floats = NDArray[np.float64]


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
    image = camera.develop(camera.enlarge(camera.expose(light, config, noise), shape, config.upscaling), config)
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
    dirt = debris.draw(config, shape, scale, rng)
    colours = (1,) if config.channels == "grey" else (0, 1, 2)
    layers = []
    for colour in colours:
        share = 1.0 if config.channels == "grey" else config.channel_contrast[colour]
        tint = 1.0 if config.channels == "grey" else config.background_tint[colour]
        stamps = _stamps(config, view, beads, sigma, contrast * share, colour - 1)
        layers.append(ground * tint * _effect(config, optics.draw(shape, stamps, config.halo), dirt * share))
    return np.stack(layers, axis=2)


def _stamps(
    config: SceneConfig, view: Window, beads: Beads, sigma: Floats, contrast: Floats, side: int
) -> optics.Stamps:
    """Return the beads as seen in one colour (`side` -1 red, 0 green, 1 blue) on the sensor's grid."""
    scale = config.upscaling
    v, u = view.centred(beads.y, beads.x)
    shift, angle = side * config.lateral_shift_px, view.field.colour_angle
    y = beads.y - side * config.lateral_scale * v + shift * np.sin(angle)
    x = beads.x - side * config.lateral_scale * u + shift * np.cos(angle)
    # Dark beads absorb: their optical densities add up where they overlap. Bright ones add light.
    amplitude = -np.log1p(-contrast) if config.polarity == "dark" else contrast
    radius = beads.diameter / 2 / scale
    return optics.Stamps((y + 0.5) / scale - 0.5, (x + 0.5) / scale - 0.5, radius, sigma / scale, amplitude)


def _effect(config: SceneConfig, beads: Floats, dirt: Floats) -> Floats:
    """Return the factor on the ground's light."""
    if config.polarity == "dark":
        factor: Floats = np.exp(-beads) * (1.0 - dirt)
        return factor
    return np.clip(1.0 + beads + dirt, 0.0, None)


def truth(shape: tuple[int, int], beads: Beads, sigma: Floats) -> tuple[NDArray[np.uint32], pd.DataFrame]:
    """Return labels numbered without gaps and the table of the visible beads; `sigma` (N,) is their blur, px."""
    labels = optics.label(shape, beads.y, beads.x, beads.diameter)
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
