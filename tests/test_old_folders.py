"""Run and prediction folders that an earlier version wrote can still be read: `old/` was written on 2026-11-30.

By ``simulate beads --tiles 4 --size 64 --beads 12 --dilutions 320,640 --fields 1``, ``train beads --out run`` with a
network of 4 channels for 120 steps, and ``predict run beads/images --out counts``. Left out: pages, figures, overlays,
``last.safetensors``, and all images but one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from beadseg import Segmenter, files, read_image
from beadseg.data.documents import read_results, read_sources
from beadseg.events import StopFlag, ignore
from beadseg.measure import density
from beadseg.report.pages import write_page
from beadseg.training import Run
from beadseg.widgets.io.folder_layers import read_prediction, read_run

OLD = Path(__file__).parent / "old"
IMAGE = "320x_simulated-s0-001_grid_r0_c0"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path / "old")
    return tmp_path / "old"


def test_an_old_run_tells_what_it_was(old: Path) -> None:
    run = Run(old / "run")
    assert run.config.network.kind == "unet"
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.best["val_jaccard_images"] == pytest.approx(0.787, abs=0.001)
    assert {item.verdict for item in run.criteria} <= {"met", "not met", "not applicable"}
    assert [item.field for item in run.planned] == ["network.first_stride", "predict.objects.diameter"]
    assert run.noticed == []


def test_an_old_model_finds_the_beads_that_it_found_then(old: Path) -> None:
    counts = pd.read_csv(old / "counts" / files.COUNTS).set_index("image")
    found = Segmenter.load(old / "run", device="cpu").predict(read_image(old / "images" / f"{IMAGE}.png"))
    assert abs(int(found.labels.max()) - int(counts.loc[IMAGE, "beads"])) <= 1  # rounding of another processor


def test_an_old_prediction_folder_tells_what_was_found(old: Path) -> None:
    assert len(read_sources(old / "counts")) == len(read_results(old / "counts")) == 4
    assert {point.group for point in density(old / "counts").groups}


@pytest.mark.parametrize("name", ["run", "counts"])
def test_an_old_folder_gets_a_page(old: Path, name: str) -> None:
    page = write_page(old / name, ignore, StopFlag())
    assert "320x" in page.read_text(encoding="utf-8")


def test_a_table_without_a_later_column_gets_a_page(old: Path) -> None:
    path = old / "counts" / files.COUNTS
    pd.read_csv(path, dtype=str, keep_default_na=False).drop(columns=["diameter_px"]).to_csv(path, index=False)
    assert "320x" in write_page(old / "counts", ignore, StopFlag()).read_text(encoding="utf-8")


def test_old_folders_open_in_the_viewer(old: Path) -> None:
    assert {kind for _, _, kind in read_prediction(old / "counts")} >= {"labels", "points"}
    write_page(old / "run", ignore, StopFlag())  # draws the curves, which were left out here for their size
    assert [kind for _, _, kind in read_run(old / "run")] == ["image"]
