"""`beadseg-batch export`: labels in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.errors import ExitCode
from beadseg.files import FAILURES
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.data.annotations.exporting import LabelFile
    from beadseg.events import OnEvent

SHOWN = 20
"""Most failures that are printed; all of them stand in ``failures.csv``."""

What = Annotated[Literal["labels"], typer.Argument(metavar="labels", help="What to export.", show_default=False)]
Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="A dataset folder, or one that `predict` wrote.", show_default=False)
]
FormatOption = Annotated[
    Literal["coco", "fiji-roi", "ome-zarr"], typer.Option("--format", help="The format.", show_default=False)
]
Polygons = Annotated[
    bool, typer.Option("--polygons", help="COCO: outlines instead of run lengths, except for objects with holes.")
]
Category = Annotated[str, typer.Option("--category", metavar="NAME", help="COCO: name of the category.")]
OmeVersion = Annotated[Literal["0.4", "0.5"], typer.Option("--ome-version", help="OME-Zarr: its version.")]


def export(
    what: What,
    source: Source,
    format_: FormatOption,
    out: options.Out,
    polygons: Polygons = False,
    category: Category = "bead",
    ome_version: OmeVersion = "0.5",
    include: options.Include = None,
    exclude: options.Exclude = None,
    images: options.ImagesFolder = "images",
    masks: options.MasksFolder = "masks",
    labels: options.LabelsFolder = "labels",
    ignore: options.IgnoreFolder = "ignore",
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Write labels for other programs, ids and all: COCO (annotations.json), Fiji ROI (NAME.zip) or OME-Zarr.

    From a dataset folder the masks or labels (and ignore masks), from a prediction folder its labels.
    """
    from beadseg.data.annotations.exporting import ExportOptions, export_labels
    from beadseg.events import Event

    folders = {"images": images, "masks": masks, "labels": labels, "ignore": ignore}
    with reporter(json, quiet) as on_event:
        samples = _samples(source, include, exclude, folders, on_event)
        options_ = ExportOptions(format_, category, polygons, ome_version)
        result = export_labels(samples, out, options_, on_event, STOP)
        failed = len(result.failures)
        done = (
            f"{what.capitalize()} of {plural(result.images, 'image')} with "
            f"{plural(result.objects, 'object')}. {failed} failed."
        )
        lines = [f"{done} Written to {out}"]
        lines += [f"failed: {failure}" for failure in result.failures[:SHOWN]]
        if failed > SHOWN:
            lines.append(f"… and {failed - SHOWN} more, see {out / FAILURES}")
        data = {"images": result.images, "objects": result.objects, "failed": failed, "out": str(out)}
        on_event(Event("result", "\n".join(lines), "warning" if failed else "info", data))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _samples(
    source: Path,
    include: list[str] | None,
    exclude: list[str] | None,
    folders: dict[str, str],
    on_event: OnEvent,
) -> list[LabelFile]:
    """Return the samples of a dataset folder, or of a prediction folder, which has no images."""
    from beadseg import files
    from beadseg.cli.config_options import open_dataset
    from beadseg.data.annotations.exporting import labels_of_dataset, labels_of_predictions

    if (source / files.PREDICTION).is_file() or not (source / folders["images"]).is_dir():
        return labels_of_predictions(source, include or (), exclude or (), on_event)
    dataset = open_dataset(source, on_event, include=include, exclude=exclude, fields=None, **folders)
    return labels_of_dataset(dataset.with_areas("An export", on_event))
