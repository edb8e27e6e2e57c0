"""`beadseg-batch density` as a user meets it: files, figures, page, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import pytest

from beadseg.cli.app import main
from density_helpers import row, series, write_counts


def test_a_series_with_counts_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = series((10.0, 100.0, 1000.0, 10000.0), 1e5, 4, seed=2)
    folder = write_counts(tmp_path / "counts", [*rows, row("<b>blank</b>", 0, flags="nothing found")])
    manual = tmp_path / "manual.csv"
    manual.write_text("image,beads\n" + "".join(f"{one['image']},{one['beads'] + 1}\n" for one in rows[::2]))
    assert main(["density", str(folder), "--depth", "100", "--manual", str(manual)]) == 0
    printed = capsys.readouterr().out
    assert "contains -1" in printed
    assert "beads per ml" in printed
    out = folder / "density"
    assert {path.name for path in out.iterdir()} == {
        "density.json", "density.csv", "density_groups.csv", "dilution.csv", "dilution.png", "density_groups.png",
        "agreement.png", "agreement_ratio.png", "report.html",
    }  # fmt: skip
    for picture in out.glob("*.png"):
        assert iio.imread(picture).std() > 5
    before = (out / "density.json").read_bytes()
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").exists()
    assert (out / "density.json").read_bytes() == before


def test_no_series_makes_no_figure_of_one_and_json_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_counts(tmp_path / "counts", [row("a", 5), row("b", 0)])
    assert main(["density", str(folder), "--out", str(tmp_path / "out"), "--group-by", "all", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["data"]["beads"] == 5
    assert events[-1]["data"]["slope"] is None
    assert "no image's name" in events[-1]["data"]["notes"][0]
    assert not (tmp_path / "out" / "dilution.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        ["--pixel-size", "0"],
        ["--depth", "-5"],
        ["--factor", "(unclosed"],
        ["--factor", "missing.csv"],
        ["--group-by", "missing.csv"],
        ["--model", "normal"],
        ["--manual", "missing.csv"],
    ],
)
def test_wrong_options_end_with_2_and_write_nothing(tmp_path: Path, options: list[str]) -> None:
    folder = write_counts(tmp_path / "counts", [row("10x_a", 5)])
    assert main(["density", str(folder), *options]) == 2
    assert not (folder / "density").exists()


def test_a_folder_without_counts_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["density", str(tmp_path)]) == 2
    assert "Give a folder that `beadseg-batch predict` wrote" in capsys.readouterr().err
