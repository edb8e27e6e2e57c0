from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from beadseg.data.fields import CsvFields, OwnFields, PatternFields, fields_of
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("320x_2025-05-16_00-59-00_grid_r3_c1", "320x_2025-05-16_00-59-00"),
        ("640x_day_002_GRID_r0_c10", "640x_day_002"),
        ("plate_tile_7", "plate"),
        ("plate_Tile7", "plate"),
        ("plate_r0_c0", "plate"),
        ("plate_R12C3", "plate"),
        ("plate_row1_col2", "plate"),
        ("plate_x512_y0", "plate"),
        ("gridded_sample", "gridded_sample"),
        ("a_gridded", "a_gridded"),
        ("synthetic_80x_2_2025", "synthetic_80x_2_2025"),
        ("_grid_1", "_grid_1"),
    ],
)
def test_default_pattern(name: str, field: str) -> None:
    assert fields_of([name], PatternFields()) == {name: field}


def test_own_pattern_and_own_fields() -> None:
    assert fields_of(["p1-a", "p1-b", "q"], PatternFields(pattern="^(.+)-")) == {"p1-a": "p1", "p1-b": "p1", "q": "q"}
    assert fields_of(["p1-a", "p1-b"], OwnFields()) == {"p1-a": "p1-a", "p1-b": "p1-b"}


@pytest.mark.parametrize("pattern", ["(", "no group"])
def test_wrong_pattern(pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        PatternFields.parse({"pattern": pattern})


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "fields.csv"
    path.write_text("\ufefffield,sample,more\nf1,a.png,1\nf1, 007 ,2\nf2,c.ome.tif,3\n", encoding="utf-8")
    assert fields_of(["a", "007", "c"], CsvFields(path=path)) == {"a": "f1", "007": "f1", "c": "f2"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sample,field\na,f\n", "no field for b"),
        ("sample,field\na,f\nb,\n", "no field for b"),
        ("sample,field\na,f\nb,f\na.tif,g\n", "more than once: a"),
        ("name,field\na,f\n", "no column 'sample'"),
        ("", "Cannot be read as CSV"),
        (None, "No such file"),
    ],
)
def test_csv_that_does_not_fit(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "fields.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        fields_of(["a", "b"], CsvFields(path=path))
