"""`beadseg-batch reproduce`: identical results, and every kind of difference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import pytest
import tifffile

from beadseg import files
from beadseg.cli.app import main
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import ExitCode


def run(*words: str | Path) -> int:
    return main([*map(str, words)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset, its predictions by the general model, and their evaluation."""
    out = tmp_path_factory.mktemp("reproduce")
    scene = SceneConfig(height=96, width=96, beads=15, debris=0, channels="grey")
    write_dataset(out / "beads", SeriesConfig(scene=scene, tiles=2, dilutions=(80,), fields=1, seed=1))
    options = ("--diameter", "8", "--no-report", "--quiet", "--set", "backend=torch")
    run("predict", "general", out / "beads/images", "--out", out / "counts", *options)
    run("evaluate", out / "counts", out / "beads", "--out", out / "scores", "--quiet")
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """All of it, moved together: nothing is left where it was made."""
    moved = Path(shutil.copytree(made, tmp_path / "moved"))
    for path in (moved / "counts" / files.PREDICTION, moved / "scores" / files.EVALUATION):
        path.write_text(path.read_text().replace(str(made), str(tmp_path / "gone")))
    return moved


def test_identical(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for part in ("counts", "scores"):
        assert run("reproduce", folder / part) == ExitCode.OK, capsys.readouterr().out
        assert "Identical: 2 " in capsys.readouterr().out
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_difference_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = folder / "counts"
    document = json.loads((counts / files.PREDICTION).read_text())
    document["model_sha256"] = "0" * 64
    document["made_on"]["torch"] = "1.0"
    (counts / files.PREDICTION).write_text(json.dumps(document))
    table = (counts / files.COUNTS).read_text().splitlines()
    cells = table[1].split(",")
    name, cells[2] = cells[0], str(int(cells[2]) + 3)
    (counts / files.COUNTS).write_text("\n".join([table[0], ",".join(cells), *table[2:]]) + "\n")
    labels = counts / files.LABELS / f"{name}.tif"
    values = tifffile.imread(labels)
    values[:5] = 7
    tifffile.imwrite(labels, values)
    assert run("reproduce", counts) == ExitCode.FLAGGED
    said = capsys.readouterr().out
    assert "Different: 2 images" in said
    assert "model: SHA-256" in said
    assert "torch" in said
    assert f"{name}: beads {int(cells[2]) - 3} (was {cells[2]})" in said
    assert "% of the pixels of its labels" in said


def test_changed_and_missing_images_and_changed_scores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = sorted((folder / "beads/images").iterdir())
    iio.imwrite(one, iio.imread(one) // 2)
    assert run("reproduce", folder / "counts") == ExitCode.FLAGGED
    assert f"{one.stem}: its image was changed since" in capsys.readouterr().out
    document = json.loads((folder / "scores" / files.EVALUATION).read_text())
    document["images"][1]["true_count"] += 1
    (folder / "scores" / files.EVALUATION).write_text(json.dumps(document))
    assert run("reproduce", folder / "scores") == ExitCode.FLAGGED
    assert f"{other.stem}: true_count" in capsys.readouterr().out
    one.unlink()
    assert run("reproduce", folder / "counts") == ExitCode.FLAGGED
    assert f"{one.stem}: its image is not there any more" in capsys.readouterr().out
    other.unlink()
    assert run("reproduce", folder / "counts") == ExitCode.INPUT


def test_another_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("reproduce", tmp_path) == ExitCode.INPUT
    assert "Holds no prediction and no evaluation" in capsys.readouterr().err
