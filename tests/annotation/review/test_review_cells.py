from __future__ import annotations

import csv
import io

import pytest

from beadseg.text import from_cell, from_line, to_cell, to_line

HOSTILE = [
    "", "plain", "a,b;c", 'say "no"', "two\nlines\r\n", "=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "'quoted",
    "\\n is no line feed", "\\", "ends in \\", "\\\\\\", "a\0b", "µm — bead ☃", "=1", "<script>alert(1)</script>",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_comes_back(text: str) -> None:
    assert from_cell(to_cell(text)) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_cell_is_one_line_and_no_formula(text: str) -> None:
    cell = to_cell(text)
    assert not {"\n", "\r", "\0"} & set(cell)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\uff1d"))


def test_a_row_is_one_line_that_any_csv_reader_takes_apart() -> None:
    line = to_line(HOSTILE)
    assert line.count("\n") == 1
    assert from_line(line.removesuffix("\n")) == HOSTILE
    assert len(next(csv.reader(io.StringIO(line)))) == len(HOSTILE)


def test_bytes_that_are_no_text_are_written_out() -> None:
    to_cell("bad \udcff name").encode("utf-8")
