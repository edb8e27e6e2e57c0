"""The model that comes with beadseg: by its name alone, for images of any size; what it says where it finds none."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

import beadseg
from beadseg import files
from beadseg.cli.app import main
from beadseg.data.simulate import Scene, SceneConfig, simulate
from beadseg.measure.matching import match_points
from beadseg.model.checkpoint import general_file
from beadseg.predict import Segmenter

LARGEST_BYTES = 3_000_000
"""The package stays small."""


@pytest.fixture(scope="module")
def general() -> Segmenter:
    return beadseg.Segmenter.load("general", device="cpu")


def scene(diameter: float, polarity: str = "dark") -> Scene:
    side = round(max(160, 18 * diameter))
    look = SceneConfig(
        height=side, width=side, beads=30, poisson=False, diameter_px=diameter, cluster_probability=0.4,
        max_overlap=0.2, polarity=polarity, contrast=0.5 if polarity == "dark" else 1.5, channels="grey", debris=0,
        jpeg_quality=None, upscaling=1, defocus_px=0.1 * diameter, defocus_spread_px=0, tilt_px=0,
        background_min=80, background_max=100,
    )  # fmt: skip
    return simulate(look, 5)


@pytest.mark.parametrize(("diameter", "polarity"), [(5, "dark"), (11, "bright"), (36, "dark")])
def test_beads_of_any_size_and_polarity_are_found_without_any_option(
    general: Segmenter, diameter: float, polarity: str
):
    known = scene(diameter, polarity)
    found = general.predict(known.image)
    assert found.diameter == pytest.approx(diameter, rel=0.25)
    centres = (table[["y", "x"]].to_numpy(float) for table in (found.beads, known.beads))
    counts = match_points(*centres, diameter / 2).counts
    assert 2 * counts.tp / (2 * counts.tp + counts.fp + counts.fn) > 0.9
    assert found.beads["equivalent_diameter_px"].median() == pytest.approx(diameter, rel=0.2)


def test_an_image_without_beads_is_counted_as_none_or_flagged(tmp_path: Path):
    noise = np.random.default_rng(0).normal(120, 6, (200, 200)).clip(0, 255).astype(np.uint8)
    for name, image in (("blank", np.full((200, 200), 90, np.uint8)), ("noise", noise)):
        iio.imwrite(tmp_path / f"{name}.png", image)
    assert main(["predict", "general", str(tmp_path), "--out", str(tmp_path / "out"), "--no-report"]) == 5
    counts = pd.read_csv(tmp_path / "out" / files.COUNTS)
    assert len(counts) == 2
    assert counts["flags"].notna().all()


def test_the_command_needs_nothing_but_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    known = scene(8)
    iio.imwrite("images/a.png", known.image)
    Path("general").mkdir()
    assert main(["predict", "general", "images", "--out", "out", "--no-report"]) == 0
    assert "The general model is used" in "".join(capfd.readouterr())
    assert json.loads(Path("out", files.PREDICTION).read_text())["run"] == "general"
    assert pd.read_csv(Path("out", files.COUNTS))["diameter_px"].item() == pytest.approx(8, rel=0.25)
    assert main(["predict", "./general", "images", "--out", "other", "--no-report"]) == 2
    assert "Is not a run folder" in "".join(capfd.readouterr())


def test_the_model_is_small_and_free_of_code():
    assert general_file().stat().st_size <= LARGEST_BYTES
    assert general_file().read_bytes()[8:9] == b"{"  # safetensors: a length, then JSON
