"""One self-contained HTML page: everything it shows is inside it, and nothing from outside is ever asked for.

A page is built from blocks (texts, tables, charts, pictures, lists): plain data that is rendered here.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
import re
import threading
import time
import warnings
from dataclasses import dataclass, field, replace
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import jinja2
import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from PIL import Image

from beadseg import __version__
from beadseg.data.fields import listed
from beadseg.errors import InputError
from beadseg.events import Event
from beadseg.files import ensure_folder, printable, write_atomically
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PICTURE_BYTES = 9_000_000
"""Encoded pictures of a page together, bytes; as text in the page they take a third more."""

Tone = Literal["good", "bad", "warn", "neutral"]

MOST_ROWS = 5000
"""A table shows no more rows; the caption says so and names the file that has them all."""

MOST_SIDE = 1024
"""Longer sides are scaled down to this, px."""
QUALITY = 88
"""Of the JPEG, without colour subsampling, so that coloured lines of one pixel stay as they are."""

_COLOURS = {
    "#000000": "currentColor",
    "#ffffff": "var(--paper)",
    "#e6e6e6": "var(--grid)",
    BLUE.lower(): "var(--blue)",
    ORANGE.lower(): "var(--orange)",
    GREEN.lower(): "var(--green)",
    PURPLE.lower(): "var(--purple)",
    GREY.lower(): "var(--grey)",
}
"""Colours of our figures, and the page's variable that stands for each in light and dark."""

_SETTINGS = threading.Lock()
"""matplotlib's settings and Python's warnings are the whole process': two threads that change them and change them back
would leave them changed."""

_POINTS = re.compile(r'<svg [^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"[^>]*>')
_PX_PER_PT = 96 / 72


