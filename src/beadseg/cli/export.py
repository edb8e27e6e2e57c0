"""`beadseg-batch export` and `import`: labels, models, runs and counts in the formats of other programs, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.errors import ExitCode
from beadseg.files import FAILURES
from beadseg.text import plural

if TYPE_CHECKING:
    import pandas as pd

    from beadseg.data.annotations.exporting import LabelFile
    from beadseg.data.annotations.importing import ImportResult
    from beadseg.data.annotations.regions import AnnotationSource
    from beadseg.events import Event, OnEvent

FILES = {"xlsx": ".xlsx", "onnx": ".onnx", "bioimageio": ".zip", "zip": ".zip"}
"""Formats that are one file, and how its name ends."""
SHOWN = 20
"""Most failures or problems that are printed; all of them stand in ``failures.csv``."""

Words = Annotated[
    list[str],
    typer.Argument(
        metavar="[labels] SOURCE", show_default=False,
        help="A dataset folder, or one that `predict` wrote; for onnx, bioimageio and zip: general, or a run folder.",
    ),
]  # fmt: skip
FormatOption = Annotated[
    Literal["coco", "fiji-roi", "ome-zarr", "geojson", "xlsx", "onnx", "bioimageio", "zip"],
    typer.Option("--format", help="The format.", show_default=False),
]
Target = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR|FILE", show_default=False,
        help="A new or empty folder for labels; else the file: .xlsx, .onnx, or .zip for bioimageio and zip.",
        callback=lambda out: options.writable_folder(out.parent if out.suffix in (".xlsx", ".onnx", ".zip") else out)
        and out,
    ),
]  # fmt: skip
Polygons = Annotated[
    bool, typer.Option("--polygons", help="COCO: outlines instead of run lengths, except for objects with holes.")
]
Category = Annotated[str, typer.Option("--category", metavar="NAME", help="COCO: name of the category.")]
OmeVersion = Annotated[Literal["0.4", "0.5"], typer.Option("--ome-version", help="OME-Zarr: its version.")]


def export(
    words: Words,
    format_: FormatOption,
    out: Target,
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
    """Write labels, models, runs and counts for other programs.

    \b
    coco, fiji-roi,     labels of a dataset or prediction folder, ids and all: annotations.json,
    ome-zarr, geojson   NAME.zip, NAME.ome.zarr, or NAME.geojson (QuPath)
    xlsx                counts, failures and beads of a prediction folder as one workbook
    onnx, bioimageio    a model with its normalisation, as ONNX or for the BioImage Model Zoo
    zip                 a run folder as one file with hashes
    """  # noqa: D301 (the backslash keeps the list's lines apart)
    with reporter(json, quiet) as on_event:
        source = _source(words)
        if format_ in FILES:
            _write_file(format_, source, out, on_event)
            failed = 0
        else:
            folders = {"images": images, "masks": masks, "labels": labels, "ignore": ignore}
            samples = _samples(source, include, exclude, folders, on_event)
            failed = _write_labels(samples, out, (format_, category, polygons, ome_version), on_event)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _source(words: list[str]) -> Path:
    """Return what is exported; the word ``labels`` before it may be left out."""
    from beadseg.errors import InputError
    from beadseg.files import user_path

    rest = words[1:] if words[0] == "labels" and len(words) > 1 else words
    if len(rest) != 1:
        raise InputError(f"One source is expected, {len(rest)} are given.", rest[1], "Export one after the other.")
    return user_path(rest[0])


def _write_labels(samples: list[LabelFile], out: Path, how: tuple[Any, ...], on_event: OnEvent) -> int:
    """Write labels, say what became of them, and return for how many images it failed."""
    from beadseg.data.annotations.exporting import ExportOptions, export_labels
    from beadseg.events import Event

    result = export_labels(samples, out, ExportOptions(*how), on_event, STOP)
    failed = len(result.failures)
    done = f"Labels of {plural(result.images, 'image')} with {plural(result.objects, 'object')}. {failed} failed."
    lines = [f"{done} Written to {out}"]
    lines += [f"failed: {failure}" for failure in result.failures[:SHOWN]]
    if failed > SHOWN:
        lines.append(f"… and {failed - SHOWN} more, see {out / FAILURES}")
    data = {"images": result.images, "objects": result.objects, "failed": failed, "out": str(out)}
    on_event(Event("result", "\n".join(lines), "warning" if failed else "info", data))
    return failed


def _write_file(format_: str, source: Path, out: Path, on_event: OnEvent) -> None:
    """Write a model, a run or counts as one file, and say so."""
    from beadseg.errors import InputError
    from beadseg.events import Event
    from beadseg.model.checkpoint import named_model
    from beadseg.predict import exchange
    from beadseg.predict.segmenter import Segmenter

    if out.suffix.lower() != FILES[format_]:
        raise InputError(f"The name of the file ends with {FILES[format_]}.", out, f"Name it NAME{FILES[format_]}.")
    run = named_model(str(source))
    if format_ == "xlsx":
        exchange.write_workbook(out, _sheets(source))
    elif format_ == "zip":
        exchange.write_run(run, out)
    elif format_ == "bioimageio":
        exchange.write_bioimageio(run, out)
    else:
        exchange.write_onnx(Segmenter.load(run, device="cpu"), out)
    on_event(Event("result", f"Written to {out} ({out.stat().st_size / 1e6:.1f} MB)", data={"out": str(out)}))


def _sheets(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the tables of a prediction folder by the names of their sheets."""
    import pandas as pd

    from beadseg import files
    from beadseg.data.documents import read_failures
    from beadseg.report.prediction_page import read_counts

    counts = read_counts(folder)
    names = [name for name in dict.fromkeys(counts["name"]) if (folder / files.BEADS / f"{name}.parquet").is_file()]
    beads = [pd.read_parquet(folder / files.BEADS / f"{name}.parquet").assign(image=name) for name in names]
    failures = pd.DataFrame(sorted(read_failures(folder).items()), columns=["image", "error"])
    sheets = {"counts": counts.drop(columns=["name", "field"]), "failures": failures}
    return sheets | ({"beads": pd.concat(beads, ignore_index=True)} if beads else {})


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
Categories = Annotated[
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
    category: Categories = None,
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
