"""Tables as text: ``| a | b |`` for logs and Markdown, box-drawing lines for a terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = tuple[str, ...]

TIMES = "\u00d7"
"""The multiplication sign."""
WIDEST = 28
"""Width at which cells of a box table are wrapped, characters."""


def pipe_table(header: Row, rows: Sequence[Row], *, align: bool = True) -> str:
    """Return a Markdown table; with `align` its columns are padded, for reading as plain text."""
    table = [tuple(_plain(cell) for cell in row) for row in (header, *rows)]
    widths = [max(3, *(len(row[at]) for row in table)) if align else 3 for at in range(len(header))]
    lines = [f"| {' | '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))} |" for row in table]
    if not align:
        lines = [f"| {' | '.join(row)} |" for row in table]
    return "\n".join([lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]])


def box_table(header: Row, groups: Sequence[Sequence[Row]], widest: int = WIDEST, first: int = WIDEST) -> str:
    """Return a table of box-drawing characters with a line after the header and after every group of rows.

    Cells are wrapped at `widest` letters, those of the first column at `first`.
    """
    wrapped = [[_wrapped(row, widest, first) for row in group] for group in ((header,), *groups) if group]
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


def _wrapped(row: Row, widest: int, first: int) -> list[Row]:
    """Return the lines that a row takes."""
    cells = [textwrap.wrap(_one_line(cell), widest if at else first) or [""] for at, cell in enumerate(row)]
    height = max(len(lines) for lines in cells)
    return [tuple(lines[at] if at < len(lines) else "" for lines in cells) for at in range(height)]


def _one_line(text: str) -> str:
    """Return a user's text without line feeds and what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _plain(text: str) -> str:
    r"""Return a cell of a Markdown table: a bar in it is escaped as ``\|``, what could be HTML as ``&lt;``."""
    return _one_line(text).replace("|", r"\|").replace("<", "&lt;")
