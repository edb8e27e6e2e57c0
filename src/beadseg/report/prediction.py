"""Figures of a prediction folder: bead sizes, and counts by image or field of view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.dataset import natural_key
from beadseg.report.figure import BLUE, GREY, ORANGE, label_of, new_figure, tidy
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_BARS = 40
"""With more images, dots by field of view are drawn; with more fields than this, a histogram."""


def diameter_figure(diameters: NDArray[np.float64], unit: str, expected: float | None = None) -> Figure:
    """Return the histogram of bead diameters.

    Parameters
    ----------
    diameters : (N,) float
        Equivalent diameters; the longest one in a thousand stands outside the axis.
    unit : str
        ``px`` or ``µm``.
    expected : float, optional
        Diameter in the training data, in the same unit, drawn as a line.
    """
    figure = new_figure(5.6, 3.8)
    axes = figure.add_subplot()
    top = float(np.percentile(diameters, 99.9)) if len(diameters) else 1.0
    axes.hist(diameters, bins=np.linspace(0, 1.05 * max(top, expected or 0, 1e-9), 50).tolist(), color=BLUE)
    if len(diameters):
        middle = float(np.median(diameters))
        axes.axvline(middle, color=ORANGE, linewidth=2, label=f"median {middle:.2f} {unit}")
    if expected is not None:
        axes.axvline(expected, color=GREY, linewidth=1.5, linestyle="--", label=f"training data {expected:.2f} {unit}")
    axes.set(xlabel=f"equivalent diameter, {unit}", ylabel="beads", title="Bead diameters")
    tidy(axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)
    return figure


def counts_by_image_figure(
    images: Sequence[str], fields: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]
) -> Figure:
    """Return the beads of every image: bars, dots by field of view, or a histogram, as their number allows.

    Parameters
    ----------
    images, fields : sequence of str
        Name and field of view of every image.
    beads : sequence of int
        Beads in every image.
    flagged : sequence of bool
        Images whose count is flagged, drawn in another colour.
    """
    if len(images) <= MOST_BARS:
        return _bars(images, beads, flagged)
    if len(set(fields)) <= MOST_BARS:
        return _dots(fields, beads, flagged)
    figure = new_figure(5.6, 3.8)
    axes = figure.add_subplot()
    axes.hist(list(beads), bins=40, color=BLUE)
    axes.set(xlabel="beads per image", ylabel="images", title=f"Beads in {plural(len(images), 'image')}")
    tidy(axes)
    return figure


def _bars(images: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]) -> Figure:
    order = sorted(range(len(images)), key=lambda at: natural_key(images[at]), reverse=True)
    figure, axes = _rows(len(order))
    bars = axes.barh(range(len(order)), [beads[at] for at in order],
                     color=[ORANGE if flagged[at] else BLUE for at in order])  # fmt: skip
    axes.bar_label(bars, [f" {beads[at]:,}" for at in order], fontsize=7)
    axes.set_yticks(range(len(order)), [label_of(images[at]) for at in order], fontsize=7)
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set(title="Beads by image")
    return figure


def _dots(fields: Sequence[str], beads: Sequence[int], flagged: Sequence[bool]) -> Figure:
    names = sorted(set(fields), key=natural_key, reverse=True)
    figure, axes = _rows(len(names))
    row = {name: at for at, name in enumerate(names)}
    for marked, colour in ((False, BLUE), (True, ORANGE)):
        chosen = [at for at, flag in enumerate(flagged) if bool(flag) == marked]
        axes.plot([beads[at] for at in chosen], [row[fields[at]] for at in chosen], "o", color=colour, markersize=4,
                  alpha=0.5, rasterized=len(chosen) > 3000)  # fmt: skip
    means = [float(np.mean([b for b, f in zip(beads, fields, strict=True) if f == name])) for name in names]
    axes.plot(means, range(len(names)), "|", color="black", markersize=12, markeredgewidth=2, label="mean")
    axes.set_yticks(range(len(names)), [label_of(name) for name in names], fontsize=7)
    axes.set_xlim(left=0)
    axes.set(title="Beads per image")
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    return figure


def _rows(count: int) -> tuple[Figure, Axes]:
    """Return a figure whose height goes with the number of rows."""
    figure = new_figure(5.6, max(2.2, min(9.0, 1.0 + 0.21 * count)))
    axes = figure.add_subplot()
    tidy(axes)
    axes.grid(axis="y", visible=False)
    axes.set_ylim(-0.7, count - 0.3)
    axes.set_xlabel("beads")
    return figure, axes
