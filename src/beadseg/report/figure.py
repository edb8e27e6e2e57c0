"""What all figures share: colours, axes, and the way to a PNG; and the curves of trainings.

No pyplot, no window, safe in any thread.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING, Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from beadseg.errors import InputError
from beadseg.files import ensure_folder, write_atomically
from beadseg.training.diagnosis import EXPECTED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


MOST_MARKERS = 60
"""Curves of more points than this are lines alone."""


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Write the training curves as PNG and return the path; see `curves_figure`.

    Raises
    ------
    InputError
        There is no epoch yet.
    MachineError
        The place is not writable.
    """
    return save(curves_figure(history), path)


def curves_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Return losses, Jaccard, counts and learning rate over the epochs.

    Parameters
    ----------
    history : sequence of mapping
        One row per epoch with ``epoch``, ``lr``, ``train_loss``, ``val_loss``, ``val_jaccard_images``, ``val_f1`` … A
        column may be missing or empty in some epochs; a value that is not finite leaves a gap.

    Raises
    ------
    InputError
        There is no epoch yet.
    """
    _refuse_empty(history)
    parts = (_losses, _scores, _beads, _counts, _rates) if has_counts(history) else (_losses, _scores, _rates)
    figure = new_figure(4.3 * len(parts), 3.8)
    for axes, draw in zip(figure.subplots(1, len(parts)), parts, strict=True):
        draw(axes, history)
    return figure


def has_counts(history: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether beads were counted in validation, which older runs and those without validation samples lack."""
    return any(row.get("val_f1") not in (None, "") for row in history)


def count_panels(history: Sequence[Mapping[str, Any]]) -> tuple[Figure, Figure]:
    """Return F1 of beads and the error of the counts over the epochs; the history must have counts.

    Raises
    ------
    InputError
        There is no epoch yet.
    """
    _refuse_empty(history)
    figures = new_figure(5.6, 3.8), new_figure(5.6, 3.8)
    for figure, draw in zip(figures, (_beads, _counts), strict=True):
        draw(figure.add_subplot(), history)
    return figures


def curve_panels(history: Sequence[Mapping[str, Any]]) -> tuple[Figure, Figure, Figure]:
    """Return loss, Jaccard and learning rate of `curves_figure` apart, for a page that lays them out itself.

    Raises
    ------
    InputError
        There is no epoch yet.
    """
    _refuse_empty(history)
    figures = new_figure(5.6, 3.8), new_figure(5.6, 3.8), new_figure(5.6, 3.8)
    for figure, draw in zip(figures, (_losses, _scores, _rates), strict=True):
        draw(figure.add_subplot(), history)
    return figures


def _refuse_empty(history: Sequence[Mapping[str, Any]]) -> None:
    if not history:
        raise InputError("The history has no epoch yet.", remedy="Wait until the first epoch has ended.")


def _losses(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    draw_lines(axes, history, (("train_loss", "training", BLUE, "-"), ("val_loss", "validation", ORANGE, "-")))
    axes.set(ylabel="loss", title="Loss")
    _epoch_axis(axes, history)


def _scores(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    if max(_column(history, "epoch")) >= min(EXPECTED):
        expected_band(axes)
    draw_lines(
        axes,
        history,
        (
            ("train_jaccard_images", "training, mean over images", BLUE, "-"),
            ("val_jaccard_images", "validation, mean over images", ORANGE, "-"),
            ("val_jaccard_fields", "validation, mean over fields", ORANGE, "--"),
            ("val_jaccard_pooled", "validation, pooled", ORANGE, ":"),
        ),
    )
    axes.set(ylabel="Jaccard", ylim=(0, 1), title=_best(history))
    _epoch_axis(axes, history)


def _beads(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    draw_lines(
        axes,
        history,
        (
            ("train_f1", "training", BLUE, "-"),
            ("val_f1", "validation", ORANGE, "-"),
            ("val_f1_sparse", "validation, sparse third", ORANGE, ":"),
            ("val_f1_dense", "validation, dense third", ORANGE, "--"),
        ),
    )
    axes.set(ylabel="F1 of beads", ylim=(0, 1.02), title="Detection")
    _epoch_axis(axes, history)


def _counts(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8)
    draw_lines(
        axes,
        history,
        (
            ("val_count_bias", "bias: found less true", ORANGE, "-"),
            ("val_count_mae", "mean absolute error", ORANGE, "--"),
        ),
    )
    axes.set(ylabel="beads per validation image", title="Count error")
    axes.set_yscale("symlog", linthresh=1)
    _epoch_axis(axes, history)


def _rates(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    draw_lines(axes, history, (("lr", "", GREEN, "-"),))
    axes.set(ylabel="learning rate", title="Learning rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))
    _epoch_axis(axes, history)


def _epoch_axis(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    """Label the epochs; the legend stands wherever something has a name."""
    epochs = _column(history, "epoch")
    axes.set_xlabel("epoch")
    axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def draw_lines(
    axes: Axes, history: Sequence[Mapping[str, Any]], columns: tuple[tuple[str, str, str, str], ...]
) -> None:
    """Draw the columns that have a value; marked when few, since a line of one point shows nothing."""
    for column, label, colour, style in columns:
        rows = [row for row in history if row.get(column) not in (None, "")]
        values = _column(rows, column)
        if any(math.isfinite(value) for value in values):
            marker = "o" if len(rows) <= MOST_MARKERS else ""
            axes.plot(_column(rows, "epoch"), values, style, color=colour, label=label, marker=marker, markersize=3)


def expected_band(axes: Axes) -> None:
    """Fill between the lowest and the highest validation Jaccard that the laboratory expects of each epoch."""
    low, high = zip(*EXPECTED.values(), strict=True)
    axes.fill_between([*EXPECTED], low, high, color=GREY, alpha=0.25, linewidth=0, label="expected by the laboratory")


def _best(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the title of the scores: the best epoch's value."""
    values = _column(history, "val_jaccard_images")
    finite = [at for at, value in enumerate(values) if math.isfinite(value)]
    if not finite:
        return "Jaccard"
    best = max(finite, key=values.__getitem__)
    return f"Jaccard: best {values[best]:.3f} in epoch {_column(history, 'epoch')[best]:.0f}"


def _column(history: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return a column as numbers; NaN for what is missing, empty or infinite, which matplotlib leaves a gap for."""
    values = []
    for row in history:
        text = row.get(name)
        value = math.nan if text is None or text == "" else float(text)
        values.append(value if math.isfinite(value) else math.nan)
    return values
