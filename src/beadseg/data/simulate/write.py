"""A simulated dataset on disk: images, instance labels, the table of all beads, and how to make it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import imageio.v3 as iio
import numpy as np
import pandas as pd
import tifffile

from beadseg.data.simulate.series import plan
from beadseg.errors import InputError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.files import IMAGES, LABELS, SCENES, TRUTH, ensure_folder, write_atomically
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.data.simulate.config import SceneConfig
    from beadseg.data.simulate.scene import Scene
    from beadseg.data.simulate.series import SeriesConfig

SCHEMA_VERSION = 1
"""Version of the document in `SCENES`."""
TRUTH_COLUMNS = (
    "sample", "field", "dilution", "id", "y", "x", "diameter_px", "defocus_px", "visible_area"
)  # fmt: skip
"""Columns of the table of beads: ``y, x`` of the centre, lengths in px, ``id`` is the value in the label image."""


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
        When `stop` is set; the images written so far stay, without ``truth.csv`` and ``scenes.json``.
    """
    return write_tiles(out, plan(series), {"series": series.model_dump(mode="json")}, on_event, stop)


def write_tiles(
    out: Path,
    tiles: Sequence[Simulated],
    recipe: dict[str, Any],
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> pd.DataFrame:
    """Simulate planned tiles and write them as `write_dataset` does; `recipe` goes into ``scenes.json``."""
    refuse_full(out)
    for folder in (IMAGES, LABELS):
        ensure_folder(out / folder)
    tables, counts = _write_tiles(out, tiles, on_event, stop)
    truth = pd.concat(tables, ignore_index=True) if tables else _empty_truth()
    write_atomically(out / TRUTH, csv_text(truth, "%.4f"))
    write_atomically(out / SCENES, json.dumps(_scenes(recipe, tiles, counts), indent=2) + "\n")
    message = f"Wrote {plural(len(tiles), 'image')} with {plural(len(truth), 'bead')} to {out}."
    on_event(Event("result", message, data={"out": str(out), "images": len(tiles), "beads": len(truth)}))
    return truth


def refuse_full(out: Path) -> None:
    """Raise `InputError` when the folder holds anything."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError("The folder is not empty.", out, "Choose a new or empty folder; nothing was written.")


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
        png = iio.imwrite("<bytes>", scene.image, extension=".png")
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
