"""The tiles of the counting benchmark: some looks for training, another for the test, the same densities in all."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, plan
from beadseg.data.simulate.series import write_tiles

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.events import Event

DIAMETER = 7.0
"""Bead diameter, px; centres are matched within half of it."""
BEADS = 1000
"""Expected beads in a tile of the densest class."""
DILUTIONS = (1, 3, 10, 33, 100)
"""The classes: 1000, 333, 100, 30 and 10 beads expected in a tile of 512x512 px."""
TRAINING_SCENE = SceneConfig(beads=BEADS, diameter_px=DIAMETER)
"""The simulator's own look: beads may overlap by up to 30 % of their diameter."""
TRAINING_LOOKS = (
    TRAINING_SCENE,
    TRAINING_SCENE.replace(
        contrast=0.65,
        channel_contrast=(0.9, 1.0, 0.6),
        halo=0.06,
        defocus_px=1.35,
        background_min=60.0,
        background_max=110.0,
        debris=3.0,
        read_noise=1.5,
        shot_noise=4.0,
        upscaling=2.3,
        jpeg_quality=95,
    ),
    TRAINING_SCENE.replace(
        contrast=0.4,
        contrast_spread=0.2,
        channel_contrast=(0.6, 1.0, 0.6),
        halo=0.16,
        defocus_px=1.9,
        diameter_spread=0.1,
        background_min=140.0,
        background_max=210.0,
        background_tint=(1.0, 0.95, 0.88),
        gradient=0.45,
        vignetting=0.3,
        debris=4.0,
        read_noise=4.0,
        shot_noise=8.0,
        upscaling=1.4,
        jpeg_quality=70,
    ),
)
"""What a laboratory has that has photographed for a while: also sharper and blurred sessions, clean and noisy ones."""
TEST_SCENE = TRAINING_SCENE.replace(
    contrast=0.45,
    contrast_spread=0.18,
    channel_contrast=(0.7, 1.0, 0.5),
    halo=0.13,
    defocus_px=1.75,
    defocus_spread_px=0.3,
    tilt_px=0.5,
    lateral_shift_px=0.7,
    diameter_spread=0.08,
    cluster_probability=0.35,
    background_min=110.0,
    background_max=190.0,
    background_tint=(1.0, 0.97, 0.92),
    gradient=0.35,
    vignetting=0.2,
    debris=1.5,
    read_noise=3.0,
    shot_noise=6.5,
    upscaling=1.7,
    jpeg_quality=80,
)
"""Against the first: lower contrast, more blur and noise, other light, colours, enlargement and compression, more beads
in contact. None of the training's looks, though most of it lies between them."""
TRAINING_SEED, TEST_SEED = 0, 2000


@dataclass(frozen=True, eq=False)
class Tile:
    """One tile and what is really in it.

    Attributes
    ----------
    name : str
        Stem of its files.
    expected : int
        Its class: beads expected in such a tile.
    pixels : (C, Y, X) uint8
        The image.
    centres : (N, 2) float64
        True centres (y, x), px.
    """

    name: str
    expected: int
    pixels: NDArray[np.uint8]
    centres: NDArray[np.float64]


def make(folder: Path, scenes: Sequence[SceneConfig], tiles: int, fields: int, seed: int) -> Path:
    """Simulate the tiles as a dataset folder, unless they are there from an earlier call; return the folder.

    Every scene gets its share of the tiles, `fields` fields of view of every density, and the next seed.

    Raises
    ------
    SystemExit
        The folder holds tiles of other scenes, another number or seed.
    """
    series = [
        SeriesConfig(scene=scene, tiles=tiles // len(scenes), dilutions=DILUTIONS, fields=fields, seed=seed + number)
        for number, scene in enumerate(scenes)
    ]
    recipe = {"series": [one.model_dump(mode="json") for one in series]}
    if not (folder / files.SCENES).exists():
        write_tiles(folder, [tile for one in series for tile in plan(one)], recipe, on_event=_tell)
    elif json.loads((folder / files.SCENES).read_text(encoding="utf-8"))["series"] != recipe["series"]:
        raise SystemExit(f"{folder} holds tiles of other settings: give another --out.")
    return folder


def read(folder: Path) -> list[Tile]:
    """Return the tiles of a folder, sparse ones first."""
    images = json.loads((folder / files.SCENES).read_text(encoding="utf-8"))["images"]
    expected = {image["sample"]: round(image["expected_beads"]) for image in images}
    truth = pd.read_csv(folder / files.TRUTH)
    centres = {name: beads[["y", "x"]].to_numpy() for name, beads in truth.groupby("sample")}
    tiles = []
    for sample in Dataset.open(folder):
        pixels = next(plane for _, plane in sample.read_image().planes())
        tiles.append(Tile(sample.name, expected[sample.name], pixels, centres.get(sample.name, np.empty((0, 2)))))
    return sorted(tiles, key=lambda tile: (tile.expected, tile.name))


def _tell(event: Event) -> None:
    if event.kind == "result":
        print(event.message, flush=True)
