"""What a page is built from: texts, tables, charts, pictures, lists. Plain data; `beadseg.report.html` renders it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from beadseg.report.picture import Picture  # noqa: TC001 (pages import all blocks from here)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

Tone = Literal["good", "bad", "warn", "neutral"]

MOST_ROWS = 5000
"""A table shows no more rows; the caption says so and names the file that has them all."""


@dataclass(frozen=True)
class Badge:
    """A word with a colour and a sign, so that it is told without colour too; also a table cell."""

    text: str
    tone: Tone = "neutral"


Cell = str | int | float | Badge | None
"""A table cell. Numbers are formatted by their column; None and NaN are shown as a dash."""

Row = tuple[Cell, ...]
"""One cell per column."""


@dataclass(frozen=True)
class Column:
    """A column of a `Table`.

    Attributes
    ----------
    title : str
        Its heading.
    format : str
        Format of its numbers, e.g. ``".3f"``, ``"+.1f"`` or ``",d"``; such a column is aligned right. Empty: text.
    help : str
        Shown when the pointer rests on the heading.
    """

    title: str
    format: str = ""
    help: str = ""

    def shown(self, cell: Cell) -> str:
        """Return a cell as text."""
        if isinstance(cell, Badge):
            return cell.text
        if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
            return "–"  # noqa: RUF001 (a dash, not a minus)
        if isinstance(cell, str):
            return cell
        return format(cell, self.format).replace("-", "\N{MINUS SIGN}")

    def sort_key(self, cell: Cell) -> str:
        """Return what the page's sorting compares: the number itself, or nothing."""
        return repr(cell) if isinstance(cell, int | float) and math.isfinite(cell) else ""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """A table; a long one is folded and can be opened, a very long one is cut at `MOST_ROWS`.

    Attributes
    ----------
    columns : sequence of Column
        Its columns.
    rows : sequence of sequence of Cell
        One cell per column.
    caption : str
        One sentence above it.
    folded_from : int
        With more rows than this it is shown folded.
    complete_in : str
        The file that has all rows, named where rows are cut.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    folded_from: int = 40
    complete_in: str = ""
    kind: ClassVar[str] = "table"

    @property
    def shown_rows(self) -> Sequence[Sequence[Cell]]:
        """The rows that the page has."""
        return self.rows[:MOST_ROWS]


@dataclass(frozen=True)
class Items:
    """A list of sentences or names; a long one is folded."""

    entries: Sequence[str]
    title: str = ""
    folded_from: int = 12
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Verbatim:
    """Text shown as it is, folded under a title: a configuration, a log."""

    title: str
    text: str
    kind: ClassVar[str] = "verbatim"


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure, drawn into the page as vectors: sharp at any size, in the page's light or dark colours.

    Attributes
    ----------
    figure : matplotlib.figure.Figure
        From `beadseg.report.figure.new_figure`.
    caption : str
        One sentence below it.
    alt : str
        What it shows, for who cannot see it; the caption when not given.
    """

    figure: Figure
    caption: str = ""
    alt: str = ""
    kind: ClassVar[str] = "chart"


@dataclass(frozen=True)
class Charts:
    """Charts side by side, as many as the page's width takes."""

    charts: Sequence[Chart]
    kind: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Key:
    """One entry of a gallery's legend: a colour (CSS) and what it means."""

    colour: str
    text: str


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side with a legend.

    Attributes
    ----------
    pictures : sequence of Picture
        In the order in which they matter: the page leaves out the last ones when it would grow too large.
    legend : sequence of Key
        What the colours mean.
    left_out : int
        Pictures that were left out; filled in by the page.
    """

    pictures: Sequence[Picture]
    legend: Sequence[Key] = ()
    left_out: int = 0
    kind: ClassVar[str] = "gallery"


Block = Text | Table | Items | Verbatim | Chart | Charts | Gallery
"""What a section holds."""
