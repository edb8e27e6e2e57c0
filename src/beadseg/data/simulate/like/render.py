"""Draw an image that looks like a measured data set; what is in it is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from beadseg.data.simulate import debris
from beadseg.data.simulate.camera import WHITE
from beadseg.data.simulate.like import blocks, colour, ground, noise, stamps
from beadseg.data.simulate.like.arrange import arrange
from beadseg.data.simulate.like.shapes import Shapes
from beadseg.data.simulate.scene import Scene, truth

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig
    from beadseg.data.simulate.like.document import FieldLikeness, Likeness, Look
    from beadseg.data.simulate.placement import Beads

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """How one tile looks: somewhere between two measured ones of a field of view.

    Attributes
    ----------
    likeness : Likeness
        What was measured.
    field : FieldLikeness
        The field of view.
    looks : tuple of Look
        Two of its tiles, which may be the same.
    share : float
        Share of the second one, 0-1.
    noise, contrast : float
        Factors on the measured noise, and on the density of beads.
    """

    likeness: Likeness
    field: FieldLikeness
    looks: tuple[Look, Look]
    share: float = 0.0
    noise: float = 1.0
    contrast: float = 1.0

    def mixed(self, first: Any, second: Any) -> Floats:
        """Return what lies between the numbers of the first and the second tile."""
        return (1.0 - self.share) * np.asarray(first, float) + self.share * np.asarray(second, float)


def render(appearance: Appearance, config: SceneConfig, seed: int) -> Scene:
    """Draw one image.

    Parameters
    ----------
    appearance : Appearance
        How it looks.
    config : SceneConfig
        Its size, the beads and how they lie together, and debris; all else is taken from `appearance`.
    seed : int
        Non-negative. The same arguments give the same image.

    Returns
    -------
    Scene
        ``defocus_px`` of its beads is NaN: the templates hold the blur.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    placing, looks, dirt, grain = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence((seed, 2)).spawn(4)
    )
    shape = (config.height, config.width)
    beads = arrange(config, appearance.field.contact, appearance.field.stacked, placing)
    off = _beads(appearance, beads, shape, looks) + _debris(appearance, config, shape, dirt)
    first, second = appearance.looks
    level = ground.surface(appearance.mixed(first.ground.numpy(), second.ground.numpy()), shape)
    sign = -1.0 if appearance.likeness.polarity == "dark" else 1.0
    image = _expose(appearance, ground.light(off, level, sign), grain)
    return Scene(_digits(image, appearance.likeness.bit_depth), *truth(shape, beads, np.full(len(beads), np.nan)))


def _beads(appearance: Appearance, beads: Beads, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the density (C, Y, X) of all beads."""
    likeness, (first, second) = appearance.likeness, appearance.looks
    shapes = Shapes(likeness.bead_mean.numpy(), likeness.bead_modes.numpy())
    mean = appearance.mixed(first.bead_mean, second.bead_mean)
    drawn = shapes.draw(mean, appearance.field.bead_samples.numpy(), len(beads), rng)
    return appearance.contrast * stamps.lay(shape, drawn, beads.y, beads.x)


def _debris(appearance: Appearance, config: SceneConfig, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the density (C, Y, X) of debris, of the beads' colour."""
    layer = debris.draw(config, shape, 1.0, rng)
    middle = appearance.likeness.bead_mean.numpy().max(axis=(1, 2))
    tint = middle / max(float(middle.mean()), 1e-9)
    return np.asarray(tint[:, None, None] * layer)


def _expose(appearance: Appearance, light: Floats, rng: np.random.Generator) -> Floats:
    """Add noise to light (C, Y, X), compress it, and return red, green and blue, or grey."""
    packed = appearance.field.compression
    offset = (0, 0) if packed is None else packed.offsets[int(rng.integers(len(packed.offsets)))]
    first, second = appearance.looks
    gain = appearance.noise * appearance.mixed(first.noise_gain, second.noise_gain)
    shape = (light.shape[1], light.shape[2])
    grain = noise.draw(appearance.field.noise, shape, noise.chroma_step(packed), offset, rng)
    image = colour.to_ycc(light) + gain[:, None, None] * grain
    return colour.to_rgb(image if packed is None else blocks.compress(image, packed, offset))


def _digits(image: Floats, bit_depth: int) -> NDArray[Any]:
    """Return the numbers of a file, (Y, X) or (Y, X, 3), uint8 or uint16, of 8-bit grey levels (C, Y, X)."""
    values = np.clip(image, 0.0, WHITE) * (1.0 if bit_depth == 8 else 257.0)
    digits = np.rint(values).astype(np.uint8 if bit_depth == 8 else np.uint16)
    return digits[0] if len(digits) == 1 else np.ascontiguousarray(np.moveaxis(digits, 0, 2))
