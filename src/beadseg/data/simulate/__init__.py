"""Simulated microscope images of beads with known instances."""

from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.scene import Scene, simulate
from beadseg.data.simulate.series import SeriesConfig, Tile, plan
from beadseg.data.simulate.view import FieldOfView, Window
from beadseg.data.simulate.write import TRUTH_COLUMNS, write_dataset

__all__ = [
    "TRUTH_COLUMNS",
    "FieldOfView",
    "Scene",
    "SceneConfig",
    "SeriesConfig",
    "Tile",
    "Window",
    "plan",
    "simulate",
    "write_dataset",
]
