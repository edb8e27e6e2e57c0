"""A dilution series, and a simulated dataset on disk: images, labels, a table of all beads, how to make it again."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
import pandas as pd
import tifffile
from pydantic import Field

from beadseg.config.base import Config
from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.scene import FieldOfView, Scene, Window, simulate
from beadseg.data.tiff import png_bytes
from beadseg.errors import InputError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.files import IMAGES, LABELS, SCENES, TRUTH, ensure_folder, write_atomically
from beadseg.runtime.locking import new_folder
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Dilution = Annotated[int, Field(ge=1, le=10**9)]

SCHEMA_VERSION = 1
"""Version of the document in `SCENES`."""
TRUTH_COLUMNS = (
    "sample", "field", "dilution", "id", "y", "x", "diameter_px", "defocus_px", "visible_area"
)  # fmt: skip
"""Columns of the table of beads: ``y, x`` of the centre, lengths in px, ``id`` is the value in the label image."""


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


class Simulated(Protocol):
    """A planned image: its name, what is expected in it, and how to make it."""

    @property
    def name(self) -> str:
        """Stem of its files."""

    @property
    def field(self) -> str:
        """Name of its field of view."""

    @property
    def dilution(self) -> int:
        """Dilution factor."""

    @property
    def config(self) -> SceneConfig:
        """The scene."""

    @property
    def seed(self) -> int:
        """Seed of the scene."""

    def simulate(self) -> Scene:
        """Simulate the image."""

    def describe(self) -> dict[str, object]:
        """Return what the list of scenes says of it beside name, seed and beads."""


def write_dataset(
    out: Path, series: SeriesConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> pd.DataFrame:
    """Simulate a dilution series and write it as a dataset folder.

    Parameters
    ----------
    out : pathlib.Path
        A new or empty folder. Gets ``images/*.png`` (``*.tif`` for 16 bit), ``labels/*.tif`` (uint32), ``truth.csv``
        (one row per bead, `TRUTH_COLUMNS`) and ``scenes.json`` (the configuration, and per image its seed and count).
    series : SeriesConfig
        What to simulate.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    pandas.DataFrame
        The table of beads as in ``truth.csv``.

    Raises
    ------
    InputError
        When the folder is not empty, or an image has no room for its beads.
    MachineError
        When the disk is full or the folder not writable.
    Cancelled
        When `stop` is set; nothing is written.
    """
    return write_tiles(out, plan(series), {"series": series.model_dump(mode="json")}, on_event, stop)


def write_tiles(
    out: Path,
    tiles: Sequence[Simulated],
    recipe: dict[str, Any],
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    more: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Simulate planned tiles and write them as `write_dataset` does; `recipe` goes into ``scenes.json``.

    `more` are texts of further files by name.
    """
    with new_folder(out) as unfinished:
        for folder in (IMAGES, LABELS):
            ensure_folder(unfinished / folder)
        tables, counts = _write_tiles(unfinished, tiles, on_event, stop)
        truth = pd.concat(tables, ignore_index=True) if tables else _empty_truth()
        scenes = json.dumps(_scenes(recipe, tiles, counts), indent=2) + "\n"
        for name, text in {TRUTH: csv_text(truth, "%.4f"), SCENES: scenes, **(more or {})}.items():
            write_atomically(unfinished / name, text)
    message = f"Wrote {plural(len(tiles), 'image')} with {plural(len(truth), 'bead')} to {out}."
    on_event(Event("result", message, data={"out": str(out), "images": len(tiles), "beads": len(truth)}))
    return truth


def _write_tiles(
    out: Path, tiles: Sequence[Simulated], on_event: OnEvent, stop: StopFlag | None
) -> tuple[list[pd.DataFrame], list[int]]:
    """Write the images and labels; return the beads of each image that has any, and the count of every image."""
    tables: list[pd.DataFrame] = []
    counts: list[int] = []
    for tile in track(tiles, "simulate", len(tiles), on_event, stop):
        scene = tile.simulate()
        _write_scene(out, tile.name, scene)
        counts.append(len(scene.beads))
        if len(scene.beads):
            names: dict[str, Any] = {"sample": tile.name, "field": tile.field, "dilution": tile.dilution}
            tables.append(scene.beads.assign(**names)[list(TRUTH_COLUMNS)])
    return tables, counts


def _write_scene(out: Path, name: str, scene: Scene) -> None:
    if scene.image.dtype == np.uint16:
        write_atomically(out / IMAGES / f"{name}.tif", lambda path: _write_tiff(path, scene.image))
    else:
        png = png_bytes(scene.image)
        write_atomically(out / IMAGES / f"{name}.png", png)
    write_atomically(out / LABELS / f"{name}.tif", lambda path: _write_tiff(path, scene.labels))


def _write_tiff(path: Path, image: NDArray[Any]) -> None:
    photometric = "rgb" if image.ndim == 3 else "minisblack"
    # Without date and software in the file, the same scene gives the same bytes.
    tifffile.imwrite(path, image, photometric=photometric, compression="zlib", metadata=None, software=False)


def _empty_truth() -> pd.DataFrame:
    return pd.DataFrame({column: [] for column in TRUTH_COLUMNS})


def _scenes(recipe: dict[str, Any], tiles: Sequence[Simulated], counts: list[int]) -> dict[str, Any]:
    images = [
        {
            "sample": tile.name,
            "field": tile.field,
            "dilution": tile.dilution,
            "expected_beads": tile.config.beads,
            "beads": count,
            "seed": tile.seed,
            **tile.describe(),
        }
        for tile, count in zip(tiles, counts, strict=True)
    ]
    return {"schema_version": SCHEMA_VERSION, **recipe, "images": images}
