"""What `general.py` counts: marked crops of real tiles, simulated looks, and folders of images with points."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg.data.image_io import read_image, read_labels
from beadseg.data.simulate.look_config import FAMILIES, LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Centres = NDArray[np.float64]

GOLD = Path(__file__).parent / "gold" / "beads.csv"
GOLD_DIAMETER = 7.5
"""Width of a bead of the marked tiles at half its depth, px."""
SPARSE = ("5120x_*", "10240x_*")
SPARSE_BEADS = 221
"""Beads of the development set's tiles at these dilutions, by the laboratory's masks."""
FIRST_SEED = 16_000_000_000
"""Of the simulated images; training counts its seeds from 0."""
DIAMETERS = (3.5, 110.0)
"""Of the simulated images, px, drawn logarithmically."""
SIDES = (128, 704)
"""Smallest and largest side of the simulated images, px; 24 bead diameters in between."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the beads of one image.

    Attributes
    ----------
    centres : (N, 2) float64
        Beads, (y, x) in px.
    diameters : (N,) float64
        px.
    certain : (N,) bool
        Whether a bead that is not found is missed, and one that is found a hit. Without it, neither.
    window : (y, x, height, width), optional
        Only this part of the image is judged; beads of `centres` outside it are never missed.
    ignore : (Y, X) bool, optional
        Finds here that are not beads are not counted as false either.
    """

    centres: Centres
    diameters: NDArray[np.float64]
    certain: NDArray[np.bool_]
    window: tuple[float, float, float, float] | None = None
    ignore: NDArray[np.bool_] | None = None

    @property
    def diameter(self) -> float:
        """Median bead diameter, px; 0 without beads."""
        return float(np.median(self.diameters)) if len(self.diameters) else 0.0


@dataclass(frozen=True, eq=False)
class Picture:
    """One image of a set."""

    name: str
    load: Callable[[], tuple[NDArray[np.generic], Truth]]
    """Return the pixels, (Y, X) or (C, Y, X), and what is known of them."""


def gold_set(tiles: Path) -> list[Picture]:
    """Return the tiles with marked crops."""
    return [Picture(name, partial(_tile, tiles, name, truth)) for name, truth in read_gold().items()]


def sparse_set(tiles: Path) -> list[Picture]:
    """Return the tiles of the two highest dilutions; nothing is known of them but the sum of their beads."""
    names = sorted(file.stem for pattern in SPARSE for file in tiles.glob(f"{pattern}.png"))
    return [Picture(name, partial(_tile, tiles, name, unknown())) for name in names]


def simulated_sets(images: int) -> dict[str, list[Picture]]:
    """Return random looks by family, `images` in all."""
    each = -(-images // len(FAMILIES))
    return {
        f"simulated: {family}": [
            Picture(f"{family}-{number}", partial(_look, family, FIRST_SEED + 1000 * at + number))
            for number in range(each)
        ]
        for at, family in enumerate(FAMILIES)
    }


def folder_sets(root: Path, most: int | None = None) -> dict[str, list[Picture]]:
    """Return ``root/NAME/images/*`` with ``points/STEM.csv`` or ``labels/STEM.*`` by name; of each at most `most`."""
    sets = {}
    for folder in sorted(path for path in root.iterdir() if (path / "images").is_dir()):
        files = sorted((folder / "images").iterdir())
        chosen = files if most is None else files[:: max(1, -(-len(files) // most))]
        sets[folder.name] = [Picture(file.stem, partial(_from_folder, file)) for file in chosen]
    return sets


def read_gold(path: Path = GOLD) -> dict[str, Truth]:
    """Return the marked beads by the name of their tile."""
    return {str(name): _crop(beads) for name, beads in pd.read_csv(path).groupby("sample", sort=False)}


def score(found: Centres, truth: Truth) -> Detection:
    """Match centres one to one within half a bead's diameter; certain beads come before doubtful ones."""
    sure, window = truth.certain, truth.window
    centres, reach = truth.centres[sure], np.maximum(truth.diameters[sure] / 2, 1.5)
    matched = match_points(found, centres, reach)
    judged = _inside(centres, window)
    hits = int(judged[matched.true].sum())
    left = np.delete(found, matched.predicted, axis=0)
    excused = match_points(left, truth.centres[~sure], np.maximum(truth.diameters[~sure] / 2, 1.5)).predicted
    wrong = np.delete(left, excused, axis=0)
    wrong = wrong[_inside(wrong, window)]
    if truth.ignore is not None and len(wrong):
        rows, columns = (np.clip(np.rint(wrong[:, k]).astype(int), 0, truth.ignore.shape[k] - 1) for k in (0, 1))
        wrong = wrong[~truth.ignore[rows, columns]]
    return Detection(hits, len(wrong), int(judged.sum()) - hits)


def _tile(tiles: Path, name: str, truth: Truth) -> tuple[NDArray[np.generic], Truth]:
    return read_image(tiles / f"{name}.png").data, truth


def unknown() -> Truth:
    """Return that nothing is known of an image, or that it has no beads."""
    return Truth(np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool))


def _crop(beads: pd.DataFrame) -> Truth:
    y, x, size = (float(beads[column].iloc[0]) for column in ("crop_y", "crop_x", "crop_size"))
    centres, certain = beads[["y", "x"]].to_numpy(np.float64), beads["certain"].to_numpy() == 1
    return Truth(centres, np.full(len(beads), GOLD_DIAMETER), certain, (y - 0.5, x - 0.5, size, size))


def look_config(family: str, seed: int) -> LookConfig:
    """Return ranges that training did not have: other sizes, more light falloff, fringes, enlargement and compression.

    Overlaps reach 30 % of the diameter. The limit of what can be seen is the simulator's own.
    """
    rng = np.random.default_rng((seed, 16))
    diameter = float(np.exp(rng.uniform(*np.log(DIAMETERS))))
    return LookConfig.parse(
        {
            "side": int(np.clip(24 * diameter, *SIDES)),
            "families": {family: 1.0},
            "empty": 0.0,
            "cells": 0.0,  # they are of several families
            "diameter": (0.999 * diameter, 1.001 * diameter),
            "labelled": (0.1, 1e4),
            "ignored": (0.0, 1e5),
            "overlap": (0.0, 0.3),
            "contrast": (0.07, 0.9),
            "uneven": (0.0, 0.5),
            "vignette": (0.0, 0.35),
            "fringe": (0.0, 0.15),
            "enlargement": (1.1, 3.0),
            "jpeg_quality": (max(35, round(100 - 6 * diameter)), 98),
            "pedestal": (0.0, 0.2),
            "gamma": (0.5, 1.8),
        },
        "general.py",
    )


def _look(family: str, seed: int) -> tuple[NDArray[np.generic], Truth]:
    look = draw_look(look_config(family, seed), seed)
    image = np.moveaxis(look.image, -1, 0) if look.image.ndim == 3 else look.image
    centres = look.centres.astype(np.float64)
    rows, columns = (np.clip(np.rint(centres[:, k]).astype(int), 0, look.ignore.shape[k] - 1) for k in (0, 1))
    return image, Truth(centres, look.diameters.astype(np.float64), ~look.ignore[rows, columns], ignore=look.ignore)


def _from_folder(file: Path) -> tuple[NDArray[np.generic], Truth]:
    image = read_image(file).data
    points = file.parents[1] / "points" / f"{file.stem}.csv"
    if points.exists():
        return image, _points(pd.read_csv(points))
    labels = read_labels(next((file.parents[1] / "labels").glob(f"{file.stem}.*"))).labels
    if labels is None:
        sys.exit(f"{file}: its labels have no ids.")
    return image, _points(bead_table(labels).rename(columns={"equivalent_diameter_px": "diameter"}))


def _points(beads: pd.DataFrame) -> Truth:
    centres = beads[["y", "x"]].to_numpy(np.float64)
    certain = beads["certain"].to_numpy() == 1 if "certain" in beads else np.ones(len(beads), bool)
    if "diameter" in beads:
        return Truth(centres, beads["diameter"].to_numpy(np.float64), certain)
    apart = np.sqrt(((centres[:, None] - centres) ** 2).sum(axis=2)) + 1e9 * np.eye(len(centres))
    near = np.median(apart.min(axis=1)) if len(centres) > 1 else 10.0
    return Truth(centres, np.full(len(centres), near), certain)


def _inside(points: Centres, window: tuple[float, float, float, float] | None) -> NDArray[np.bool_]:
    if window is None:
        return np.ones(len(points), bool)
    y, x, height, width = window
    return (points[:, 0] >= y) & (points[:, 0] < y + height) & (points[:, 1] >= x) & (points[:, 1] < x + width)
