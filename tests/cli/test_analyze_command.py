from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg.cli.app import main
from beadseg.cli.report import domain_names
from beadseg.errors import ExitCode


def beads(count: int) -> np.ndarray:
    mask = np.zeros((32, 96), np.uint8)
    for index in range(count):
        row, column = divmod(index, 12)
        mask[2 + 8 * row : 6 + 8 * row, 2 + 8 * column : 6 + 8 * column] = 255
    return mask


def dataset(root: Path, counts: tuple[int, ...]) -> Path:
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index, count in enumerate(counts):
        mask = beads(count)
        iio.imwrite(root / "images" / f"s{index}.png", np.where(mask > 0, 90, 180).astype(np.uint8))
        iio.imwrite(root / "masks" / f"s{index}.png", mask)
    return root


def test_one_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = dataset(tmp_path / "beads & <b>", (2, 4, 12)), tmp_path / "out"
    assert main(["analyze", str(data), "--out", str(out)]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "beads & <b>: 3 images in 3 fields of view, 18 objects" in printed
    row = next(line for line in printed.splitlines() if " objects  " in line).split()
    assert row[-5:] == ["6.0", "4.3", "2.0", "4.0", "12.0"]
    assert "Partial masks: 0 suspects of 3" in printed
    assert printed.splitlines()[-1].endswith(f"Written to {out}")
    assert {path.name for path in out.iterdir()} == {"summary.json", "images.csv", "analysis.png", "samples.png"}


def test_two_datasets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, out = dataset(tmp_path / "few", (2, 2)), dataset(tmp_path / "many", (20, 20)), tmp_path / "out"
    assert main(["analyze", str(first), str(second), "--out", str(out), "--json"]) == ExitCode.OK
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["kind"] == "result"
    assert events[-1]["data"]["density_ratio"] == 10
    assert "Objects per image" in events[-1]["message"]
    assert {path.name for path in out.iterdir()} == {"few", "many", "comparison.json", "comparison.md"}
    assert (out / "many" / "summary.json").exists()


def test_an_unreadable_image_is_named_and_gives_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = dataset(tmp_path / "beads", (2, 4))
    (data / "images" / "s1.png").write_bytes(b"")
    assert main(["analyze", str(data), "--out", str(tmp_path / "out")]) == ExitCode.SOME_FAILED
    printed = capsys.readouterr().out
    assert "WARNING s1: " in printed
    assert "1 sample could not be read." in printed
    assert "s1" in (tmp_path / "out" / "failures.csv").read_text("utf-8")


def test_a_wrong_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == ExitCode.INPUT
    assert "No such folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_datasets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, other = tmp_path / "a" / "beads", tmp_path / "b" / "beads"
    assert domain_names([one, tmp_path / "cells"]) == ["beads", "cells"]
    assert domain_names([one, other]) == ["a beads", "b beads"]
    assert domain_names([one, one]) == ["a beads 1", "a beads 2"]


def test_results_never_mix_with_a_dataset_or_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = dataset(tmp_path / "a", (2,)), dataset(tmp_path / "b", (2,))
    (first / "failures.csv").write_text("of an import")
    assert main(["analyze", str(first), str(second), "--out", str(tmp_path)]) == ExitCode.INPUT
    assert "an analysis cannot be written there" in capsys.readouterr().err
    assert sorted(path.name for path in first.iterdir()) == ["failures.csv", "images", "masks"]

    (tmp_path / "counts.csv").touch()
    (tmp_path / "failures.csv").write_text("of a prediction")
    assert main(["analyze", str(first), "--out", str(tmp_path)]) == ExitCode.INPUT
    assert (tmp_path / "failures.csv").read_text() == "of a prediction"


def test_nothing_is_written_when_the_second_dataset_is_missing(tmp_path: Path) -> None:
    data = dataset(tmp_path / "beads", (2,))
    assert main(["analyze", str(data), str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == ExitCode.INPUT
    assert not (tmp_path / "out").exists()


def test_a_diameter_wider_than_the_image_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = dataset(tmp_path / "beads", (2,))
    arguments = ["analyze", str(data), "--out", str(tmp_path / "out"), "--diameter", "17"]
    assert main(arguments) == ExitCode.INPUT
    assert "The bead diameter is 17 px, its images are 32 px high or wide." in capsys.readouterr().err
    assert main([*arguments[:-1], "6"]) == ExitCode.OK


def test_two_datasets_without_beads_have_no_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = dataset(tmp_path / "one", (0, 0)), dataset(tmp_path / "two", (0, 0))
    assert main(["analyze", str(first), str(second), "--out", str(tmp_path / "out")]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "there is no density ratio" in printed
    assert "nothing is marked in" in printed
    assert "stronger gradients" not in printed
