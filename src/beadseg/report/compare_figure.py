"""The validation curves of several runs over the laboratory's expected band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from beadseg.errors import InputError
from beadseg.report.curves import EXPECTED_JACCARD
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, label_of, new_figure, save, tidy

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from beadseg.report.compare import Column, Comparison

COMPARISON_PNG = "comparison.png"
"""Validation curves of the compared runs."""

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#D55E00", "#56B4E9")
"""Colour-blind-safe (Okabe and Ito 2008); with the styles, 24 runs are told apart."""
MOST_MARKERS = 20
"""Curves of more points than this are lines alone."""
_STYLES = ("-", "--", ":", "-.")


def draw_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the curves as PNG and return the path; see `comparison_figure`.

    Raises
    ------
    InputError
        No run has a validation score yet.
    MachineError
        The place is not writable.
    """
    return save(comparison_figure(comparison), path)


def comparison_figure(comparison: Comparison) -> Figure:
    """Return the validation Jaccard by epoch, over the expected band, and by optimizer step.

    An epoch is something else in every preset (a pass over the images, or a fixed number of steps), a step is not.

    Raises
    ------
    InputError
        No run has a validation score yet.
    """
    runs = [column for column in comparison.columns if column.curve]
    if not runs:
        raise InputError("No run has a validation score yet.", remedy="Wait until the first epoch has ended.")
    legend_columns = 1 if len(runs) <= 3 else min(3, -(-len(runs) // 4))
    rows = -(-(len(runs) + 1) // legend_columns)
    figure = new_figure(12, 4.2 + 0.22 * rows)
    by_epoch, by_step = figure.subplots(1, 2, sharey=True)
    epochs, low, high = zip(*EXPECTED_JACCARD, strict=True)
    by_epoch.fill_between(epochs, low, high, color=GREY, alpha=0.25, linewidth=0, label="expected by the laboratory")
    for index, run in enumerate(runs):
        _draw(by_epoch, run, [point.epoch for point in run.curve], index)
        _draw(by_step, run, [point.step for point in run.curve], index)
    last = max(point.epoch for run in runs for point in run.curve)
    by_epoch.set(xlabel="epoch", ylabel="validation Jaccard, mean over images", ylim=(0, 1), xlim=(0.5, last + 0.5))
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    by_step.set(xlabel="optimizer steps", xscale="log")
    by_step.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    by_step.xaxis.set_major_formatter(ScalarFormatter())
    by_step.xaxis.set_minor_formatter(NullFormatter())
    by_epoch.set_title("By epoch", fontsize=10)
    by_step.set_title("By optimizer step: comparable between presets", fontsize=10)
    for axes in (by_epoch, by_step):
        tidy(axes)
    handles, labels = by_epoch.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=legend_columns, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, run: Column, along: list[int], index: int) -> None:
    best = max(run.curve, key=lambda point: point.jaccard)
    axes.plot(
        along,
        [point.jaccard for point in run.curve],
        _STYLES[index // len(_COLOURS) % len(_STYLES)],
        color=_COLOURS[index % len(_COLOURS)],
        marker="o" if len(along) <= MOST_MARKERS else "",
        markersize=3,
        label=f"{label_of(run.name, 40)} (best {best.jaccard:.3f})",
    )
