"""The ground before compression: quantisation moves its level, so what is seen is not what is to be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beadseg.data.simulate.like import blocks, colour, ground, noise

if TYPE_CHECKING:
    from beadseg.data.simulate.like.document import Compression, Noise

SIDE = 256
"""Side of the images that a level is tried in, px."""
TRIALS = 5
"""Corrections of the level …"""
STEP = 0.7
"""… and the share of the difference that each of them makes up for."""

Floats = NDArray[np.float64]


def before(light: Floats, grain: Noise, gain: Floats, compression: Compression | None, sign: float) -> Floats:
    """Return the ground's polynomial (C, 10) to draw, so that after noise and compression `light` (C, 10) is seen.

    Parameters
    ----------
    light : numpy.ndarray
        (C, 10) polynomial that `ground.fit` found in the image.
    grain, gain : Noise, numpy.ndarray
        Its noise, and the factor (C,) on it.
    sign : float
        As for `ground.fit`.
    """
    if compression is None:
        return light
    drawn = light.copy()
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        level = colour.to_ycc(ground.surface(drawn, (SIDE, SIDE)))
        field = noise.draw(grain, (SIDE, SIDE), compression.chroma_step, (0, 0), rng)
        image = blocks.compress(level + gain[:, None, None] * field, compression, (0, 0))
        seen = ground.fit(np.rint(colour.to_rgb(image)), sign)
        drawn += STEP * (light - seen)
    return drawn
