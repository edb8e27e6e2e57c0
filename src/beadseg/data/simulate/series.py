"""A dilution series: which images are simulated, how many beads each should have, and which share a field of view."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from beadseg.config.base import Config
from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.scene import Scene, simulate
from beadseg.data.simulate.view import FieldOfView, Window
from beadseg.errors import InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

Dilution = Annotated[int, Field(ge=1, le=10**9)]


class SeriesConfig(Config):
    """A dilution series: tiles spread evenly over fields of view, and these over dilution factors."""

    scene: SceneConfig = SceneConfig()
    """The images; ``scene.beads`` are expected in one tile of the least diluted step."""
    tiles: Annotated[int, Field(ge=1, le=10**6, title="Tiles")] = 24
    """Number of images in all."""
    dilutions: Annotated[tuple[Dilution, ...], Field(min_length=1, title="Dilutions")] = (320, 640, 1280)
    """Dilution factors: at factor f a tile has ``scene.beads * min(dilutions) / f`` beads expected."""
    fields: Annotated[int, Field(ge=1, le=10**4, title="Fields per dilution")] = 2
    """Fields of view photographed of every dilution; each has light and optics of its own."""
    seed: Annotated[int, Field(ge=0, title="Seed")] = 0
    """Seed of everything random."""


@dataclass(frozen=True)
class Tile:
    """One image to be simulated.

    Attributes
    ----------
    name : str
        Stem of its files: ``{dilution}x_{series}_grid_r{row}_c{column}``.
    field : str
        Name of its field of view: all of `name` before ``_grid``.
    dilution : int
        Dilution factor.
    config : SceneConfig
        The scene, with the beads expected at this dilution.
    seed : int
        Seed of the scene.
    window : Window
        Its place in the field of view.
    """

    name: str
    field: str
    dilution: int
    config: SceneConfig
    seed: int
    window: Window

    def simulate(self) -> Scene:
        """Simulate the image."""
        return simulate(self.config, self.seed, self.window)

    def describe(self) -> dict[str, object]:
        """Return what the list of scenes says of it beside name, seed and beads."""
        return {"window": asdict(self.window)}


def plan(series: SeriesConfig) -> list[Tile]:
    """Return the tiles of a series, in order of dilution, field of view, row and column.

    Raises
    ------
    InputError
        When a dilution is named twice, or there are fewer tiles than fields of view.
    """
    views = len(series.dilutions) * series.fields
    if len(set(series.dilutions)) < len(series.dilutions):
        raise InputError(f"A dilution is named twice in {list(series.dilutions)}.", "dilutions", "Name each once.")
    if series.tiles < views:
        raise InputError(
            f"{plural(series.tiles, 'tile')}: too few for {plural(len(series.dilutions), 'dilution')} "
            f"x {plural(series.fields, 'field of view')}.",
            "tiles",
            f"Ask for {plural(views, 'tile')} or more, or for fewer dilutions or fields.",
        )
    sizes = [series.tiles // views + (index < series.tiles % views) for index in range(views)]
    tiles: list[Tile] = []
    for index, size in enumerate(sizes):
        tiles.extend(_field(series, series.dilutions[index // series.fields], index % series.fields, size))
    return tiles


def _field(series: SeriesConfig, dilution: int, number: int, size: int) -> Iterator[Tile]:
    """Yield the `size` tiles of one field of view, cut into a grid as square as possible."""
    places = grid(size)
    rows, columns = (last + 1 for last in np.max(places, axis=0).tolist())
    config = series.scene.replace(beads=series.scene.beads * min(series.dilutions) / dilution)
    # Seeds hang on what the tile is, not on its place in the list: another dilution more does not change the others.
    view = FieldOfView.draw(config, seed_of(series.seed, dilution, number), rows, columns)
    name = f"{dilution}x_simulated-s{series.seed}-{number + 1:03d}"
    for row, column in places:
        window = Window(view, row * config.height, column * config.width)
        seed = seed_of(series.seed, dilution, number, row, column)
        yield Tile(f"{name}_grid_r{row}_c{column}", name, dilution, config, seed, window)


def grid(size: int) -> list[tuple[int, int]]:
    """Return row and column of the `size` tiles of a field of view, cut into a grid as square as possible."""
    columns = math.ceil(math.sqrt(size))
    return [divmod(index, columns) for index in range(size)]


def seed_of(*parts: int) -> int:
    """Return a seed that hangs on all `parts`."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])
