r"""Text that people read: numbers with their nouns, and cells of CSV files that a spreadsheet shows and never runs.

A cell that a spreadsheet would take for a formula begins with an apostrophe (OWASP: CSV injection), which reading takes
off again. A cell of a journal (`to_line`) also never holds a line break (``\n``, ``\r`` and ``\\`` are written out), so
that a line of a journal is a row and a line without its end is one that was never finished.
"""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING, Any

from beadseg.files import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, full-width forms too; the apostrophe itself, so that reading can take it off again."""
_WRITTEN_OUT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
_READ_BACK = {written[1]: character for character, written in _WRITTEN_OUT.items()}


def plural(count: float, noun: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``, ``0 images``, ``12,000 images``.

    Parameters
    ----------
    count : int or float
        How many.
    noun : str
        For one of them. Of several words the last one becomes plural, or the one before ``of``: fields of view.
    many : str, optional
        For several of them, where an s (``es`` after s, x, ch; ``ies`` for a y after a consonant) is wrong.
    """
    shown = f"{count:,.0f}" if float(count).is_integer() else f"{count:,g}"
    return f"{shown} {noun if count == 1 else many or _plural_of(noun)}"


def _plural_of(noun: str) -> str:
    head, of, rest = noun.partition(" of ")
    if of:
        return f"{_plural_of(head)}{of}{rest}"
    if re.search(r"[^aeiou]y$", noun):
        return f"{noun[:-1]}ies"
    hissing = noun.endswith(("s", "x", "ch", "sh")) and not noun.endswith("epoch")
    return f"{noun}es" if hissing else f"{noun}s"


def safe_cell(text: str) -> str:
    """Return `text` as a cell that no spreadsheet takes for a formula; `original` gives the text back."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def original(cell: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and cell.startswith(_FORMULA, 1) else cell


def csv_text(table: pd.DataFrame, float_format: str | None = None) -> str:
    """Return a table as the text of a CSV file: line feeds, no index, and no text cell that could be a formula."""
    safe = table.copy(deep=False)
    for at, name in enumerate(table.columns):
        if table.dtypes.iloc[at].kind not in "biufmM":
            safe[name] = table[name].map(_safe_or_other)
    text = str(safe.to_csv(index=False, float_format=float_format, lineterminator="\n"))
    if "\r" in text:  # without quotes a carriage return in a name would end its row
        text = str(safe.to_csv(index=False, float_format=float_format, lineterminator="\n", quoting=csv.QUOTE_ALL))
    return text


def _safe_or_other(cell: Any) -> Any:
    return safe_cell(cell) if isinstance(cell, str) else cell


def original_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table of text, read from a CSV file, with the texts that were written."""
    read = table.copy(deep=False)
    for name in table.columns:
        read[name] = table[name].map(original)
    return read


def to_cell(text: str) -> str:
    """Return `text` as a cell of a journal: one line, no formula."""
    return safe_cell("".join(_WRITTEN_OUT.get(character, character) for character in printable(text)))


def from_cell(cell: str) -> str:
    """Return the text that `to_cell` made a cell of."""
    return re.sub(r"\\(.)", lambda pair: _READ_BACK.get(pair[1], pair[0]), original(cell))


def to_line(texts: Sequence[str]) -> str:
    """Return a row of a journal, its line feed included."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([to_cell(text) for text in texts])
    return out.getvalue()


def from_line(line: str) -> list[str]:
    """Return the texts of a row; raises `csv.Error` for what is not a row."""
    rows = list(csv.reader([line], strict=True))
    return [from_cell(cell) for cell in rows[0]] if rows else []


def score_text(value: float | None, form: str = ".3f") -> str:
    """Return a score as text; a dash where there is none."""
    return "-" if value is None else format(value, form)
