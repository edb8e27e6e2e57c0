"""Names and numbers as people and their programs write them: read as they are meant, or asked about."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from fault_helpers import SHORT, Cli, first, tree

from beadseg import files
from beadseg.config.predict import DensityConfig
from beadseg.data import Dataset
from beadseg.data.documents import read_table
from beadseg.data.fields import CsvFields, fields_of, numbers_of
from beadseg.data.split import Split
from beadseg.errors import InputError
from beadseg.measure import density
from beadseg.measure.concentration.densities import factors_in
from beadseg.text import csv_text
from density_helpers import row, write_counts

TOLD = {
    "320x_slide2_grid_r0_c1": [320], "2.5x_a": [2.5], "10,5x_a": [10.5], "1e3x_a": [1000], "1.5e3x_": [1500],
    "1e-3x_": [0.001], "10^3x_": [1000], "0.5x": [0.5], "0.125x_a": [0.125], "1:100": [100], "a_1:2.5_b": [2.5],
    "320X-A": [320], "320\u00d7_a": [320], "320 x_a": [320], "slide2_320x": [320], "40x_40x_b": [40],
    "synthetic_80x_22_2025": [80], "10240x_2025-05-29_02-22-00_002_grid_r3_c1": [10240], "10.5.2025 320x": [320],
    "512x512_tile": [], "3xFLAG": [], "x100": [], "dil_100": [], "01:30:20": [], "0x_a": [],
    "10x_40x_": [10, 40], "s1_20x_obj_80x_a": [20, 80], "5x10x_a": [5, 10], "1:100_40x": [40, 100],
    "1,000x_a": [1000, 1], "1 500x": [500, 1500], "s2.20x_": [2.2, 20], "2p5x_": [2.5, 5],
}  # fmt: skip
"""The factors that a name tells; several where it may mean any of them."""


@pytest.mark.parametrize("name", TOLD)
def test_dilution_factors_in_names(name: str):
    assert sorted(factors_in(name)) == sorted(TOLD[name])


def test_decimal_factors_make_a_series_of_their_own(tmp_path: Path):
    names = ("2.5x_a", "5x_a", "10,5x_a", "1e2x_a")
    report = density(write_counts(tmp_path, [row(f"{name}_grid_r0_c{i}", 50) for name in names for i in (0, 1)]))
    assert [point.factor for point in report.points] == [2.5, 5, 10.5, 100]
    assert all(point.images == 2 for point in report.points)


def test_a_name_that_tells_two_factors_is_asked_about(cli: Cli, tmp_path: Path):
    names = ("10x_40x_a", "20x_40x_a", "30x_b", "60x_b")
    write_counts(tmp_path, [row(f"{name}_grid_r0_c{i}", 50) for name in names for i in (0, 1)])
    outcome = cli("density", tmp_path)
    assert outcome.code == 0, outcome.err
    assert "several factors may be meant: 10x_40x_a_grid_r0_c0" in outcome.out
    assert "may be diluted 10 or 40 times" in outcome.out
    assert "--factor" in outcome.out
    assert [point.factor for point in density(tmp_path).points] == [30, 60]
    chosen = density(tmp_path, DensityConfig.parse({"factor": {"kind": "pattern", "pattern": "^([0-9]+)x"}}, ""))
    assert [point.factor for point in chosen.points] == [10, 20, 30, 60]


@pytest.mark.parametrize(
    ("cells", "separator", "numbers"),
    [
        (["1,5", "2", "1.234"], ";", [1.5, 2, 1234]),
        (["1.5", "12.345"], ",", [1.5, 12.345]),
        (["1,234", "2,5"], ";", [1.234, 2.5]),
        (["1.234,5", "1 234,5", "1'234"], ";", [1234.5, 1234.5, 1234]),
        (["1,234.5", "1,234,567"], ",", [1234.5, 1234567]),
        (["12.345"], ",", [12.345]),
        (["12,345"], ";", [12.345]),
        (["1,234"], ",", [None]),
        (["1.234"], ";", [None]),
        (["1,234"], "\t", [None]),
        (["0,125"], ",", [0.125]),
        (["\u22125", "1e3", "", "nan", "inf", "1_0", "5 beads"], ",", [-5, 1000, None, None, None, None, None]),
    ],
)
def test_numbers_of_spreadsheets(cells: list[str], separator: str, numbers: list[float | None]):
    assert numbers_of(cells, separator) == numbers


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("separator", [";", "\t", ",", "|"])
def test_tables_of_any_spreadsheet_are_read(tmp_path: Path, encoding: str, separator: str):
    path = tmp_path / "fields.csv"
    lines = [("Sample", "Rest", "Field"), ("b\u00e4ds 1.tif", "x", "f1"), ("b", "", "f2"), ("", "", "")]
    path.write_bytes("\r\n".join(separator.join(line) for line in lines).encode(encoding))
    assert fields_of(["b\u00e4ds 1", "b"], CsvFields(path=path)) == {"b\u00e4ds 1": "f1", "b": "f2"}


def test_a_line_that_names_the_separator_is_no_row(tmp_path: Path):
    (tmp_path / "split.csv").write_text('sep=;\r\n"sample";"fold"\r\n"a,b";"train"\r\nc;val;\r\n')
    assert Split.from_csv(tmp_path / "split.csv") == Split(("a,b",), ("c",))


def test_other_words_for_folds_are_understood(tmp_path: Path):
    (tmp_path / "split.csv").write_text("sample,fold\na,Training\nb,Validation\nc,testing\n")
    assert Split.from_csv(tmp_path / "split.csv") == Split(("a",), ("b",), ("c",))


def test_a_workbook_is_named_as_one(tmp_path: Path):
    (tmp_path / "fields.csv").write_bytes(b"PK\x03\x04and more")
    with pytest.raises(InputError, match=r"Is a spreadsheet's own file, not CSV text\. Save it as CSV"):
        fields_of(["a"], CsvFields(path=tmp_path / "fields.csv"))


def test_counts_and_counts_by_hand_of_a_german_excel(cli: Cli, tmp_path: Path):
    counts = [("image", "plane", "beads", "height", "width", "pixel_size_um", "flags")]
    counts += [(f"{factor}x_s_grid_r0_c{i}", "", f"{800 // factor},5", "512", "512", "0,5", "") for factor in (1, 2)
               for i in (0, 1)]  # fmt: skip
    (tmp_path / "counts.csv").write_bytes("\r\n".join(";".join(line) for line in counts).encode("utf-8-sig"))
    manual = tmp_path / "manual.csv"
    manual.write_bytes(
        "\r\n".join(["image;beads", "1x_s_grid_r0_c0.png;798,5", "2x_s_grid_r0_c1;1.401,5"]).encode("utf-16")
    )
    report = density(tmp_path, manual=manual)
    assert [image.beads for image in report.images] == [800.5, 800.5, 400.5, 400.5]
    assert report.unit == "beads_per_mm2"
    assert {one.image: one.manual for one in report.manual} == {"1x_s_grid_r0_c0": 798.5, "2x_s_grid_r0_c1": 1401.5}


def test_a_count_that_may_mean_two_numbers_is_refused(tmp_path: Path):
    write_counts(tmp_path, [row("a", 1234)])
    (tmp_path / "manual.csv").write_text('image,beads\na,"1,234"\n')
    with pytest.raises(InputError, match=r"'1,234'.*without marks between thousands"):
        density(tmp_path, manual=tmp_path / "manual.csv")


def form(text: str, kind: str) -> str:
    return unicodedata.normalize(kind, text)


@pytest.mark.parametrize(("image", "label"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_composed_and_decomposed_names_are_one(cli: Cli, dataset: Path, tmp_path: Path, image: str, label: str):
    for folder, kind in ((files.IMAGES, image), (files.LABELS, label)):
        path = first(dataset, folder)
        path.rename(path.with_name(form("K\u00fcgelchen \u00e9", kind) + path.suffix))
    opened = Dataset.open(dataset, include=[form("K\u00fcgel*", "NFD")])
    assert opened.names == (form("K\u00fcgelchen \u00e9", "NFC"),)
    assert opened.problems == ()
    split = tmp_path / "split.csv"
    names = Dataset.open(dataset).names
    split.write_text(
        "sample,fold\n" + "".join(f"{form(n, 'NFD')},{'val' if i else 'train'}\n" for i, n in enumerate(names))
    )
    outcome = cli("train", dataset, "--out", tmp_path / "run", "--plan", "--split-file", split, *SHORT)
    assert outcome.code == 0, outcome.err
    assert "1 training and 5 validation samples" in outcome.out


def test_where_nothing_pairs_one_name_of_either_side_is_shown(cli: Cli, dataset: Path, tmp_path: Path):
    for number, path in enumerate(sorted((dataset / files.LABELS).iterdir())):
        path.rename(path.with_name(f"mask_{number:02}.tif"))
    name = first(dataset, files.IMAGES).name
    outcome = cli("analyze", dataset, "--out", tmp_path / "out")
    outcome.is_refusal(2, "None of its 6 images", f"e.g. images/{name}, labels/mask_00.tif.")


@pytest.mark.parametrize("suffix", ["_cp_masks", "_seg", "-mask", "_Labels", " mask"])
def test_what_programs_add_to_a_name_is_understood(dataset: Path, suffix: str):
    for path in sorted((dataset / files.LABELS).iterdir()):
        path.rename(path.with_name(f"{path.stem}{suffix}.tif"))
    assert len(Dataset.open(dataset)) == 6


ODD = [
    "-o", "--help", "=1+1", "+a", "@b", "a\\b", " a", "a ", "a.tif", "NA", "007", "1e5", "'q", "TRUE", "a;b",
    'a"b', "a,b",
]  # fmt: skip
"""Names that a shell, a spreadsheet or a table reader may take for something else."""


@pytest.fixture
def odd(dataset: Path, tmp_path: Path) -> Path:
    """A dataset of one image under many names."""
    root = tmp_path / "odd"
    for folder, ending in ((files.IMAGES, ".png"), (files.LABELS, ".tif")):
        (root / folder).mkdir(parents=True)
        source = first(dataset, folder)
        for name in [*ODD, "n" * 250]:
            shutil.copyfile(source, root / folder / f"{name}{ending}")
    return root


def test_what_is_written_under_odd_names_is_read_again(odd: Path, tmp_path: Path):
    names = Dataset.open(odd).names
    assert set(names) == {*ODD, "n" * 250}
    split = Split(names[::2], names[1::2])
    split.to_csv(tmp_path / "split.csv")
    assert Split.from_csv(tmp_path / "split.csv").called(names, tmp_path / "split.csv") == Split(
        names[::2], names[1::2]
    )
    rows = [row(name, 5) for name in names]
    (tmp_path / "counts.csv").write_text(csv_text(pd.DataFrame(rows)), encoding="utf-8")
    assert {image.image for image in density(tmp_path).images} == set(names)


def test_every_command_takes_odd_names(cli: Cli, odd: Path, tmp_path: Path):
    before = tree(odd)
    assert cli("analyze", odd, "--out", tmp_path / "analysis").code == 0
    assert cli("audit", odd, "--out", tmp_path / "audit").code == 0
    for kind in ("coco", "fiji-roi"):
        assert cli("export", "labels", odd, "--format", kind, "--out", tmp_path / kind).code == 0
        source = next((tmp_path / "coco").glob("*.json")) if kind == "coco" else tmp_path / kind
        again = cli("import", kind, source, "--images", odd / files.IMAGES, "--out", tmp_path / f"again {kind}")
        assert again.code == 0, again.out
        assert Dataset.open(tmp_path / f"again {kind}").names == Dataset.open(odd).names
    assert tree(odd) == before


def test_the_composed_form_names_a_sample_in_every_way(dataset: Path):
    name = first(dataset, files.IMAGES).stem
    for folder in (files.IMAGES, files.LABELS):
        path = first(dataset, folder)
        path.rename(path.with_name(form("\u00e9", "NFD") + path.suffix))
    opened = Dataset.open(dataset)
    assert name not in opened.names
    assert opened[form("\u00e9", "NFD")].name == form("\u00e9", "NFC")
    assert opened.subset([form("\u00e9", "NFD")]).names == (form("\u00e9", "NFC"),)


def test_own_tables_that_a_spreadsheet_saved_are_read(tmp_path: Path):
    path = tmp_path / "counts.csv"
    path.write_bytes('image;plane;beads\r\n"a;b";;5\r\n'.encode("utf-16"))
    assert read_table(path, "image", "beads") == [{"image": "a;b", "plane": "", "beads": "5"}]
