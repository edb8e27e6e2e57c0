"""napari's sample data: simulated beads, with the true instances as labels, and a dataset to practise review on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from beadseg.widgets.io.layer_data import LayerData

SPARSE_BEADS, DENSE_BEADS = 60, 900
"""Beads in a tile of 512x512 px."""
DILUTIONS = (160, 320, 640, 1280)
"""Of the dilution series: the first has `SERIES_BEADS`, the others in proportion."""
SERIES_BEADS = 600


def sparse_tile() -> list[LayerData]:
    """Return a tile with few beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Sparse beads", SPARSE_BEADS, seed=1)


def dense_tile() -> list[LayerData]:
    """Return a tile full of touching beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Dense beads", DENSE_BEADS, seed=2)


def dilution_series() -> list[LayerData]:
    """Return a dilution series as a stack: (4, 512, 512, 3) uint8 images and (4, 512, 512) uint32 labels."""
    from beadseg.data.simulate import SceneConfig, SeriesConfig
    from beadseg.data.simulate.series import plan

    scene = SceneConfig(beads=SERIES_BEADS)
    tiles = plan(SeriesConfig(scene=scene, tiles=len(DILUTIONS), dilutions=DILUTIONS, fields=1, seed=3))
    scenes = [tile.simulate() for tile in tiles]
    metadata = {"beadseg": {"samples": [tile.name for tile in tiles]}}
    name = f"Dilution series {', '.join(f'{tile.dilution}x' for tile in tiles)}"
    shown = {"name": name, "rgb": True, "metadata": metadata}
    return [
        (np.stack([scene.image for scene in scenes]), shown, "image"),
        (np.stack([scene.labels for scene in scenes]), _truth(name) | {"metadata": metadata}, "labels"),
    ]


def flawed_dataset() -> list[LayerData]:
    """Write a dataset whose annotations have known faults into a new folder, and return its layers."""
    from beadseg.widgets.io.practice import write_practice
    from beadseg.widgets.io.read_dataset import read_dataset

    return read_dataset(write_practice())


def _tile(name: str, beads: int, seed: int) -> list[LayerData]:
    from beadseg.data.simulate import SceneConfig, simulate

    scene = simulate(SceneConfig(beads=beads), seed)
    return [
        (scene.image, {"name": name, "rgb": scene.image.ndim == 3}, "image"),
        (scene.labels, _truth(name), "labels"),
    ]


def _truth(name: str) -> dict[str, object]:
    return {"name": f"{name}: true instances", "opacity": 0.4}
