"""A run of a tiny network, trained once, and images of few and of many beads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest
import torch

from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, simulate, write_dataset
from beadseg.training import train

TINY = ["epochs=1", "epoch.steps=40", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
        "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; not to be changed."""
    folder = tmp_path_factory.mktemp("gui")
    scene = SceneConfig(height=96, width=96, beads=20, debris=0)
    write_dataset(folder / "beads", SeriesConfig(scene=scene, tiles=6, dilutions=(80,), fields=2, seed=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.preset("dense").with_overrides(TINY)
        return train(Dataset.open(folder / "beads"), config, folder / "run", device="cpu").folder
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(params=[12, pytest.param(260, marks=pytest.mark.slow)], ids=["few", "dense"])
def image_file(request: Any, tmp_path: Path) -> Path:
    """An image of few beads, and one of many that touch."""
    path = tmp_path / f"tile_{request.param}.png"
    iio.imwrite(path, simulate(SceneConfig(height=128, width=160, beads=request.param, debris=0), 7).image)
    return path
