"""Text that people read: numbers with their nouns, plain tables, and CSV cells that a spreadsheet never runs."""

from __future__ import annotations

import csv
import io
import re
import textwrap
from typing import TYPE_CHECKING, Any

from beadseg.files import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a formula begins with, full-width forms too; the apostrophe itself, so that reading can take it off again."""
_WRITTEN_OUT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\0": "\\0"}
_READ_BACK = {written[1]: character for character, written in _WRITTEN_OUT.items()}

Row = tuple[str, ...]

TIMES = "\u00d7"
"""The multiplication sign."""
WIDEST = 28
"""Width at which cells of a box table are wrapped, characters."""


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


def duration(seconds: float) -> str:
    """Return a time as ``45 s``, ``12 min`` or ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


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
        kind = table.dtypes.iloc[at].kind
        if kind not in "biufmM":
            safe[name] = table[name].map(_safe_or_other)
        elif kind == "f" and float_format is not None:  # pandas takes ten times as long
            safe[name] = [float_format % value if value == value else "" for value in table[name].tolist()]
    text = str(safe.to_csv(index=False, lineterminator="\n"))
    if "\r" in text:  # without quotes a carriage return in a name would end its row
        text = str(safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_ALL))
    return text


def csv_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as the text of a CSV file, as `csv_text` does, without pandas.

    Numbers are written so that reading them gives the same float; nothing for None.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_safe_or_other(cell) for cell in row] for row in rows)
    return out.getvalue()


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


def pipe_table(header: Row, rows: Sequence[Row], *, align: bool = True) -> str:
    """Return a Markdown table; with `align` its columns are padded, for reading as plain text."""
    table = [tuple(_plain(cell) for cell in row) for row in (header, *rows)]
    widths = [max(3, *(len(row[at]) for row in table)) if align else 3 for at in range(len(header))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in table]
    if not align:
        lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def box_table(header: Row, groups: Sequence[Sequence[Row]], widest: int = WIDEST) -> str:
    """Return a table of box-drawing characters with a line after the header and after every group of rows.

    Cells are wrapped at `widest` letters, those of the first column at `WIDEST`.
    """
    wrapped = [[_wrapped(row, widest) for row in group] for group in ((header,), *groups) if group]
    cells = [line for group in wrapped for row in group for line in row]
    widths = [max(len(line[at]) for line in cells) for at in range(len(header))]

    def rule(left: str, middle: str, right: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + right

    def text(line: Row) -> str:
        return "│" + "│".join(f" {cell.ljust(width)} " for cell, width in zip(line, widths, strict=True)) + "│"

    lines = [rule("┌", "┬", "┐")]
    for at, group in enumerate(wrapped):
        lines += [text(line) for row in group for line in row]
        lines.append(rule("├", "┼", "┤") if at < len(wrapped) - 1 else rule("└", "┴", "┘"))
    return "\n".join(lines)


def plain_table(rows: Sequence[Row]) -> str:
    """Return a table of spaces, its header underlined; the first column is aligned left, the others right."""
    shown = [tuple(_one_line(cell) for cell in row) for row in rows]
    widths = [max(len(row[at]) for row in shown) for at in range(len(shown[0]))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in shown
    ]
    return "\n".join([lines[0], "-" * sum((*widths, 2 * (len(widths) - 1))), *lines[1:]])


def _wrapped(row: Row, widest: int) -> list[Row]:
    """Return the lines that a row takes."""
    cells = [textwrap.wrap(_one_line(cell), widest if at else WIDEST) or [""] for at, cell in enumerate(row)]
    height = max(len(lines) for lines in cells)
    return [tuple(lines[at] if at < len(lines) else "" for lines in cells) for at in range(height)]


def _one_line(text: str) -> str:
    """Return a user's text without line feeds and what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _plain(text: str) -> str:
    r"""Return a cell of a Markdown table: a bar in it is escaped as ``\|``, what could be HTML as ``&lt;``."""
    return _one_line(text).replace("|", r"\|").replace("<", "&lt;")
