"""Densities of a prediction folder: units, groups, intervals, and tables that are damaged or hostile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import beadseg
from beadseg import files
from beadseg.config.predict import DensityConfig
from beadseg.data.documents import names_of, source_of
from beadseg.errors import ConfigError, InputError
from beadseg.measure.calibration import poisson_interval
from beadseg.measure.concentration import DensityReport
from density_helpers import PIXEL_UM, SIDE, row, series, write_counts

AREA_MM2 = (SIDE * PIXEL_UM / 1000) ** 2


def test_units_follow_what_is_known(tmp_path: Path) -> None:
    folder = write_counts(tmp_path, [row("a", 100)])
    by_area = beadseg.density(folder)
    assert by_area.unit == "beads_per_mm2"
    assert by_area.images[0].density == pytest.approx(100 / AREA_MM2)
    by_volume = beadseg.density(folder, DensityConfig(depth_um=100.0))
    assert by_volume.unit == "beads_per_ml"
    assert by_volume.images[0].density == pytest.approx(100 / (AREA_MM2 * 0.1) * 1000)
    assert by_volume.images[0].volume_ul == pytest.approx(AREA_MM2 * 0.1)
    other = beadseg.density(folder, DensityConfig(pixel_size_um=1.0))
    assert other.images[0].density == pytest.approx(100 / (4 * AREA_MM2))
    plain = beadseg.density(write_counts(tmp_path / "plain", [row("a", 100, pixel_size_um="")]))
    assert plain.unit == "beads_per_mpx"
    assert plain.images[0].density == pytest.approx(100 / SIDE**2 * 1e6)
    assert plain.images[0].area_mm2 is None


def test_one_unknown_pixel_size_makes_all_densities_per_pixel(tmp_path: Path) -> None:
    rows = [row("a", 10), row("b", 10, pixel_size_um="")]
    report = beadseg.density(write_counts(tmp_path, rows), DensityConfig(depth_um=50.0))
    assert report.unit == "beads_per_mpx"
    assert any("pixel size is not known of b" in note for note in report.notes)


def test_sampling_and_counting_are_apart(tmp_path: Path) -> None:
    report = beadseg.density(write_counts(tmp_path, [row("a", 100, beads_low=95, beads_high=110)]))
    image = report.images[0]
    low, high = poisson_interval(100)
    assert image.counting == (95, 110)
    assert image.density_counting == pytest.approx((95 / AREA_MM2, 110 / AREA_MM2))
    assert image.density_sampling == pytest.approx((low / AREA_MM2, high / AREA_MM2))
    assert image.density_total[0] == pytest.approx((100 - ((100 - low) ** 2 + 5**2) ** 0.5) / AREA_MM2)
    assert image.density_total[1] == pytest.approx((100 + ((high - 100) ** 2 + 10**2) ** 0.5) / AREA_MM2)


def test_predictions_without_intervals_have_sampling_only(tmp_path: Path) -> None:
    image = beadseg.density(write_counts(tmp_path, [row("a", 100)])).images[0]
    assert image.density_counting is None
    assert image.density_total == image.density_sampling


def test_images_that_differ_more_widen_their_group(tmp_path: Path) -> None:
    alike = beadseg.density(write_counts(tmp_path / "1", [row(f"f_grid_r0_c{at}", 100) for at in range(6)])).groups[0]
    rows = [row(f"f_grid_r0_c{at}", beads) for at, beads in enumerate((20, 180, 30, 170, 100, 100))]
    differ = beadseg.density(write_counts(tmp_path / "2", rows)).groups[0]
    assert alike.beads == differ.beads == 600
    assert alike.dispersion == 0
    assert differ.dispersion is not None
    assert differ.dispersion > 10
    assert alike.density_total[1] - alike.density < 0.3 * (differ.density_total[1] - differ.density)


def test_groups_by_field_pattern_table_or_all(tmp_path: Path) -> None:
    rows = [row(f"320x_{field}_grid_r0_c{at}", 10) for field in "ab" for at in range(2)]
    folder = write_counts(tmp_path, rows)
    table = tmp_path / "groups.csv"
    table.write_text("image,group\n" + "".join(f"{r['image']}.png,{'x' if n else 'y'}\n" for n, r in enumerate(rows)))

    def groups(rule: dict[str, Any]) -> list[tuple[str, int, float | None]]:
        config = DensityConfig.parse({"groups": rule})
        return [(group.group, group.images, group.factor) for group in beadseg.density(folder, config).groups]

    assert groups({"kind": "field"}) == [("320x_a", 2, 320), ("320x_b", 2, 320)]
    assert groups({"kind": "all"}) == [("all", 4, 320)]
    assert groups({"kind": "pattern", "pattern": r"c(\d)$"}) == [("0", 2, 320), ("1", 2, 320)]
    assert groups({"kind": "csv", "path": table}) == [("x", 3, 320), ("y", 1, 320)]


def test_factors_from_a_table(tmp_path: Path) -> None:
    folder = write_counts(tmp_path, [row("a", 1000), row("b", 100)])
    table = tmp_path / "factors.csv"
    table.write_text("image,factor\na,2.5\nb,25\n")
    report = beadseg.density(folder, DensityConfig.parse({"factor": {"kind": "csv", "path": table}}))
    assert [point.factor for point in report.points] == [2.5, 25]
    assert report.dilution is not None
    assert report.dilution.slope == pytest.approx(-1, abs=0.001)
    table.write_text("image,factor\na,2.5\nb,none\n")
    with pytest.raises(InputError, match="dilution factor of 'b' is 'none'"):
        beadseg.density(folder, DensityConfig.parse({"factor": {"kind": "csv", "path": table}}))


def test_written_and_read_again(tmp_path: Path) -> None:
    report = beadseg.density(write_counts(tmp_path / "counts", series((10.0, 100.0, 1000.0), 1e4, 3, seed=0)))
    out = tmp_path / "out"
    report.write(out)
    assert DensityReport.read(out) == report
    assert {path.name for path in out.iterdir()} == {
        "density.json",
        "density.csv",
        "density_groups.csv",
        "dilution.csv",
    }
    header = (out / files.DILUTION).read_text().splitlines()[0].split(",")
    assert header == list(report.point_table().columns)
    beadseg.density(write_counts(tmp_path / "single", [row("a", 3)])).write(out)
    assert not (out / files.DILUTION).exists()
    (out / files.DENSITY).write_text('{"schema_version": 99}')
    with pytest.raises(ConfigError, match="schema_version"):
        DensityReport.read(out)


@pytest.mark.parametrize("name", ["images", "labels", "counts.csv", "config.yaml"])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    report = beadseg.density(write_counts(tmp_path / "counts", [row("a", 3)]))
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=f"Holds {name}"):
        report.write(tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beads": -1}, "beads of 'a' is '-1'"),
        ({"beads": "many"}, "beads of 'a' is 'many'"),
        ({"beads": "inf"}, "beads of 'a' is 'inf'"),
        ({"beads": ""}, "beads of 'a' is ''"),
        ({"height": ""}, "height of 'a' is ''"),
        ({"width": 0}, "width of 'a' is '0'"),
        ({"pixel_size_um": -0.5}, "pixel_size_um of 'a' is '-0.5'"),
        ({"beads_low": "x"}, "beads_low of 'a' is 'x'"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    folder = write_counts(tmp_path, [{**row("a", 3), **changes}])
    with pytest.raises(InputError, match=message.replace("'", ".")):
        beadseg.density(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "There are no counts"),
        ("", "Cannot be read as CSV"),
        ("image,beads\na,3\n", "Has no column 'height' or 'width'"),
        ("image,beads,height,width\n", "Holds no counts"),
        ("image,beads,height,width\na,3,9,9\na,4,9,9\n", "Names 'a' more than once"),
        ("\x00\x01,\xff\n\n\n", "no column"),
    ],
)
def test_a_damaged_table_is_one_clear_error(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / files.COUNTS).write_text(text)
    with pytest.raises(InputError, match=message):
        beadseg.density(tmp_path)


def test_factors_that_cannot_be_read_leave_the_series_out(tmp_path: Path) -> None:
    rows = [row("10x_a", 100), row("100x_b", 10), row("blank", 0)]
    report = beadseg.density(write_counts(tmp_path / "1", rows))
    assert [point.factor for point in report.points] == [10, 100]
    assert any("no factor: blank" in note for note in report.notes)
    none = beadseg.density(write_counts(tmp_path / "2", [row("a", 3), row("b", 4)]))
    assert none.dilution is None
    assert none.points == ()
    assert any("no image's name tells a dilution factor" in note for note in none.notes)
    with pytest.raises(InputError, match="dilution factor of '10x_a' is 'a'"):
        beadseg.density(tmp_path / "1", DensityConfig.parse({"factor": {"kind": "pattern", "pattern": "_(.)"}}))
    with pytest.raises(ConfigError, match="in brackets"):
        DensityConfig.parse({"factor": {"kind": "pattern", "pattern": r"\d+x"}})


def test_one_point_and_no_bead_at_all_still_have_densities(tmp_path: Path) -> None:
    one = beadseg.density(write_counts(tmp_path / "1", [row("10x_a", 100), row("10x_b", 90)]))
    assert one.dilution is None
    assert len(one.points) == 1
    assert any("needs beads at two dilutions" in note for note in one.notes)
    nothing = beadseg.density(write_counts(tmp_path / "2", [row("10x_a", 0), row("100x_b", 0)]))
    assert nothing.dilution is None
    assert nothing.images[0].density == 0
    assert nothing.images[0].density_total[1] == pytest.approx(3.689 / AREA_MM2, rel=1e-3)


def test_counts_by_hand(tmp_path: Path) -> None:
    folder = write_counts(tmp_path, [row("a", 10), row("b", 20, plane="z001"), row("c", 30)])
    manual = tmp_path / "manual.csv"
    manual.write_text("image,beads\na.png,12\nb_z001,19\nelsewhere,4\n")
    report = beadseg.density(folder, manual=manual)
    assert [(one.image, one.manual, one.beads) for one in report.manual] == [("a", 12, 10), ("b_z001", 19, 20)]
    assert any("not predicted: elsewhere" in note for note in report.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,beads\nx,1\ny,2\n", r"Names no predicted image \(it names x, y\)"),
        ("image,beads\n", "Names no image"),
        ("image,beads\na,several\n", "count of 'a' is 'several'"),
        ("image,beads\na,-2\n", "count of 'a' is '-2'"),
        ("image,beads\na,1\na,2\n", "more than once"),
        ("name,n\na,1\n", "Has no column 'image' or 'beads'"),
    ],
)
def test_wrong_counts_by_hand_are_refused(tmp_path: Path, text: str, message: str) -> None:
    folder = write_counts(tmp_path, [row("a", 10)])
    (tmp_path / "manual.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        beadseg.density(folder, manual=tmp_path / "manual.csv")


def with_sources(folder: Path, tmp_path: Path, *images: str) -> Path:
    """Write a prediction folder of these files below `tmp_path`, with names as `predict` gives them."""
    paths = [tmp_path / image for image in images]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))
    names = names_of(paths)
    write_counts(folder, [row(name, 10 * (at + 1)) for at, name in enumerate(names.values())])
    document = {"images": {name: source_of(path) for path, name in names.items()}}
    (folder / files.PREDICTION).write_text(json.dumps(document))
    return folder


def by_hand(tmp_path: Path, folder: Path, text: str) -> dict[str, float]:
    manual = tmp_path / "manual.csv"
    manual.write_text(f"image,beads\n{text}\n")
    return {one.image: one.manual for one in beadseg.density(folder, manual=manual).manual}


def test_counts_by_hand_are_of_the_file_that_they_name(tmp_path: Path) -> None:
    folder = with_sources(tmp_path / "out", tmp_path, "A01/f1.png", "A02/f1.png", "A02/g.png")
    assert by_hand(tmp_path, folder, f"A02/f1.png,7\n{tmp_path / 'A01' / 'f1.png'},8") == {"A01_f1": 8, "A02_f1": 7}
    assert by_hand(tmp_path, folder, "A01_f1,8\ng,3") == {"A01_f1": 8, "g": 3}
    assert by_hand(tmp_path, folder, "C:\\plates\\A02\\f1.png,7") == {"A02_f1": 7}


def test_a_name_of_several_images_is_refused(tmp_path: Path) -> None:
    folder = with_sources(tmp_path / "out", tmp_path, "A01/f1.png", "A02/f1.png")
    for name in ("f1", "f1.png"):
        with pytest.raises(InputError, match=rf"'{name}' may be any of A01_f1 .*A02_f1 .*Write the name as in counts"):
            by_hand(tmp_path, folder, f"{name},7")


def test_counts_by_hand_of_another_folder_are_not_taken(tmp_path: Path) -> None:
    folder = with_sources(tmp_path / "out", tmp_path, "A01/f1.png", "A01/g.png")
    (tmp_path / "A02").mkdir()
    (tmp_path / "A02" / "f1.png").write_text("another image")
    for name in ("A02/f1.png", "A03/f1.png"):
        assert by_hand(tmp_path, folder, f"{name},7\ng,3") == {"g": 3}
    for option in ("groups", "factor"):
        column = {"groups": "group", "factor": "factor"}[option]
        (tmp_path / "t.csv").write_text(f"image,{column}\nA02/f1.png,4\nA01/g.png,2\n")
        rule = DensityConfig.parse({option: {"kind": "csv", "path": str(tmp_path / "t.csv")}}, "test")
        with pytest.raises(InputError, match=rf"Names no {column} for f1 \(it names A02/f1\.png"):
            beadseg.density(folder, rule)


def test_planes_counted_by_hand(tmp_path: Path) -> None:
    folder = write_counts(tmp_path / "out", [row("b", 20, plane="z000"), row("b", 30, plane="z001")])
    with pytest.raises(InputError, match=r"'b' may be any of b_z000, b_z001\. Write the name of a plane"):
        by_hand(tmp_path, folder, "b,7")
    (tmp_path / "planes.csv").write_text("image,plane,beads\nb,z000,7\nb.tif,z001,8\n")
    report = beadseg.density(folder, manual=tmp_path / "planes.csv")
    assert {one.image: one.manual for one in report.manual} == {"b_z000": 7, "b_z001": 8}