@dataclass(frozen=True)
class Notice:
    """Something to know before reading on: a box at the top."""

    text: str
    detail: str = ""
    level: Literal["info", "warning"] = "warning"


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
class Picture:
    """An encoded picture with its text; make one with `picture_of`.

    Attributes
    ----------
    data : bytes
        The encoded file.
    mime : str
        Its kind, e.g. ``image/jpeg``.
    width, height : int
        Its size, px.
    title, caption : str
        In bold above, and one sentence below; shown escaped.
    """

    data: bytes
    mime: str
    width: int
    height: int
    title: str = ""
    caption: str = ""

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` URI."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


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


@dataclass(frozen=True)
class Items:
    """A list of sentences or names; a long one is folded."""

    entries: Sequence[str]
    title: str = ""
    folded_from: int = 12
    kind: ClassVar[str] = "items"


@dataclass(frozen=True)
class Badge:
    """A word with a colour and a sign, so that it is understood without colour too; also a table cell."""

    text: str
    tone: Tone = "neutral"


Cell = str | int | float | Badge | None
"""A table cell. Numbers are formatted by their column; None and NaN are shown as a dash."""


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
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Verbatim:
    """Text shown as it is, folded under a title: a configuration, a log."""

    title: str
    text: str
    kind: ClassVar[str] = "verbatim"


Block = Text | Table | Items | Verbatim | Chart | Charts | Gallery
"""What a section holds."""


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    title: str
    blocks: Sequence[Block]
    intro: str = ""


@dataclass(frozen=True)
class Page:
    """What a page says; see the module for an example.

    Attributes
    ----------
    title : str
        The page's name.
    kind : str
        What it is about: "Training run", "Evaluation" …
    lead : str
        The result in one sentence.
    facts : sequence of (str, str)
        Names and values for the table at the top.
    notices : sequence of Notice
        Boxes at the top.
    sections : sequence of Section
        Its parts; those without blocks are left out.
    source : path or str
        The folder it was made from, named in the footer.
    made : str
        Date and time; now when not given.
    """

    title: str
    kind: str
    lead: str = ""
    facts: Sequence[tuple[str, str]] = ()
    notices: Sequence[Notice] = ()
    sections: Sequence[Section] = ()
    source: Path | str = ""
    made: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

    def render(self) -> str:
        """Return the page as HTML text."""
        style, script = _asset("page.css"), _asset("page.js")
        return _template().render(
            page=self,
            sections=_fitted([section for section in self.sections if section.blocks]),
            source=printable(self.source),
            version=__version__,
            style=Markup(style),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
            draw=_Drawings(),
        )

    @property
    def pictures(self) -> int:
        """How many pictures it shows, charts not counted."""
        blocks = (block for section in self.sections for block in section.blocks)
        return sum(len(block.pictures) for block in blocks if isinstance(block, Gallery))

    def write(self, path: Path, keep_fuller: str = "") -> Path:
        """Write the page, whole or not at all, and return its path.

        Parameters
        ----------
        path : pathlib.Path
            Where it goes.
        keep_fuller : str
            When given, a page that is there and has more pictures is kept, and this says what the user can do.

        Raises
        ------
        InputError
            A page with more pictures is there and was kept.
        MachineError
            The place is not writable, or the disk is full.
        """
        before = _pictures_in(path) if keep_fuller else 0
        if self.pictures < before:
            text = f"Only {self.pictures} of its {plural(before, 'picture')} can be made now, so that it was kept."
            raise InputError(text, path, f"{keep_fuller} Or delete the page to make it without them.")
        ensure_folder(path.parent)
        write_atomically(path, self.render())
        return path


def _pictures_in(path: Path) -> int:
    """Return how many pictures a page on disk shows; 0 where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").count("<img src=")
    except OSError:
        return 0


def missing_pictures(reasons: Sequence[str]) -> Event:
    """Return the event that says which pictures a page lacks, and why."""
    text = f"{plural(len(reasons), 'picture')} could not be made: {listed(list(reasons), 3)}"
    return Event("missing-pictures", text, "warning", {"reasons": list(reasons)})


class _Drawings:
    """Draws charts, each with ids of its own."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, chart: Chart) -> Markup:
        self._count += 1
        return Markup(svg_of(chart.figure, f"c{self._count}", chart.alt or chart.caption))


def _fitted(sections: Sequence[Section]) -> list[Section]:
    """Return the sections with the pictures that fit into the page, first come first kept."""
    left = PICTURE_BYTES
    fitted = []
    for section in sections:
        blocks: list[Block] = []
        for block in section.blocks:
            if isinstance(block, Gallery):
                kept = []
                for picture in block.pictures:
                    left -= len(picture.data)
                    if left < 0:
                        break
                    kept.append(picture)
                block = replace(block, pictures=kept, left_out=len(block.pictures) - len(kept))
            blocks.append(block)
        fitted.append(replace(section, blocks=blocks))
    return fitted


@cache
def _asset(name: str) -> str:
    return resources.files("beadseg.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


Row = tuple[Cell, ...]
"""One cell per column."""


def picture_of(
    pixels: NDArray[np.uint8], title: str = "", caption: str = "", *, side: int = MOST_SIDE, lossless: bool = False
) -> Picture:
    """Encode pixels for a page.

    Parameters
    ----------
    pixels : (Y, X) or (Y, X, 3) uint8
        Grey or RGB.
    title, caption : str
        What is above and below it.
    side : int
        Longer sides are scaled down to this, px, by averaging.
    lossless : bool
        PNG instead of JPEG: several times larger.

    Raises
    ------
    InputError
        The array is not such a picture.
    """
    if pixels.dtype != np.uint8 or pixels.size == 0 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim not in (2, 3):
        raise InputError(f"An array of shape {pixels.shape} and dtype {pixels.dtype} is not a picture for a page.")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    mime = "image/png" if lossless else "image/jpeg"
    return Picture(buffer.getvalue(), mime, image.width, image.height, title, caption)


def svg_of(figure: Figure, name: str, alt: str) -> str:
    """Return a figure as an ``<svg>`` element for an HTML page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        From `beadseg.report.figure.new_figure`.
    name : str
        Unique on the page; letters and digits. All ids in the drawing begin with it.
    alt : str
        What the figure shows, in words.
    """
    buffer = io.StringIO()
    # Text stays text: it is searched, read aloud, and shown in fonts that the reader has.
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "beadseg",
        "font.sans-serif": ["DejaVu Sans", "Verdana"],
    }
    with _SETTINGS, mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'\bid="', f'id="{name}-', drawing)
    drawing = drawing.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    drawing = drawing.replace("xlink:href=", "href=")
    for colour, variable in _COLOURS.items():
        drawing = re.sub(rf"(?<=[:\"]){colour}|(?<=: ){colour}", variable, drawing)
    return _POINTS.sub(lambda match: _opening(match, alt), drawing, count=1).strip()


def _opening(match: re.Match[str], alt: str) -> str:
    """Return the element's opening: as wide as the figure at most, narrower where the page is."""
    width, height = (float(value) for value in match.groups())
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width * _PX_PER_PT:.0f}" height="{height * _PX_PER_PT:.0f}"'
    return f'<svg class="chart" {size} role="img" aria-label="{escape(alt)}">'
