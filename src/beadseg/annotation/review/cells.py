r"""Any text as one cell of a CSV that a spreadsheet shows and never runs, and back again without loss.

A cell never holds a line break (``\n``, ``\r`` and ``\\`` are written out), so that a line of a journal is a row and a
line without its end is one that was never finished. A cell that a spreadsheet would take for a formula begins with
an apostrophe (OWASP: CSV injection).
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from beadseg.files import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

_FORMULA = ("=", "+", "-", "@", "\t", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, full-width forms too; the apostrophe itself, so that reading can take it off again."""
_WRITTEN_OUT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
_READ_BACK = {written[1]: character for character, written in _WRITTEN_OUT.items()}


def to_cell(text: str) -> str:
    """Return `text` as a cell: one line, no formula."""
    line = "".join(_WRITTEN_OUT.get(character, character) for character in printable(text))
    return f"'{line}" if line.startswith(_FORMULA) else line


def from_cell(cell: str) -> str:
    """Return the text that `to_cell` made a cell of."""
    return re.sub(r"\\(.)", lambda pair: _READ_BACK.get(pair[1], pair[0]), cell.removeprefix("'"))


def to_line(texts: Sequence[str]) -> str:
    """Return a row of a CSV, its line feed included."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([to_cell(text) for text in texts])
    return out.getvalue()


def from_line(line: str) -> list[str]:
    """Return the texts of a row; raises `csv.Error` for what is no row."""
    rows = list(csv.reader([line], strict=True))
    return [from_cell(cell) for cell in rows[0]] if rows else []
