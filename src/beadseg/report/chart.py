"""A figure as SVG inside a page: sharp at any size, in the page's colours, with a name for who cannot see it."""

from __future__ import annotations

import io
import re
import threading
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl

from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
