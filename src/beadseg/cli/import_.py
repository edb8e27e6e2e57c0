"""`beadseg-batch import`: annotations of other programs to a dataset folder, and runs that came as one file."""

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
    from beadseg.data.annotations.importing import ImportResult
    from beadseg.data.annotations.regions import AnnotationSource
    from beadseg.events import Event, OnEvent

SHOWN = 20
"""Most problems that are printed; all of them stand in ``failures.csv``."""

FormatName = Annotated[
    Literal["coco", "labelme", "fiji-roi", "model"],
    typer.Argument(metavar="coco|labelme|fiji-roi|model", show_default=False),
]
SourcePath = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="COCO: the JSON file. LabelMe: its JSON file, or a folder of them. "
        "Fiji: a .zip or .roi file, or a folder of them, each named after its image. "
        "Model: the .zip of `export RUN --format zip` or `bioimageio`.",
        show_default=False,
    ),
]
Images = Annotated[
    Path | None,
    typer.Option("--images", metavar="DIR", help="Annotations: folder of their images.", show_default=False),
]
Category = Annotated[
    list[str] | None, typer.Option("--category", metavar="NAME", help="COCO: take only this category. Repeatable.")
]
CrowdOption = Annotated[
    Literal["auto", "ignore", "objects"],
    typer.Option("--crowd", help="COCO: what iscrowd means; auto: to be ignored, but objects in files of CVAT."),
]
Diameter = Annotated[
    float | None, typer.Option("--diameter", metavar="PX", help="Fiji: diameter of the beads that points stand for.")
]


def import_(
    format_: FormatName,
    source: SourcePath,
    out: options.Out,
    images: Images = None,
    category: Category = None,
    crowd: CrowdOption = "auto",
    diameter: Diameter = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn annotations of other programs into a dataset folder: images/, labels/ and, where needed, ignore/.

    The folder appears whole or not at all. What could not be used is named in the end and stands in failures.csv.
    With model: a run folder from one file; the hashes of its files are compared.
    """
    from beadseg.data.annotations.importing import import_annotations
    from beadseg.errors import InputError

    with reporter(json, quiet) as on_event:
        if format_ == "model":
            _take_in(source, out, on_event)
            return
        if images is None:
            raise InputError("The folder of the images is missing.", "--images", "Give the images of the annotations.")
        found = _read(format_, source, category or [], crowd, diameter)
        result = import_annotations(found, images, out, on_event, STOP)
        on_event(_result_event(result, out))
    if result.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _take_in(source: Path, out: Path, on_event: OnEvent) -> None:
    from beadseg.events import Event
    from beadseg.predict.exchange import take_in

    names = take_in(source, out)
    text = f"{plural(len(names), 'file')}, as they were exported. Run folder: {out}"
    on_event(Event("result", text, data={"files": names, "out": str(out)}))


def _read(
    kind: Literal["coco", "labelme", "fiji-roi"],
    source: Path,
    categories: list[str],
    crowd: Literal["auto", "ignore", "objects"],
    diameter: float | None,
) -> AnnotationSource:
    if kind != "fiji-roi":
        from beadseg.data.annotations.coco import read_coco

        return read_coco(source, categories, crowd)
    from beadseg.data.annotations.fiji import read_fiji_rois

    return read_fiji_rois(source, diameter)


def _result_event(result: ImportResult, out: Path) -> Event:
    from beadseg.events import Event

    failed = len(result.failures)
    counted = f"{plural(result.images, 'image')} with {plural(result.objects, 'object')}"
    lines = [f"{counted}. {plural(failed, 'problem')}. Dataset: {out}"]
    if result.contested:
        lines.append(f"{result.contested} pixels belong to several objects; the later one has them.")
    lines += [f"left out or changed: {failure}" for failure in result.failures[:SHOWN]]
    if failed > SHOWN:
        lines.append(f"… and {failed - SHOWN} more, see {out / FAILURES}")
    data = {
        "images": result.images,
        "objects": result.objects,
        "contested": result.contested,
        "failed": failed,
        "out": str(out),
    }
    return Event("result", "\n".join(lines), "warning" if failed else "info", data)
