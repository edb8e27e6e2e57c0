"""Figures of densities: a dilution series with its line, how far its points lie from it, and the density of groups."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, label_of, new_figure, tidy
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from beadseg.measure.concentration.document import DensityReport, DilutionFit, DilutionPoint

UNITS = {"beads_per_ml": "beads per ml", "beads_per_mm2": "beads per mm²", "beads_per_mpx": "beads per megapixel"}
"""Units as a reader knows them."""
MOST_GROUPS = 60
"""With more groups than this, their names would be unreadable."""


def dilution_figure(report: DensityReport) -> Figure:
    """Return density over dilution factor on logarithmic axes, and below it observed over expected density."""
    figure = new_figure(7.2, 6.6 if report.dilution else 4.6)
    if report.dilution is None:
        _series(figure.add_subplot(), report)
    else:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2.6, 1))
        _series(upper, report)
        upper.set_xlabel("")
        _residuals(lower, report.points, report.dilution)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def groups_figure(report: DensityReport) -> Figure:
    """Return the density of every group with its interval, split into errors of counting and chance."""
    groups = report.groups
    figure = new_figure(7.2, max(2.4, min(14.0, 1.4 + 0.24 * len(groups))))
    axes = figure.add_subplot()
    for row, group in enumerate(groups):
        axes.plot(
            group.density_total, [row, row], color=GREY, linewidth=1.4, label="with sampling" if not row else None
        )
        if group.density_counting is not None:
            axes.plot(group.density_counting, [row, row], color=BLUE, linewidth=4, alpha=0.5,
                      label="errors of counting" if row == 0 else None)  # fmt: skip
    axes.plot([group.density for group in groups], range(len(groups)), "o", color=BLUE, markersize=5, label="density")
    if len(groups) <= MOST_GROUPS:
        axes.set_yticks(range(len(groups)), [label_of(group.group) for group in groups], fontsize=7)
    else:
        axes.set_ylabel(plural(len(groups), "group"))
    positive = [group.density for group in groups if group.density > 0]
    if positive and max(positive) > 30 * min(positive):
        axes.set_xscale("symlog", linthresh=min(positive) / 2)
    axes.set(ylim=(len(groups) - 0.4, -0.6), xlabel=UNITS[report.unit], title="Density by group")
    axes.set_xlim(0, 1.15 * max(group.density_total[1] for group in groups))
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def _series(axes: Axes, report: DensityReport) -> None:
    """Draw images, points with intervals, and the line with its band."""
    fit, points = report.dilution, report.points
    images = [image for image in report.images if image.factor is not None]
    seen = [image for image in images if image.density > 0]
    axes.plot([image.factor or 0 for image in seen], [image.density for image in seen], ".", color=GREY, alpha=0.5,
              markersize=4, label="image")  # fmt: skip
    floor = 0.5 * min((image.density for image in seen), default=1.0)
    empty = [image.factor or 0 for image in images if image.density == 0]
    axes.plot(empty, [floor] * len(empty), "v", color=GREY, alpha=0.5, markersize=4,
              label="image without beads" if empty else None)  # fmt: skip
    if fit is not None:
        _line(axes, fit, points)
    filled = [point for point in points if point.density > 0]
    _points(axes, [p.factor for p in filled], [p.density for p in filled], [p.density_total for p in filled])
    _circles(axes, [(p.factor, p.density) for p in filled if p.outlier], "dilution off the line")
    if fit is not None:
        unlike = [image for image in seen if image.name in fit.outlier_images]
        axes.plot([image.factor or 0 for image in unlike], [image.density for image in unlike], "x", color=ORANGE,
                  markersize=7, label="image unlike its others" if unlike else None)  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    _factor_axis(axes, points)
    axes.set(xlabel="dilution factor", ylabel=UNITS[report.unit], title=_title(fit))
    axes.title.set_fontsize(10)
    tidy(axes)


def _title(fit: DilutionFit | None) -> str:
    if fit is None:
        return "Dilution series, no regression"
    low, high = fit.slope_interval
    text = f"slope {fit.slope:.3f} (95 %: {low:.3f} to {high:.3f}), {fit.model.replace('-', ' ')}"
    return text.replace("-", "\N{MINUS SIGN}")


def _points(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    label: str = "dilution",
) -> None:
    reach = [[value - low for value, (low, _) in zip(y, intervals, strict=True)],
             [high - value for value, (_, high) in zip(y, intervals, strict=True)]]  # fmt: skip
    axes.errorbar(x, y, reach if x else None, fmt="o", color=BLUE, markersize=6, capsize=3, label=label, zorder=3)


def _circles(axes: Axes, places: Sequence[tuple[float, float]], label: str) -> None:
    if places:
        x, y = zip(*places, strict=True)
        axes.plot(x, y, "o", markersize=14, markerfacecolor="none", color=ORANGE, markeredgewidth=1.6, label=label)


def _line(axes: Axes, fit: DilutionFit, points: Sequence[DilutionPoint]) -> None:
    """Draw the fitted line with its band, and the line that a dilution should make."""
    factors = np.geomspace(points[0].factor, points[-1].factor, 60)
    middle, half = _expected(fit, factors)
    axes.fill_between(factors, np.exp(middle - half), np.exp(middle + half), color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(factors, np.exp(middle), color=BLUE, linewidth=1.3, label="regression")
    axes.plot(
        factors, fit.undiluted / factors, color=GREEN, linewidth=1.2, linestyle="--", label="slope \N{MINUS SIGN}1"
    )


def _expected(fit: DilutionFit, factors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log(expected density) and half of its interval."""
    x = np.log(factors)
    of_intercept, of_slope, together = fit.covariance
    variance = of_intercept + x**2 * of_slope + 2 * x * together
    return fit.intercept + fit.slope * x, fit.quantile * np.sqrt(np.maximum(0.0, variance))


