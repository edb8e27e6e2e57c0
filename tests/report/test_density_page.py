"""The page and the figures of densities, with and without a series and counts by hand."""

from __future__ import annotations

from pathlib import Path

from page_reader import ReadPage

import beadseg
from beadseg.measure.concentration import DensityReport
from beadseg.report.density_page import DILUTION_PNG, density_figures, write_density_page
from density_helpers import row, series, write_counts


def page_of(report: DensityReport, folder: Path) -> ReadPage:
    return ReadPage(write_density_page(folder, report).read_text(encoding="utf-8"))


def test_everything_is_on_the_page(tmp_path: Path) -> None:
    rows = series((10.0, 30.0, 100.0, 300.0), 1e4, 6, seed=8)
    rows[2]["beads"] *= 3
    folder = write_counts(tmp_path / "counts", [*rows, row("<b>blank</b>", 0, flags="nothing found")])
    manual = tmp_path / "manual.csv"
    manual.write_text("image,beads\n" + "".join(f"{one['image']},{one['beads'] + 2}\n" for one in rows[::3]))
    page = page_of(beadseg.density(folder, manual=manual), tmp_path / "out")
    for text in ("<b>blank</b>", "Counts by hand", "Slope", "Undiluted", "no factor", "nothing found"):
        assert text in page.text
    assert f"Image {rows[2]['image']} is unlike the others" in page.text
    assert page.text.count("beads per mm²") > 2


def test_a_page_without_a_series_has_no_regression(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / DILUTION_PNG).write_bytes(b"of an earlier analysis")
    page = page_of(beadseg.density(write_counts(tmp_path / "counts", [row("a", 5), row("b", 0)])), out)
    assert "Undiluted" not in page.text
    assert "no image's name tells a dilution factor" in page.text
    assert not (out / DILUTION_PNG).exists()


def test_dilutions_without_beads_are_drawn(tmp_path: Path) -> None:
    rows = [*series((10.0, 100.0), 1e4, 3, seed=9), row("1000x_a", 0), row("1000x_b", 0)]
    report = beadseg.density(write_counts(tmp_path / "1", rows))
    assert DILUTION_PNG in density_figures(report)
    nothing = beadseg.density(write_counts(tmp_path / "2", [row("10x_a", 0), row("100x_b", 0)]))
    assert DILUTION_PNG in density_figures(nothing)
    assert "No regression" in page_of(nothing, tmp_path / "out").text
