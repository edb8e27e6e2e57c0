"""Simulated images with their true beads as if a network had found them, plain and changed, for tests of appearance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from beadseg.config.train import ImageConfig, RgbConfig
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.measure.appearance import Appearance, appearance, sample_of
from beadseg.model.inputs import prepare

SCENE = SceneConfig(height=192, width=192, beads=90, debris=0)
COLOUR = CONFIG = ImageConfig(channels=RgbConfig())
Pixels = NDArray[np.generic]


def eight_bits(values: NDArray[np.floating]) -> Pixels:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def grey(image: Pixels) -> Pixels:
    return eight_bits(image @ np.array([0.299, 0.587, 0.114]))


def middle(image: Pixels) -> NDArray[np.float64]:
    return np.asarray(np.median(image, axis=(0, 1)))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "grey": grey,
    "grey as colour": lambda image: np.stack([grey(image)] * 3, axis=2),
    "green": lambda image: np.stack([0 * grey(image), grey(image), 0 * grey(image)], axis=2),
    "swapped": lambda image: image[:, :, ::-1],
    "gamma 1/2.2": lambda image: eight_bits(255 * (image / 255) ** (1 / 2.2)),
    "gamma 2.2": lambda image: eight_bits(255 * (image / 255) ** 2.2),
    "contrast / 3": lambda image: eight_bits(middle(image) + (image - middle(image)) / 3),
    "blur": lambda image: eight_bits(ndimage.gaussian_filter(image.astype(float), (2, 2, 0))),
    "inverted": lambda image: 255 - image,
    "offset": lambda image: image.astype(np.uint16) + 32768,
    "subtracted": lambda image: image.astype(np.int16) - middle(image).astype(np.int16),
    "overexposed": lambda image: eight_bits(image * 3.0),
    "half as bright": lambda image: eight_bits(image / 2),
}


def view(scene: SceneConfig, seed: int, change: str = "") -> tuple[Pixels, NDArray[np.uint32]]:
    """Return a plane (C, Y, X) and the true labels of an image."""
    made = simulate(scene, seed)
    image = CHANGES[change](made.image) if change else made.image
    return (image[np.newaxis] if image.ndim == 2 else np.moveaxis(image, -1, 0)), made.labels


def measured(scene: SceneConfig, seed: int, change: str = "") -> Appearance:
    """Return what an image looks like whose beads were all found."""
    plane, labels = view(scene, seed, change)
    sample = sample_of(plane, prepare(plane, CONFIG), CONFIG, 7.0)
    places = np.array(ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1))).reshape(-1, 2)
    return appearance(sample, labels, (labels > 0).astype(np.float32), None, places, 7.0)


def changed(change: str, seed: int) -> Appearance:
    return measured(SCENE, seed, change)