def _residuals(axes: Axes, points: Sequence[DilutionPoint], fit: DilutionFit) -> None:
    """Draw observed over expected density with the interval of the observed one."""
    shown = [(point, point.expected) for point in points if point.expected]
    ratios = [point.density / expected for point, expected in shown]
    intervals = [(point.density_total[0] / expected, point.density_total[1] / expected) for point, expected in shown]
    _points(axes, [point.factor for point, _ in shown], ratios, intervals, label="_ratio")
    _circles(axes, [(p.factor, r) for (p, _), r in zip(shown, ratios, strict=True) if p.outlier], "_off the line")
    factors = np.geomspace(points[0].factor, points[-1].factor, 60)
    middle, half = _expected(fit, factors)
    axes.fill_between(factors, np.exp(-half), np.exp(half), color=BLUE, alpha=0.15, linewidth=0)
    axes.plot(factors, fit.undiluted / factors / np.exp(middle), color=GREEN, linewidth=1.2, linestyle="--")
    axes.axhline(1, color=BLUE, linewidth=1.3)
    reach = max(1.05, *(max(high, 1 / low if low > 0 else 1.0) for low, high in intervals))
    axes.set_ylim(max(0.0, 1 - 1.1 * (min(reach, 3) - 1)), 1 + 1.1 * (min(reach, 3) - 1))
    axes.set(xlabel="dilution factor", ylabel="observed / expected")
    tidy(axes)


def _factor_axis(axes: Axes, points: Sequence[DilutionPoint]) -> None:
    """Name the factors that there are, or powers of ten where they would run into each other."""
    factors = [point.factor for point in points]
    span = math.log10(factors[-1] / factors[0]) if len(factors) > 1 else 1.0
    close = len(factors) > 1 and min(b / a for a, b in pairwise(factors)) < 10 ** (span / 12)
    if not close:
        axes.xaxis.set_major_locator(FixedLocator(factors))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
