"""The two kinds of data that the laboratory's document compares, simulated: few large objects, and many small ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study_cells import FEW, MANY

from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 192
"""Side of an image, px."""
SMALL = 7.0
"""Diameter of the many objects, px; `MANY` of them cover 11.4 % of an image."""
TILES = 36


def scene(objects: float, diameter: float) -> SceneConfig:
    """Return exactly `objects` objects per image, all else alike."""
    return SceneConfig(height=SIDE, width=SIDE, beads=objects, poisson=False, diameter_px=diameter, debris=0.1)


def same_area(objects: int) -> float:
    """Return the diameter, px, at which `objects` objects cover as much as `MANY` of `SMALL` px."""
    return float(SMALL * (MANY / objects) ** 0.5)


def dense(folder: Path) -> Dataset:
    """Return 36 images of 47, 94 and 187 beads of 7 px, 109 on average, in six fields of view; made where missing."""
    return _made(folder, SeriesConfig(scene=scene(187, SMALL), tiles=TILES, dilutions=(1, 2, 4), fields=2))


def sparse(folder: Path) -> Dataset:
    """Return 36 images of 3 objects of 42 px on average, in six fields of view; made where missing."""
    objects = scene(FEW, same_area(FEW)).replace(diameter_spread=0.25)
    return _made(folder, SeriesConfig(scene=objects, tiles=TILES, dilutions=(1,), fields=6))


def _made(folder: Path, series: SeriesConfig) -> Dataset:
    if not (folder / files.SCENES).exists():
        write_dataset(folder, series)
    return Dataset.open(folder)
