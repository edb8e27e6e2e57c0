"""A small dataset, and a configuration that trains in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset


@pytest.fixture(scope="session")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six small grey tiles, in a folder with a difficult name."""
    out = tmp_path_factory.mktemp("sweep") / "a b'c\"d$e" / "beads"
    scene = SceneConfig(height=64, width=64, beads=12, debris=0)
    write_dataset(out, SeriesConfig(scene=scene, tiles=6, dilutions=(320,), fields=3, seed=3))
    return out


@pytest.fixture(scope="session")
def dataset(beads: Path) -> Dataset:
    return Dataset.open(beads)
