"""Small simulated data sets and configurations for the training tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

TINY = [
    "epochs=3", "epoch.steps=4", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3", "precision=fp32",
    "optimizer.lr=1e-2",
]  # fmt: skip


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of eight small tiles from four fields of view."""
    out = tmp_path_factory.mktemp("training") / "beads"
    scene = SceneConfig(height=96, width=96, beads=25, debris=0)
    write_dataset(out, SeriesConfig(scene=scene, tiles=8, dilutions=(320, 640), fields=2, seed=3))
    return out


@pytest.fixture(scope="session")
def dataset(folder: Path) -> Dataset:
    return Dataset.open(folder)


@pytest.fixture(scope="session")
def tiny() -> TrainConfig:
    """A configuration that trains in seconds."""
    return TrainConfig.preset("dense", "unet").with_overrides(TINY)
