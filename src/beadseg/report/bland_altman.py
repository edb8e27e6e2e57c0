"""The agreement of two counts as figures and as a table: differences against means, and ratios."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, SymmetricalLogLocator

from beadseg.measure.scores import Agreement, agreement, paired, ratio_agreement, spans_decades
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, label_of, new_figure, tidy
from beadseg.report.html import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator
    from numpy.typing import NDArray

MOST_FIELDS = 10
"""With more fields of view than this, one colour for all."""
MARKERS = "osD^vP*X"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE)


def difference_figure(true: Sequence[float], predicted: Sequence[float], fields: Sequence[str]) -> Figure:
    """Return the plot of differences against means, with bias, limits of agreement and their confidence bands."""
    reference = paired(true, predicted)
    counted = np.asarray(predicted, float)
    figure, axes = _axes()
    mean = (reference + counted) / 2
    _points(axes, mean, counted - reference, fields)
    _limits(axes, agreement(true, predicted), "{:+.1f}")
    axes.axhline(0, color=GREY, linewidth=1)
    if spans_decades(true):
        axes.set_xscale("symlog", linthresh=10)
        _plain_ticks(axes, SymmetricalLogLocator(linthresh=10, base=10, subs=_steps(mean)))
        axes.set_xlim(left=0)
    axes.set(xlabel="mean of true and predicted beads", ylabel="predicted - true", title="Difference per image")
    return figure


def ratio_figure(true: Sequence[float], predicted: Sequence[float], fields: Sequence[str]) -> Figure:
    """Return the plot of ratios against geometric means, for images with beads on both sides."""
    reference, counted = paired(true, predicted), np.asarray(predicted, float)
    both = (reference > 0) & (counted > 0)
    found = ratio_agreement(true, predicted)
    figure, axes = _axes()
    ratio = counted[both] / reference[both]
    _points(axes, np.sqrt(counted * reference)[both], ratio, [f for f, keep in zip(fields, both, strict=True) if keep])
    axes.set_xscale("log")
    axes.set_yscale("log")
    _limits(axes, found, "x {:.2f}")
    axes.axhline(1, color=GREY, linewidth=1)
    reach = 1.15 * max(1.1, ratio.max(), 1 / ratio.min(), found.upper_interval[1], 1 / found.lower_interval[0])
    axes.set_ylim(1 / reach, reach)
    _plain_ticks(axes, LogLocator(subs=_steps(reference[both])))
    subs = (1.0, 1.2, 1.5, 2.0, 3.0, 5.0, 7.0, 8.0, 9.0) if reach < 3 else (1.0, 2.0, 5.0) if reach < 30 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="geometric mean of true and predicted beads", ylabel="predicted / true", title="Ratio per image")
    return figure


def _axes() -> tuple[Figure, Axes]:
    figure = new_figure(5.6, 4.2)
    axes = figure.add_subplot()
    tidy(axes)
    return figure, axes


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], fields: Sequence[str]) -> None:
    """Draw one point per image; fields of view by colour and shape while these can be told apart."""
    names = list(dict.fromkeys(fields))
    groups = [[name] for name in names] if len(names) <= MOST_FIELDS else [names]
    for at, group in enumerate(groups):
        chosen = np.isin(np.asarray(fields, object), group)
        axes.plot(
            x[chosen],
            y[chosen],
            MARKERS[at // 4 % 8],
            color=COLOURS[at % 4],
            markersize=4.5,
            alpha=0.8,
            label=label_of(group[0]) if len(names) <= MOST_FIELDS else "image",
            rasterized=len(x) > 3000,
        )
    if 1 < len(names) <= MOST_FIELDS:
        axes.figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)


def _plain_ticks(axes: Axes, locator: Locator) -> None:
    """Write the counts on the horizontal axis as plain numbers."""
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _steps(counts: NDArray[np.float64]) -> tuple[float, ...]:
    """Return the ticks within a decade: fewer where there are many decades."""
    positive = counts[counts > 0]
    return (1.0, 2.0, 5.0) if len(positive) and positive.max() < 100 * max(positive.min(), 5) else (1.0,)


def _limits(axes: Axes, found: Agreement, form: str) -> None:
    """Draw bias and limits with their confidence bands, named at the right border."""
    for value, (low, high), style, name, shade in (
        (found.upper, found.upper_interval, "--", "upper limit", GREY),
        (found.lower, found.lower_interval, "--", "lower limit", GREY),
        (found.bias, found.bias_interval, "-", "bias", BLUE),
    ):
        axes.axhspan(low, high, color=shade, alpha=0.16, linewidth=0)
        axes.axhline(value, color=BLUE, linewidth=1.3, linestyle=style)
        axes.annotate(f"{name}\n{form.format(value)}", (1.01, value), xycoords=("axes fraction", "data"), fontsize=8,
                      va="center", annotation_clip=False)  # fmt: skip


def agreement_table(found: Mapping[str, Agreement]) -> Table:
    """Return one row per comparison: bias and limits, each with its interval."""
    columns = (Column("Agreement"), Column("Images", "d"), Column("Bias"), Column("Lower limit"), Column("Upper limit"))
    rows = [_row(name, one) for name, one in found.items()]
    return Table(columns, rows, "Each with its 95 % confidence interval")


def _row(name: str, found: Agreement) -> Row:
    def told(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.3g} ({interval[0]:.3g} to {interval[1]:.3g})".replace("-", "\N{MINUS SIGN}")

    return (
        name,
        found.pairs,
        told(found.bias, found.bias_interval),
        told(found.lower, found.lower_interval),
        told(found.upper, found.upper_interval),
    )
