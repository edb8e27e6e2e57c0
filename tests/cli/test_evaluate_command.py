from __future__ import annotations

import json
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from beadseg.cli.app import main
from beadseg.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path


def beads(count: int) -> np.ndarray:
    labels = np.zeros((16, 64), np.uint8)
    for index in range(count):
        labels[4:9, 2 + 7 * index : 7 + 7 * index] = index + 1
    return labels


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A dataset of two images, and predictions that find 4 of 5 and 3 of 3 beads."""
    data, predictions = tmp_path / "data", tmp_path / "predictions"
    for folder in (data / "images", data / "masks", predictions / "masks", predictions / "labels"):
        folder.mkdir(parents=True)
    for name, true, found in (("a_grid_r0_c0", 5, 4), ("b_grid_r0_c0", 3, 3)):
        iio.imwrite(data / "images" / f"{name}.png", np.full((16, 64), 128, np.uint8))
        iio.imwrite(data / "masks" / f"{name}.png", ((beads(true) > 0) * 255).astype(np.uint8))
        iio.imwrite(predictions / "masks" / f"{name}.png", ((beads(found) > 0) * 255).astype(np.uint8))
        tifffile.imwrite(predictions / "labels" / f"{name}.tif", beads(found).astype(np.uint32))
    return predictions, data


def test_table_files_and_figures(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    predictions, data = folders
    assert main(["evaluate", str(predictions), str(data)]) == ExitCode.OK
    printed = capsys.readouterr().out
    everything = next(line for line in printed.splitlines() if " all " in line).split()
    # Jaccard 4/5 and 1; pooled 7/8; 8 true and 7 found; bias -0.5.
    start = everything.index("all")
    assert everything[start + 1 : start + 4] == ["2", "0.900", "0.875"]
    assert everything[-4:] == ["8", "7", "-0.5", "0.5"]
    assert "2 of 2 samples scored" in printed
    out = predictions / "evaluation"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == {
        "evaluation.json",
        "evaluation.csv",
        "evaluation_groups.csv",
        "report/scores.png",
        "report/counts.png",
        "report/density.png",
        "report/agreement.png",
        "report.html",
    }


def test_a_missing_prediction_is_named_and_ends_with_its_exit_code(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions, data = folders
    for path in predictions.rglob("a_grid*"):
        path.unlink()
    code = main(["evaluate", str(predictions), str(data), "--out", str(tmp_path / "out")])
    assert code == ExitCode.SOME_FAILED
    printed = capsys.readouterr().out
    assert "WARNING a_grid_r0_c0: Has no prediction." in printed
    assert "1 of 2 samples scored; 1 failed." in printed
    assert (tmp_path / "out" / "failures.csv").exists()


def test_excluded_samples_are_not_missed(folders: tuple[Path, Path]) -> None:
    predictions, data = folders
    for path in predictions.rglob("a_grid*"):
        path.unlink()
    assert main(["evaluate", str(predictions), str(data), "--exclude", "a_*"]) == ExitCode.OK


def test_json_ends_with_the_scores(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    predictions, data = folders
    assert main(["evaluate", str(predictions), str(data), "--json"]) == ExitCode.OK
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["kind"] == "result"
    assert last["data"]["jaccard_images"] == pytest.approx(0.9)


def test_wrong_bins_and_folders_are_refused(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    predictions, data = folders
    assert main(["evaluate", str(predictions), str(data), "--density-bins", "few,many"]) == ExitCode.INPUT
    assert "few,many" in capsys.readouterr().err
    assert main(["evaluate", str(data / "nowhere"), str(data)]) == ExitCode.INPUT
    assert "No such prediction folder" in capsys.readouterr().err
