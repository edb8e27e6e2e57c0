"""The figures of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from study_cells import COUNTS, FEW, LOSSES, SAME_AREA, SAME_SIZE
from study_results import measured, trainings

from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, new_figure, save, tidy

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
CURVES = {
    ("microbeads", "as it is"): (BLUE, "microbeads preset"),
    ("microbeads", "lr 1e-3"): (GREEN, "lr 1e-3"),
    ("collapse", "microbeads preset, lr 1e-4, Keras' momentum"): (ORANGE, "microbeads preset, Keras' momentum"),
    ("collapse", "microbeads preset, lr 1e-3, Keras' momentum"): (PURPLE, "lr 1e-3, Keras' momentum"),
}


def draw(results: Path, folder: Path) -> None:
    """Draw what is there of the results into `folder`."""
    _gradients(results, folder / "study-gradient.png")
    _effects(results, folder / "study-effects.png")
    _collapse(results, folder / "study-collapse.png")


def _gradients(results: Path, path: Path) -> None:
    figure = new_figure(8, 3.4)
    rows = measured(results, "gradient")
    for axes, series in zip(figure.subplots(1, 2, sharey=True), (SAME_AREA, SAME_SIZE), strict=True):
        for colour, loss in zip(COLOURS, LOSSES, strict=True):
            own = [row for row in rows if row["series"] == series and row["loss"] == loss]
            norms = np.array([[row["start"] for row in own if row["objects"] == count] for count in COUNTS])
            relative = norms / norms[COUNTS.index(FEW)]
            axes.plot(COUNTS, relative.mean(1), color=colour, marker="o", markersize=4, label=loss)
            axes.fill_between(COUNTS, relative.min(1), relative.max(1), color=colour, alpha=0.2, linewidth=0)
        axes.plot(COUNTS, np.array(COUNTS) / FEW, color=GREY, linestyle="--", label="proportional")
        axes.set(xscale="log", yscale="log", xlabel="objects per image", title=f"more objects of the {series}")
        tidy(axes)
    figure.axes[0].set_ylabel(f"norm of the gradient, relative to {FEW} objects")
    figure.axes[1].legend(frameon=False, fontsize="small")
    save(figure, path)


def _effects(results: Path, path: Path) -> None:
    groups = {"microbeads": trainings(results, "microbeads"), "dense": trainings(results, "dense")}
    figure = new_figure(8.5, 0.24 * max(map(len, groups.values())) + 1)
    for axes, (preset, found) in zip(figure.subplots(1, 2), groups.items(), strict=True):
        _dots(axes, found)
        axes.set(xlim=(0, 1), xlabel="validation Jaccard", title=f"around the {preset} preset")
    figure.axes[0].legend(frameon=False, fontsize="small", loc="lower right")
    save(figure, path)


def _dots(axes: Axes, found: dict) -> None:
    """Draw one row per variant: every seed's best as a dot and its last as a cross."""
    for height, rows in enumerate(found.values()):
        for key, marker, colour in (("best", "o", BLUE), ("final", "x", ORANGE)):
            label = {"best": "best epoch", "final": "last epoch"}[key] if height == 0 else None
            values = [row[key] for row in rows]
            axes.scatter(values, [height] * len(values), marker=marker, color=colour, s=22, label=label)
    if found:
        base = next(iter(found.values()))
        axes.axvline(float(np.mean([row["final"] for row in base])), color=GREY, linestyle=":")
    axes.set_yticks(range(len(found)), list(found), fontsize="small")
    axes.invert_yaxis()
    tidy(axes)


def _collapse(results: Path, path: Path) -> None:
    figure = new_figure(6, 3.4)
    axes = figure.subplots()
    for (group, name), (colour, label) in CURVES.items():
        for number, row in enumerate(trainings(results, group).get(name, [])):
            epochs = np.arange(1, len(row["curve"]) + 1)
            axes.plot(epochs, row["curve"], color=colour, linewidth=1.2, label=label if number == 0 else None)
    axes.set(xlabel="epoch (2 optimizer steps)", ylabel="validation Jaccard", ylim=(0, 1))
    axes.legend(frameon=False, fontsize="small")
    tidy(axes)
    save(figure, path)
