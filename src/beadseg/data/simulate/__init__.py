"""Simulated microscope images of beads with known instances."""

from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.scene import FieldOfView, Scene, Window, simulate
from beadseg.data.simulate.series import TRUTH_COLUMNS, SeriesConfig, Tile, plan, write_dataset

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
