"""The page of densities: groups, a dilution series with its regression, counts by hand, and every image."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from beadseg import files
from beadseg.measure.scores import agreement, ratio_agreement, spans_decades
from beadseg.report.bland_altman import agreement_table, difference_figure, ratio_figure
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, label_of, new_figure, save, tidy
from beadseg.report.html import (
    Badge,
    Block,
    Cell,
    Chart,
    Charts,
    Column,
    Items,
    Notice,
    Page,
    Row,
    Section,
    Table,
    Text,
)
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from beadseg.measure.concentration.document import Density, DensityReport, DilutionFit, DilutionPoint

DILUTION_PNG = "dilution.png"
"""The dilution series with its line."""
GROUPS_PNG = "density_groups.png"
"""Density of every group."""
AGREEMENT_PNG = "agreement.png"
"""Bland-Altman plot of counts by hand; from two images on."""
RATIO_PNG = "agreement_ratio.png"
"""The same with ratios, where counts span at least a decade."""

_HOW = (
    "Intervals are of 95 %. 'Counting': how many beads are in these images, given the errors that the model made where "
    "the truth is known. 'Sampling': other drops of the same suspension would have held other numbers (Poisson, wider "
    "where the images of a group differ more). 'Total' has both."
)

UNITS = {"beads_per_ml": "beads per ml", "beads_per_mm2": "beads per mm²", "beads_per_mpx": "beads per megapixel"}
"""Units as a reader knows them."""
MOST_GROUPS = 60
"""With more groups than this, their names would be unreadable."""


def write_density_page(folder: Path, report: DensityReport) -> Path:
    """Write figures and ``report.html`` into a folder of densities and return the page's path.

    Raises
    ------
    MachineError
        The folder is not writable.
    """
    figures = density_figures(report)
    for name in (DILUTION_PNG, GROUPS_PNG, AGREEMENT_PNG, RATIO_PNG):
        if name in figures:
            save(figures[name], folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    page = Page(
        title=f"Densities of {Path(report.predictions).resolve().name}",
        kind="Densities",
        lead=_lead(report),
        facts=_facts(report),
        notices=tuple(Notice(note) for note in report.notes),
        sections=(
            Section("Dilution series", _dilution(report, figures)),
            Section("Groups", (Text(_HOW), Chart(figures[GROUPS_PNG], "Density of every group."), _groups(report))),
            Section("Counts by hand", _manual(report, figures)),
            Section("By image", (_images(report),)),
        ),
        source=folder.resolve(),
    )
    return page.write(folder / files.REPORT_PAGE)


def density_figures(report: DensityReport) -> dict[str, Figure]:
    """Return the figures that the images allow, by file name."""
    figures = {GROUPS_PNG: groups_figure(report)}
    if report.points:
        figures[DILUTION_PNG] = dilution_figure(report)
    manual, found = [one.manual for one in report.manual], [one.beads for one in report.manual]
    names = ["image"] * len(manual)
    if len(manual) > 1:
        figures[AGREEMENT_PNG] = difference_figure(manual, found, names)
    if sum(a > 0 and b > 0 for a, b in zip(manual, found, strict=True)) > 1 and spans_decades(manual):
        figures[RATIO_PNG] = ratio_figure(manual, found, names)
    return figures


def density_text(density: Density, unit: str) -> str:
    """Return a density with its interval in words."""
    low, high = density.density_total
    return f"{density.density:,.4g} ({low:,.4g} to {high:,.4g}) {UNITS[unit]}"


def _lead(report: DensityReport) -> str:
    beads = sum(group.beads for group in report.groups)
    text = f"{beads:,.10g} beads in {plural(len(report.images), 'image')} of {plural(len(report.groups), 'group')}."
    if report.dilution is not None:
        fit = report.dilution
        low, high = fit.slope_interval
        verdict = "as expected" if fit.contains_minus_one else "not the -1 of a correct dilution"
        text += f" Slope of the dilution series {fit.slope:.3f} ({low:.3f} to {high:.3f}): {verdict}."
    return text.replace(" -", " \N{MINUS SIGN}").replace("(-", "(\N{MINUS SIGN}")


def _facts(report: DensityReport) -> list[tuple[str, str]]:
    options = report.options
    facts = [("Predictions", report.predictions), ("Images", f"{len(report.images):,}"), ("Unit", UNITS[report.unit])]
    if options.pixel_size_um is not None:
        facts.append(("Pixel size", f"{options.pixel_size_um:g} µm"))
    if options.depth_um is not None:
        facts.append(("Chamber depth", f"{options.depth_um:g} µm"))
    return facts


def _dilution(report: DensityReport, figures: dict[str, Figure]) -> list[Block]:
    if DILUTION_PNG not in figures:
        return []
    text = "Points: all images of a dilution, with their total interval; below: observed over expected density."
    blocks: list[Block] = [Chart(figures[DILUTION_PNG], text, "Density over dilution factor"), _points_table(report)]
    if report.dilution is not None:
        blocks += [_fit(report.dilution, report.unit), Items(_outliers(report), "Outliers", 30)]
    return blocks


def _fit(fit: DilutionFit, unit: str) -> Table:
    low, high = fit.slope_interval
    rows: list[Row] = [
        ("Slope", f"{fit.slope:.4f} ({low:.4f} to {high:.4f})",
         Badge("contains -1", "good") if fit.contains_minus_one else Badge("-1 is outside", "bad")),
        ("Undiluted, at a slope of -1", f"{fit.undiluted:,.5g} ({fit.undiluted_interval[0]:,.5g} to "
         f"{fit.undiluted_interval[1]:,.5g})", UNITS[unit]),
        ("Counts of images", fit.model.replace("-", " "),
         f"variance over Poisson's {fit.overdispersion:.2f} (p = {fit.overdispersion_p:.2g})"),
    ]  # fmt: skip
    if fit.lack_of_fit is not None and fit.lack_of_fit_p is not None:
        rows.append(("Dilutions about the line", f"scatter {fit.lack_of_fit:.2f} times what images allow (p = "
                     f"{fit.lack_of_fit_p:.2g})", f"standard errors times {fit.widened:.2f}"))  # fmt: skip
    return Table((Column("Regression"), Column("Estimate"), Column("")), rows)


def _outliers(report: DensityReport) -> list[str]:
    fit = report.dilution
    off = [f"Dilution {point.factor:g}x lies off the line that the others make: {density_text(point, report.unit)}, "
           f"expected {point.expected or 0:,.4g}." for point in report.points if point.outlier]  # fmt: skip
    unlike = (
        [] if fit is None else [f"Image {name} is unlike the others of its dilution." for name in fit.outlier_images]
    )
    return [*off, *unlike] or ["None."]


def _density_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("Images", ",d"),
        Column("Beads", ",.10g"),
        Column(UNITS[unit], ",.5g"),
        Column("total", help="Interval with errors of counting and chance"),
        Column("counting", help="Interval from errors of counting alone"),
        Column("sampling", help="Interval from chance alone"),
        Column("Dispersion", ".2f", "Variance of the counts of images over what chance alone would give"),
    )


def _cells(density: Density) -> tuple[Cell, ...]:
    shown = [None if interval is None else f"{interval[0]:,.4g} to {interval[1]:,.4g}"
             for interval in (density.density_total, density.density_counting, density.density_sampling)]  # fmt: skip
    return (density.images, density.beads, density.density, *shown, density.dispersion)


def _points_table(report: DensityReport) -> Table:
    columns = (Column("Dilution", "g"), *_density_columns(report.unit), Column("Expected", ",.5g"), Column(""))
    rows = [(point.factor, *_cells(point), point.expected, Badge("off the line", "warn") if point.outlier else None)
            for point in report.points]  # fmt: skip
    return Table(columns, rows, complete_in=files.DILUTION)


def _groups(report: DensityReport) -> Table:
    columns = (Column("Group"), Column("Dilution", "g"), *_density_columns(report.unit))
    rows = [(group.group, group.factor, *_cells(group)) for group in report.groups]
    return Table(columns, rows, complete_in=files.DENSITY_GROUPS)


def _images(report: DensityReport) -> Table:
    columns = (Column("Image"), Column("Group"), Column("Dilution", "g"), *_density_columns(report.unit)[1:-1],
               Column("Flags"))  # fmt: skip
    rows = [
        (image.name, image.group, image.factor, *_cells(image)[1:-1], image.flags or None) for image in report.images
    ]
    return Table(columns, rows, "All images", complete_in=files.DENSITY_IMAGES)


def _manual(report: DensityReport, figures: dict[str, Figure]) -> Sequence[Block]:
    if not report.manual:
        return []
    manual, found = [one.manual for one in report.manual], [one.beads for one in report.manual]
    blocks: list[Block] = [Text(
        f"{plural(len(manual), 'image')} also counted by hand: "
        f"{sum(manual):,.10g} beads by hand, {sum(found):,.10g} by "
        "beadseg. In the plots 'true' is the count by hand."
    )]  # fmt: skip
    captions = {
        AGREEMENT_PNG: "Bland-Altman plot: bias and 95 % limits of agreement, shaded: their 95 % confidence intervals.",
        RATIO_PNG: "The same for ratios, since the counts span more than a factor of ten; 1 is equal.",
    }
    charts = [Chart(figures[name], caption) for name, caption in captions.items() if name in figures]
    if charts:
        rows = {"beadseg - by hand, beads": agreement(manual, found)}
        if RATIO_PNG in figures:
            rows["beadseg / by hand"] = ratio_agreement(manual, found)
        blocks += [Charts(charts), agreement_table(rows)]
    columns = (Column("Image"), Column("By hand", ",.10g"), Column("beadseg", ",.10g"), Column("Difference", "+,.10g"))
    rows_of_images = [(one.image, one.manual, one.beads, one.beads - one.manual) for one in report.manual]
    return [*blocks, Table(columns, rows_of_images, complete_in=files.DENSITY)]


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
    _draw_points(axes, [p.factor for p in filled], [p.density for p in filled], [p.density_total for p in filled])
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


def _draw_points(
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
    _draw_points(axes, [point.factor for point, _ in shown], ratios, intervals, label="_ratio")
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
