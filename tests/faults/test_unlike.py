"""Images unlike those that a model was trained on: what a user is told, wherever the count stands."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
from fault_helpers import Cli

from beadseg import files
from beadseg.measure.appearance import APPEARANCE
from beadseg.model.checkpoint import load_checkpoint, save_checkpoint
from beadseg.predict.counts import NO_INTERVAL

IMPLAUSIBLE = 5


@pytest.fixture
def image(beads: Path) -> np.ndarray:
    return np.asarray(iio.imread(sorted((beads / files.IMAGES).iterdir())[0]))


def written(image: np.ndarray, path: Path) -> Path:
    tifffile.imwrite(path, image)
    return path


def test_an_offset_is_named_wherever_the_count_stands(
    cli: Cli, run_folder: Path, image: np.ndarray, tmp_path: Path
) -> None:
    path = written(image.astype(np.uint16) + 32768, tmp_path / "offset.tif")
    out = tmp_path / "out"
    told = cli("predict", run_folder, path, "--out", out)
    row = pd.read_csv(out / files.COUNTS, keep_default_na=False).iloc[0]
    cause = "values are 32,"
    assert told.code == IMPLAUSIBLE
    assert cause in told.out + told.err
    assert cause in row["flags"]
    assert row["flags"].endswith(NO_INTERVAL)
    assert (row["beads_low"], row["beads_high"]) == ("", "")
    page = (out / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert cause in page
    for place in (told.out, row["flags"], page):
        assert "unlike the training images: " in place.replace("Unlike", "unlike")
        assert "implausible: " not in place.lower(), "it says what is wrong: the count, or the image"


def test_colour_for_grey_is_named(cli: Cli, run_folder: Path, image: np.ndarray, tmp_path: Path) -> None:
    colour = np.stack([image, np.roll(image, 3), image // 2], axis=2)
    path = tmp_path / "colour.png"
    iio.imwrite(path, colour)
    assert cli("predict", run_folder, path, "--out", tmp_path / "out").code == IMPLAUSIBLE
    row = pd.read_csv(tmp_path / "out" / files.COUNTS).iloc[0]
    assert "colour (training images: grey)" in row["flags"]


def test_images_of_the_training_are_not_flagged_as_unlike(predicted: Path) -> None:
    flags = pd.read_csv(predicted / files.COUNTS, keep_default_na=False)["flags"]
    assert not any(NO_INTERVAL in text for text in flags)


def test_a_model_of_an_earlier_version_says_that_nothing_is_compared(
    cli: Cli, run_copy: Path, image: np.ndarray, tmp_path: Path
) -> None:
    tensors, meta = load_checkpoint(run_copy / files.BEST)
    assert APPEARANCE in meta["fingerprint"]
    kept = {name: value for name, value in meta["fingerprint"].items() if name != APPEARANCE}
    save_checkpoint(run_copy / files.BEST, tensors, {**meta, "fingerprint": kept})
    told = cli("predict", run_copy, written(image, tmp_path / "a.tif"), "--out", tmp_path / "out")
    assert "are not compared with the training images" in told.out + told.err
    page = (tmp_path / "out" / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert "the model does not store what they looked like" in page


def test_repeating_the_training_adds_it(cli: Cli, run_copy: Path, beads: Path) -> None:
    tensors, meta = load_checkpoint(run_copy / files.BEST)
    known = meta["fingerprint"].pop(APPEARANCE)
    save_checkpoint(run_copy / files.BEST, tensors, meta)
    assert cli("train", beads, "--out", run_copy, "--config", run_copy / files.CONFIG).code == 0
    assert load_checkpoint(run_copy / files.BEST)[1]["fingerprint"][APPEARANCE] == known
