"""Where the beads of an image lie: side by side as the placement has them, and some of them on top of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beadseg.data.simulate.placement import Beads, place

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

STACKED_WITHIN = 0.55
"""Largest distance of a bead to the one that it lies on, in diameters."""

Floats = NDArray[np.float64]


def arrange(config: SceneConfig, contact: float, stacked: float, rng: np.random.Generator) -> Beads:
    """Return the beads of one image.

    Parameters
    ----------
    config : SceneConfig
        Size, number, diameter and clustering of the beads.
    contact : float
        Distance of two beads in contact, in diameters: what is seen of a bead may be smaller than it is.
    stacked : float
        Share of the beads that lie on another one, so that the two are hardly told apart.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    placed = place(config.replace(diameter_px=config.diameter_px * contact), rng)
    centres = np.stack((placed.y, placed.x), axis=1)
    for upper in np.flatnonzero(rng.random(len(placed)) < stacked):
        lower = int(rng.integers(len(placed)))
        if lower != upper:
            angle, distance = rng.uniform(0, 2 * np.pi), STACKED_WITHIN * config.diameter_px * np.sqrt(rng.random())
            moved = centres[lower] + distance * np.array([np.sin(angle), np.cos(angle)])
            centres[upper] = np.clip(moved, -0.5, np.array([config.height, config.width]) - 0.5000001)
    return Beads(centres[:, 0], centres[:, 1], placed.diameter / contact)
