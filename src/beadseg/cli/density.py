"""`beadseg-batch density`: turn counts into densities, and analyse a dilution series."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beadseg.cli.console import HeldLater, reporter
from beadseg.cli.options import Json, Quiet, writable_folder
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.measure.concentration import DensityReport

OUT = "density"
"""Folder inside the prediction folder that results go to when no other is named."""
MOST_SHOWN = 40
"""Groups and dilutions shown on the terminal; the tables have all."""


def density(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Folder that `predict` wrote.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help=f"Folder to write to; PREDICTIONS/{OUT} when not given."),
    ] = None,
    pixel_size: Annotated[
        float | None,
        typer.Option("--pixel-size", metavar="µm", help="Side of a pixel, µm. Default: what each image file says."),
    ] = None,
    depth: Annotated[
        float | None, typer.Option("--depth", metavar="µm", help="Depth of the counting chamber, µm: beads per ml.")
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="all|CSV|REGEX",
            help="All together, a CSV (columns image, group), or group 1 of a pattern. Default: fields of view.",
        ),
    ] = None,
    factor: Annotated[
        str | None,
        typer.Option(
            "--factor",
            metavar="REGEX|CSV",
            help="Dilution factor: group 1 of a pattern, or a CSV (columns image, factor). Default: as in names, 2.5x.",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", metavar="auto|poisson|negative-binomial", help="Distribution of the counts.")
    ] = "auto",
    manual: Annotated[
        Path | None,
        typer.Option("--manual", metavar="CSV", help="Counts by hand to compare with (columns image, beads)."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn the counts of a prediction folder into densities, and analyse a dilution series.

    Beads per ml (with a pixel size and --depth), per mm² (with a pixel size) or per megapixel: of every image, of
    groups, and of dilutions, with intervals. Where names tell at least two dilution factors, a Poisson or negative
    binomial regression gives the slope, which is -1 where dilutions do what they say, and names outliers. Writes
    density.json, density.csv, density_groups.csv, dilution.csv, figures and report.html.
    """
    from functools import partial

    from beadseg import files
    from beadseg.cli.config_options import earlier_size, warn_if_less
    from beadseg.config.predict import DensityConfig
    from beadseg.events import Event
    from beadseg.measure import density as measure
    from beadseg.report.density_page import write_density_page
    from beadseg.report.pages import report_or_warn

    given: dict[str, Any] = {
        "pixel_size_um": pixel_size, "depth_um": depth, "groups": _rule(group_by), "factor": _rule(factor),
    }  # fmt: skip
    with reporter(json, quiet) as on_event:
        options = {name: value for name, value in given.items() if value is not None}
        config = DensityConfig.parse({**options, "model": model}, "density")
        folder = predictions / OUT if out is None else out
        writable_folder(folder if out is not None or predictions.is_dir() else None)
        report = measure(predictions, config, manual=manual, on_event=on_event)
        earlier = earlier_size(folder, files.DENSITY, "images")
        held = HeldLater()
        with held():
            report.write(folder)
        warn_if_less(folder / files.DENSITY, earlier, len(report.images), "image", on_event)
        page = report_or_warn(partial(write_density_page, folder, report), folder, on_event)
        text = f"{table(report)}\nWritten to {folder}. {page}".strip()
        on_event(Event("result", text, data={"out": str(folder), **_summary(report)}))
        held.tell()


def _rule(text: str | None) -> dict[str, Any] | None:
    """Read ``all``, a CSV file or a pattern."""
    if text is None:
        return None
    if text == "all":
        return {"kind": "all"}
    if text.lower().endswith((".csv", ".tsv", ".txt")):
        return {"kind": "csv", "path": text}
    return {"kind": "pattern", "pattern": text}


def _summary(report: DensityReport) -> dict[str, Any]:
    fit = report.dilution
    return {
        "unit": report.unit,
        "images": len(report.images),
        "beads": sum(image.beads for image in report.images),
        "slope": None if fit is None else fit.slope,
        "slope_interval": None if fit is None else fit.slope_interval,
        "notes": report.notes,
    }


def table(report: DensityReport) -> str:
    """Return groups, dilutions and the regression as lines of text, the same on a terminal and in a log."""
    from beadseg.report.density_page import UNITS
    from beadseg.text import plain_table

    header = ("images", "beads", UNITS[report.unit], "low", "high")
    lines = [plain_table([("group", *header), *(_row(g.group, g) for g in report.groups[:MOST_SHOWN])])]
    if len(report.groups) > MOST_SHOWN:
        lines.append(f"… and {plural(len(report.groups) - MOST_SHOWN, 'more group')}")
    if report.points:
        rows = [(*_row(f"{p.factor:g}x", p), "off the line" if p.outlier else "") for p in report.points[:MOST_SHOWN]]
        lines += ["", plain_table([("dilution", *header, ""), *rows])]
    lines += _regression(report)
    return "\n".join(lines)


def _row(name: str, density: Any) -> tuple[str, ...]:
    low, high = density.density_total
    return (
        name,
        str(density.images),
        f"{density.beads:.10g}",
        *(f"{value:.4g}" for value in (density.density, low, high)),
    )


def _regression(report: DensityReport) -> list[str]:
    fit = report.dilution
    if fit is None:
        return []
    verdict = "contains -1" if fit.contains_minus_one else "does not contain -1"
    low, high = fit.slope_interval
    lines = [
        "",
        f"Slope {fit.slope:.4f}, 95 % interval {low:.4f} to {high:.4f}: {verdict} "
        f"({fit.model.replace('-', ' ')}, {plural(len(report.points), 'dilution')}).",
        f"Undiluted: {fit.undiluted:.5g} ({fit.undiluted_interval[0]:.5g} to {fit.undiluted_interval[1]:.5g}).",
    ]
    if fit.outlier_images:
        from beadseg.data.fields import listed

        lines.append(f"Images unlike the others of their dilution: {listed(list(fit.outlier_images))}.")
    return lines
