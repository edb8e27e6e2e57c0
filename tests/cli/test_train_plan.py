"""`train --plan` says what `train` then does, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

TINY = ["--epochs", "1", "--set", "epoch.steps=2", "--set", "batch=2", "--set", "network.width=4"]


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("plan") / "beads"
    scene = SceneConfig(height=96, width=96, beads=20, debris=0)
    write_dataset(out, SeriesConfig(scene=scene, tiles=6, dilutions=(640,), fields=2, seed=3))
    return out


def test_the_plan_is_what_a_training_then_does(beads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["train", str(beads), "--out", str(run), *TINY, "--plan", "--json"]) == 0
    assert not run.exists()
    told = json.loads(capsys.readouterr().out.splitlines()[-1])["data"]["plan"]
    assert main(["train", str(beads), "--out", str(run), *TINY, "--quiet", "--threads", "1"]) == 0
    written = json.loads((run / files.PLAN).read_text())
    assert (told["planned"], told["fingerprint"]) == (written["planned"], written["fingerprint"])
    assert TrainConfig.parse(told["config"]) == TrainConfig.from_file(run / files.CONFIG)
    assert all(item["reason"] for item in told["planned"])


def test_the_plan_is_told_to_a_person(beads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(beads), "--out", str(tmp_path / "run"), "--plan", "--model", "all", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("Planned network.depth = ") == 3
    assert "training and" in printed
    assert list(tmp_path.iterdir()) == []
