"""The page of densities: groups, a dilution series with its regression, counts by hand, and every image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.measure.agreement import agreement, ratio_agreement, spans_decades
from beadseg.report.agreement import agreement_table
from beadseg.report.bland_altman import difference_figure, ratio_figure
from beadseg.report.blocks import Badge, Block, Cell, Chart, Charts, Column, Items, Row, Table, Text
from beadseg.report.dilution import UNITS, dilution_figure, groups_figure
from beadseg.report.figure import save
from beadseg.report.html import Notice, Page, Section
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from beadseg.measure.concentration.document import Density, DensityReport, DilutionFit

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


def told(density: Density, unit: str) -> str:
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
    blocks: list[Block] = [Chart(figures[DILUTION_PNG], text, "Density over dilution factor"), _points(report)]
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
    off = [f"Dilution {point.factor:g}x lies off the line that the others make: {told(point, report.unit)}, "
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


def _points(report: DensityReport) -> Table:
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
