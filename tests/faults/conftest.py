"""A tiny dataset, a tiny model, and the command line in this process: what a user sees when something is wrong."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from fault_helpers import TINY, Cli, Outcome

from beadseg import files
from beadseg.cli import app
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.predict.batch import find_images, predict_folder
from beadseg.predict.segmenter import Segmenter
from beadseg.training import train


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run `beadseg-batch` with these words."""

    def run(*words: str | Path) -> Outcome:
        given = [str(word) for word in words]
        threads = ["--threads", "1"] if given[0] in ("train", "predict", "crossval") else []
        quiet = [] if given[0] == "doctor" else ["--quiet"]
        code = app.main([*given, *threads, *quiet])
        captured = capsys.readouterr()
        return Outcome(int(code), captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six tiles with labels, two fields of view; not to be changed."""
    out = tmp_path_factory.mktemp("faults") / "beads"
    scene = SceneConfig(height=96, width=96, beads=20, debris=0, channels="grey")
    write_dataset(out, SeriesConfig(scene=scene, tiles=6, dilutions=(80,), fields=2, seed=1))
    return out


@pytest.fixture
def dataset(beads: Path, tmp_path: Path) -> Path:
    """A copy of the dataset, to be spoiled."""
    return Path(shutil.copytree(beads, tmp_path / "data"))


@pytest.fixture(scope="session")
def run_folder(beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a tiny network; not to be changed."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.preset("dense", "unet").with_overrides(TINY)
        return train(Dataset.open(beads), config, tmp_path_factory.mktemp("faults") / "run", device="cpu").folder
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def predicted(run_folder: Path, beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of all images of the dataset `beads`; not to be changed."""
    out = tmp_path_factory.mktemp("faults") / "predicted"
    segmenter = Segmenter.load(run_folder, device="cpu")
    predict_folder(segmenter, find_images([beads / "images"]), out, source=str(run_folder))
    return out


@pytest.fixture
def run_copy(run_folder: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be spoiled."""
    return Path(shutil.copytree(run_folder, tmp_path / "run"))


@pytest.fixture
def not_utf8(dataset: Path) -> str:
    """Give the first sample a name with a byte that is not UTF-8, where the file system takes one; return the name."""
    name = os.fsdecode(b"b\xff")
    try:
        for folder in (files.IMAGES, files.LABELS):
            first = sorted((dataset / folder).iterdir())[0]
            first.rename(first.with_name(name + first.suffix))
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    return name
