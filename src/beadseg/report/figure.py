"""What all figures share: colours, axes, and the way to a PNG. No pyplot, no window, safe in any thread."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes


BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#777777"
"""Colour-blind-safe colours (Okabe and Ito 2008)."""

DPI = 120
"""Resolution of the PNGs."""

MOST_LETTERS = 32
"""Longer names are shortened in the middle where they label a figure."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes) -> None:
    """Take away the frame's upper and right side and add a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def label_of(name: str, most: int = MOST_LETTERS) -> str:
    """Return a user's name as a label: short, and without what matplotlib takes for formulas or hidden entries."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in name)
    if len(shown) > most:
        shown = f"{shown[: most // 2]}…{shown[-(most - most // 2 - 1) :]}"
    shown = shown.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG and return its path.

    Raises
    ------
    MachineError
        The place is not writable, or the disk is full.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="png")
    ensure_folder(path.parent)
    write_atomically(path, buffer.getvalue())
    return path
