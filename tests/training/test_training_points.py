"""Training on bead centres alone: the general model fills in the areas, and what is scored is counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import ExitCode
from beadseg.measure.beads import bead_table
from beadseg.training import train
from beadseg.training.batches import load_images
from beadseg.training.prepare import prepare

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.training.run import Run

QUICK = ["epochs=1", "epoch.steps=2", "epoch.size=64", "batch=2", "precision=fp32", "optimizer.lr=1e-5"]


@pytest.fixture(scope="module")
def pointed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset of the training tests with a table of centres in place of every label image."""
    root = tmp_path_factory.mktemp("pointed")
    (root / "images").mkdir()
    (root / "points").mkdir()
    for sample in Dataset.open(folder):
        (root / "images" / sample.image_path.name).write_bytes(sample.image_path.read_bytes())
        centres = bead_table(sample.read_target().labels)[["y", "x"]]
        centres.to_csv(root / "points" / f"{sample.name}.csv", index=False)
    return root


@pytest.fixture(scope="module")
def run(pointed: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = TrainConfig.preset("dense").with_overrides(QUICK)
    return train(Dataset.open(pointed), config, tmp_path_factory.mktemp("runs") / "points", device="cpu")


def test_areas_are_filled_in_and_centres_are_those_annotated(pointed: Path, folder: Path) -> None:
    dataset, truth = Dataset.open(pointed), Dataset.open(folder)
    prepared = prepare(dataset, TrainConfig.preset("dense").with_overrides(QUICK))
    known = prepare(truth, TrainConfig.preset("dense").with_overrides(QUICK))
    assert prepared.fingerprint.bead_diameter_px == pytest.approx(known.fingerprint.bead_diameter_px, rel=0.35)
    assert dict(prepared.objects) == dict(known.objects)
    assert prepared.config.stop.metric == "f1"
    assert "points alone" in prepared.lines()[0]
    image = load_images([dataset.samples[0]], prepared.config)[0]
    target = truth.samples[0].read_target()
    assert not image.areas
    assert image.certain is not None
    assert image.certain.all()
    assert len(image.beads) == target.objects
    sure = image.counted > 0
    assert sure.mean() > 0.85
    agree = (image.foreground > 0) == target.foreground
    assert agree[sure].mean() > 0.9


def test_a_run_on_points_scores_counts_and_withholds_what_needs_areas(run: Run) -> None:
    row = run.history[-1]
    assert row["val_f1"] > 0.5
    assert not any(name.startswith(("val_jaccard", "val_dice", "train_jaccard")) for name in row)
    assert {item.field for item in run.planned} >= {"stop.metric"}


def test_predictions_are_scored_against_points(
    run: Run, pointed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "counts"
    assert main(["predict", str(run.folder), str(pointed / "images"), "--out", str(out), "--quiet"]) in (0, 5)
    capsys.readouterr()
    assert main(["evaluate", str(out), str(pointed)]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "The truth of 8 images is points: no Jaccard, Dice or AP there." in printed
    assert "Mean over fields: Jaccard -, Dice -, F1 0." in printed
    document = json.loads((out / "evaluation" / files.EVALUATION).read_text())
    overall = document["groups"][0]
    assert overall["jaccard_images"] is None
    assert overall["f1"] > 0.6
    table = pd.read_csv(out / "evaluation" / files.EVALUATION_IMAGES)
    assert table["jaccard"].isna().all()
    assert np.isfinite(table["f1"]).all()
    assert "is points" in (out / "evaluation" / files.REPORT_PAGE).read_text(encoding="utf-8")
