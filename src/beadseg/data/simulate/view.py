"""The field of view: what all tiles of one photograph share, and where one tile lies in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.simulate.config import SceneConfig


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
