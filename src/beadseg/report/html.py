"""One self-contained HTML page: everything it shows is inside it, and nothing from outside is ever asked for.

How to make a page::

    page = Page(
        title="Evaluation of first",
        kind="Evaluation",
        lead="Jaccard 0.81 on 24 images.",
        facts=(("Images", "24"), ("Truth", "beads/")),
        notices=(Notice("2 samples have no prediction."),),
        sections=(Section("Scores", (Table(columns, rows), Chart(figure, "Scores per image."))),),
        source=folder,
    )
    page.write(folder / files.REPORT_PAGE)

The blocks of a section are in `beadseg.report.blocks`. All texts are escaped here: give them as they are. Pictures come
from `beadseg.report.picture.picture_of` and are bounded in size; a page keeps those that fit into `PICTURE_BYTES` and
says how many it left out. The page is complete without scripts (one inline script sorts tables), follows the reader's
light or dark colours, and prints.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

import jinja2
from markupsafe import Markup

from beadseg import __version__
from beadseg.data.fields import listed
from beadseg.errors import InputError
from beadseg.events import Event
from beadseg.files import ensure_folder, printable, write_atomically
from beadseg.report.blocks import Block, Chart, Gallery
from beadseg.report.chart import svg_of
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PICTURE_BYTES = 9_000_000
"""Encoded pictures of a page together, bytes; as text in the page they take a third more."""


@dataclass(frozen=True)
class Notice:
    """Something to know before reading on: a box at the top."""

    text: str
    detail: str = ""
    level: Literal["info", "warning"] = "warning"


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
