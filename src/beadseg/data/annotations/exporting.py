"""Labels of a dataset or a prediction folder to the formats of other programs."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from beadseg import files
from beadseg.data.annotations.coco import CATEGORY, write_coco
from beadseg.data.annotations.fiji import write_fiji_rois
from beadseg.data.annotations.regions import Failure, LabelledImage, Region, failures_csv, regions_of, rings_of, tight
from beadseg.data.image_io import open_image, read_labels
from beadseg.data.masks import label_objects
from beadseg.data.scan import Filter, Problem, scan, stem_of
from beadseg.errors import BeadsegError, Cancelled, ImageError, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.runtime.locking import new_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from beadseg.data.dataset import Dataset, Sample

Format = Literal["coco", "fiji-roi", "ome-zarr", "geojson"]
"""Formats that labels are exported to."""

COCO_FILE = "annotations.json"
"""Name of the COCO file in the folder of an export."""


@dataclass(frozen=True)
class ExportOptions:
    """How labels are written.

    Attributes
    ----------
    format : {"coco", "fiji-roi", "ome-zarr", "geojson"}
        The format.
    category : str
        COCO: name of the category.
    polygons : bool
        COCO: outlines instead of run lengths.
    ome_version : {"0.4", "0.5"}
        OME-Zarr: its version.
    """

    format: Format
    category: str = CATEGORY
    polygons: bool = False
    ome_version: Literal["0.4", "0.5"] = "0.5"


@dataclass(frozen=True)
class ExportResult:
    """What became of an export.

    Attributes
    ----------
    images, objects : int
        Images written, and objects on them.
    failures : tuple of Failure
        Images that could not be exported, as in ``failures.csv``.
    """

    images: int
    objects: int
    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class LabelFile:
    """One sample whose labels can be read.

    Attributes
    ----------
    name : str
        What it is called in messages and file names.
    read : callable
        Returns its labels; raises `ImageError`.
    """

    name: str
    read: Callable[[], LabelledImage]


def labels_of_dataset(dataset: Dataset) -> list[LabelFile]:
    """Return the annotations of a dataset; in masks without ids, objects are numbered as everywhere in beadseg."""
    return [LabelFile(sample.name, partial(_of_sample, sample)) for sample in dataset]


def labels_of_predictions(
    folder: Path, include: Sequence[str] = (), exclude: Sequence[str] = (), on_event: OnEvent = ignore
) -> list[LabelFile]:
    """Return the labels of a prediction folder.

    Parameters
    ----------
    folder : pathlib.Path
        It holds ``labels/``.
    include, exclude : sequence of str
        Shell patterns on names, as for `Dataset.open`.
    on_event
        Is told what was left out.

    Raises
    ------
    InputError
        There are no labels, or none is left by the patterns.
    """
    labels = folder / files.LABELS
    if not labels.is_dir():
        text = f"Has neither {files.IMAGES}/ nor {files.LABELS}/."
        raise InputError(text, folder, "Give a dataset folder, or one that `predict` wrote.")
    problems: list[Problem] = []
    found = scan(labels, Filter(tuple(include), tuple(exclude)), problems)
    for problem in problems:
        on_event(Event("left-out", f"Left out: {problem}", "warning", {"path": str(problem.path)}))
    if not found.paths:
        remedy = "Check the folder, and the include and exclude patterns."
        raise InputError("Holds no labels to export.", labels, remedy)
    return [LabelFile(name, partial(_of_file, path)) for name, path in found.paths.items()]


def export_labels(
    samples: Sequence[LabelFile],
    out: Path,
    options: ExportOptions,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> ExportResult:
    """Write labels in another format.

    Parameters
    ----------
    samples : sequence of LabelFile
        What to write, see `labels_of_dataset` and `labels_of_predictions`.
    out : pathlib.Path
        A new or empty folder. Gets ``annotations.json`` (COCO), or a ``NAME.zip`` (Fiji), ``NAME.ome.zarr`` or
        ``NAME.geojson`` (QuPath) per sample; and ``failures.csv`` where some could not be read. Ignore masks go into
        COCO and Fiji's files only.
    options : ExportOptions
        Format and details.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    ExportResult
        Numbers, and what could not be exported.

    Raises
    ------
    InputError
        `out` is not empty, the category has no name, or no sample could be exported. Nothing is written.
    MachineError
        The disk is full or the folder not writable.
    Cancelled
        `stop` was set. Nothing is written.
    """
    files.refuse_full(out)
    if not options.category.strip():
        raise InputError("The name of the category is empty.", "--category", "Give a name, such as bead.")
    created = [folder for folder in out.parents if not folder.exists()]
    try:
        with new_folder(out) as unfinished:
            return _export(samples, unfinished, options, on_event, stop)
    except Cancelled as error:
        raise Cancelled(error.what, out, "Nothing was written; the same command begins again.") from None
    except InputError:
        with suppress(OSError):  # somebody else's file in it
            for folder in created:
                folder.rmdir()
        raise


def _export(
    samples: Sequence[LabelFile], out: Path, options: ExportOptions, on_event: OnEvent, stop: StopFlag | None
) -> ExportResult:
    counter = _Counter([])
    tracked = track(samples, "export", len(samples), on_event, stop)
    if options.format == "coco":
        good = counter.good(tracked, on_event, lambda sample: None)
        write_coco(out / COCO_FILE, good, category=options.category, polygons=options.polygons)
    else:
        write_one = {"fiji-roi": _fiji, "ome-zarr": _ome_zarr, "geojson": _geojson}[options.format]
        for _ in counter.good(tracked, on_event, lambda sample: write_one(out, sample, options)):
            pass
    if counter.failures:
        files.write_atomically(out / files.FAILURES, failures_csv(counter.failures))
    return ExportResult(counter.images, counter.objects, tuple(counter.failures))


@dataclass
class _Counter:
    """Lets the good samples through, and counts them and the others."""

    failures: list[Failure]
    images: int = 0
    objects: int = 0

    def good(
        self, samples: Iterator[LabelFile], on_event: OnEvent, write: Callable[[LabelledImage], None]
    ) -> Iterator[LabelledImage]:
        for sample in samples:
            try:
                labelled = sample.read()
                write(labelled)
            except (Cancelled, MachineError):
                raise
            except BeadsegError as error:  # one bad sample never stops the rest
                self.failures.append(Failure.of(sample.name, error))
                on_event(Event("failure", f"Failed: {error}", "error", {"image": sample.name}))
                continue
            self.images += 1
            self.objects += sum(np.unique(labels[labels > 0]).size for labels, _ in labelled.planes())
            yield labelled
        if not self.images:
            first = f" The first failure: {self.failures[0]}" if self.failures else ""
            raise InputError(f"None of the samples could be exported.{first}", remedy="Nothing was written.")


def _fiji(out: Path, sample: LabelledImage, options: ExportOptions) -> None:
    write_fiji_rois(out / f"{sample.name}.zip", sample)


def _ome_zarr(out: Path, sample: LabelledImage, options: ExportOptions) -> None:
    from beadseg.data.ome_zarr_write import write_ome_zarr

    path = out / f"{sample.name}.ome.zarr"
    write_ome_zarr(path, sample.labels, sample.image, version=options.ome_version, pixel_size_um=sample.pixel_size_um)


def _geojson(out: Path, sample: LabelledImage, options: ExportOptions) -> None:
    """Write the objects as detections of QuPath (https://qupath.readthedocs.io, GeoJSON), corners in px."""
    shape = sample.labels.shape[:-2]
    features = []
    for index, (labels, _) in enumerate(sample.planes()):
        place = dict(zip(sample.axes, np.unravel_index(index, shape), strict=False)) if shape else {}
        plane = {"c": -1, "z": int(place.get("Z", 0)), "t": int(place.get("T", 0))}
        for number, region in regions_of(labels):
            properties = {
                "objectType": "detection", "name": str(number), "classification": {"name": options.category},
                "measurements": {"label": number, "area px": region.area},
            }  # fmt: skip
            geometry = {"type": "MultiPolygon", "coordinates": _polygons(region), "plane": plane}
            features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    document = {"type": "FeatureCollection", "features": features}
    files.write_atomically(out / f"{sample.name}.geojson", json.dumps(document))


def _polygons(region: Region) -> list[list[list[list[int]]]]:
    """Return the pieces of a region, each as its closed outline and those of its holes, corners as x, y."""
    pieces, count = ndimage.label(region.mask)  # by their sides: pieces that meet at a corner are two
    found = []
    for number in range(1, count + 1):
        piece = tight(pieces == number, region.top, region.left)
        assert piece is not None
        found.append([[*ring.tolist(), ring[0].tolist()] for ring in rings_of(piece)])
    return found


def _of_sample(sample: Sample) -> LabelledImage:
    image = sample.read_image()
    targets = [target for _, _, target in sample.planes(image)]
    shape = (*image.stack_shape, *image.size)
    labels = [label_objects(target.foreground) if target.labels is None else target.labels for target in targets]
    hidden = [target.ignore for target in targets if target.ignore is not None]
    return LabelledImage(
        sample.name,
        sample.image_path.name,
        np.stack(labels).reshape(shape),
        "".join(axis for axis in image.axes if axis != "C"),
        np.stack(hidden).reshape(shape) if hidden else None,
        image.pixel_size_um or _pixel_size(sample.mask_path),
        image,
    )


def _pixel_size(path: Path | None) -> float | None:
    """Return the pixel size that an annotation file tells, which may be the only one that does."""
    try:
        return None if path is None else open_image(path).pixel_size_um
    except ImageError:
        return None


def _of_file(path: Path) -> LabelledImage:
    mask = read_labels(path)
    return LabelledImage(stem_of(path), path.name, np.asarray(mask.labels), mask.axes, pixel_size_um=_pixel_size(path))
