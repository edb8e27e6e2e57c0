"""Datasets, prediction folders, runs and tables of beads as layers, in napari's tuples.

Images are read when they are looked at; several of one size are one stack.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.dataset import Dataset, Sample
from beadseg.data.documents import (
    REMEDY,
    inner,
    is_plain_name,
    read_document,
    read_table,
    read_unmerged,
    with_unmerged,
)
from beadseg.data.fields import numbers_of, text_table
from beadseg.data.image_io import open_image, read_image, read_labels
from beadseg.data.ome_zarr import find_image
from beadseg.data.points import read_points
from beadseg.data.raw import IMAGE_SUFFIXES, is_zarr
from beadseg.data.scan import natural_key
from beadseg.errors import InputError, RunError
from beadseg.model.checkpoint import model_file
from beadseg.predict.results import LABELS_IN_BLOCKS
from beadseg.training.records import sample_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

NEEDED = ("id", "y", "x")
"""Columns that make a CSV a table of beads."""
COLOUR = "#ffb000"
"""Of centres: amber, as the outlines of `predict`."""
SIZE = 4.0
"""Of a centre, px."""
BEAD_COLOURS = (
    (1.0, 0.85, 0.1, 1), (1.0, 0.35, 0.3, 1), (0.45, 0.95, 0.3, 1), (1.0, 0.55, 0.95, 1), (1.0, 0.6, 0.1, 1),
    (0.75, 0.65, 1.0, 1), (0.95, 0.95, 0.95, 1),
)  # fmt: skip
"""Of beads, bright on brightfield images, and none like other layers'; red, green, blue, opacity."""

LayerData = tuple[Any, dict[str, Any], str]
"""napari's way to hand over a layer: data, arguments, type."""


def read_dataset(root: Path) -> list[LayerData]:
    """Return the layers of a dataset folder; samples are read when they are looked at.

    Raises
    ------
    InputError
        It holds no image that can be used.
    ImageError
        An image cannot be opened.
    """
    return sample_layers(Dataset.open(root, require_masks=False))


def sample_layers(dataset: Dataset) -> list[LayerData]:
    """Return images and annotations of a dataset's samples."""
    layers: list[LayerData] = []
    for group in grouped(image_picture(sample.name, sample.image_path) for sample in dataset):
        annotations = [annotation_picture(dataset[picture.name], size_of(picture)) for picture in group]
        metadata = named(group, dataset.root)
        shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": metadata}
        kind = {"beadseg": {**metadata["beadseg"], "kind": "annotation"}}
        over = {"name": title(group, "annotation"), "opacity": 0.6, "metadata": kind}
        layers += [(stacked(group), shown, "image"), (stacked(annotations), over, "labels")]
        samples = [dataset[picture.name] for picture in group]
        if any(sample.points_path is not None for sample in samples):
            layers.append(_marked_centres(samples, title(group, "centres"), kind))
    return layers


def _marked_centres(samples: list[Sample], name: str, metadata: dict[str, Any]) -> LayerData:
    """Return the centres that samples are annotated by; of several samples, their place in the stack comes first."""
    places = [_centres(sample) for sample in samples]
    if len(samples) > 1:
        places = [np.column_stack([np.full(len(part), at), part]) for at, part in enumerate(places)]
    data = np.concatenate(places)
    style = {"size": SIZE, "face_color": "transparent", "border_color": COLOUR, "border_width": 0.3}
    return data, {**style, "name": name, "ndim": data.shape[1], "metadata": metadata}, "points"


def _centres(sample: Sample) -> NDArray[np.float64]:
    """Return the centres of a sample, with the indices of their plane before y and x; raises `ImageError`."""
    image = open_image(sample.image_path)
    axes = len(image.stack_shape)
    if sample.points_path is None:
        return np.zeros((0, axes + 2))
    found = read_points(sample.points_path, image.size, image.stack_shape, image.names)
    planes = np.ndindex(*image.stack_shape)
    return np.concatenate([
        np.column_stack([np.tile(plane, (len(part), 1)).reshape(len(part), axes), part])
        for plane, part in zip(planes, found, strict=True)
    ])  # fmt: skip


def read_images(folder: Path) -> list[LayerData]:
    """Return the images of a folder that is not a dataset as layers; those of one size are one stack.

    Raises
    ------
    ImageError
        An image cannot be opened.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    paths = sorted(found, key=lambda path: natural_key(path.name))
    layers: list[LayerData] = []
    for group in grouped(image_picture(path.stem, path) for path in paths):
        shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": named(group, folder)}
        layers.append((stacked(group), shown, "image"))
    return layers


def read_prediction(folder: Path) -> list[LayerData]:
    """Return the layers of a prediction folder; images of one size, with their labels and beads, are one stack.

    An image that is not where it was predicted from is shown by its overlay, if there is one.

    Raises
    ------
    RunError
        The folder's documents are damaged, or it holds no labels.
    """
    results = _Folder(folder)
    pictures = list(results.pictures())
    layers = [layer for name, source in results.in_blocks() for layer in _pyramids(results, name, source)]
    if not pictures and not layers:
        raise RunError("Holds no labels of an image.", folder, "Predict again.")
    for group in grouped(pictures):
        metadata = named(group, folder)
        if is_rgb(group[0]) or group[0].dtype != np.uint32:
            shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": metadata}
            layers.append((stacked(group), shown, "image"))
        labels = [labels_picture(p.name, results.file(files.LABELS, f"{p.name}.tif"), size_of(p)) for p in group]
        layers.append(
            (stacked(labels), {"name": title(group, "beads"), "opacity": 0.6, "metadata": metadata}, "labels")
        )
        layers.append(_points(results, group, metadata))
    return layers


class _Folder:
    """Where the results of every image are, also of those that a killed process had no time to move and to list."""

    def __init__(self, root: Path) -> None:
        document = read_document(root / files.PREDICTION)
        self.root, self._ways = root, inner(document, "relative")
        unmerged = {entry["image"]: entry for entry in read_unmerged(root)}
        self._stages = {name: root / Path(str(entry.get("stage") or ".")).name for name, entry in unmerged.items()}
        self._sources = inner(document, "images") | {n: entry.get("source", "") for n, entry in unmerged.items()}
        columns = ("image", "plane", "beads")
        if unmerged:
            counts = with_unmerged(text_table(root / files.COUNTS, columns, REMEDY), root)
            self._images = list(dict.fromkeys(counts["image"]))
        else:
            self._images = list(dict.fromkeys(row["image"] for row in read_table(root / files.COUNTS, *columns)))

    def file(self, kind: str, name: str) -> Path:
        """Return a result of an image, such as ``labels`` and ``a.tif``."""
        image = name.removesuffix(LABELS_IN_BLOCKS) if name.endswith(LABELS_IN_BLOCKS) else name.rpartition(".")[0]
        moving = self._stages.get(image, self.root) / kind / name
        return moving if moving.exists() else self.root / kind / name

    def pictures(self) -> Iterator[Picture]:
        """Yield what there is to show below the labels of each image that was predicted."""
        for name in self._images:
            if is_plain_name(name) and self.file(files.LABELS, f"{name}.tif").is_file():
                way = str(self._ways.get(name, ""))
                yield _below(self, name, files.find_again(str(self._sources.get(name, "")), way, self.root))

    def in_blocks(self) -> Iterator[tuple[str, Path]]:
        """Yield name and source of each image that was predicted in blocks."""
        for name in self._images:
            if is_plain_name(name) and self.file(files.LABELS, f"{name}{LABELS_IN_BLOCKS}").is_dir():
                way = str(self._ways.get(name, ""))
                yield name, files.find_again(str(self._sources.get(name, "")), way, self.root)


def _pyramids(folder: _Folder, name: str, source: Path) -> list[LayerData]:
    """Return the layers of an image too large for the memory: what is looked at is read, at the scale of the screen."""
    group = folder.file(files.LABELS, f"{name}{LABELS_IN_BLOCKS}")
    shown = {"name": f"{name}: beads", "multiscale": True, "opacity": 0.6}
    layers: list[LayerData] = [(_levels(group), shown, "labels")]
    if source.name and is_zarr(source):
        levels = _levels(source)
        split = {"channel_axis": levels[0].ndim - 3} if levels[0].ndim > 2 else {}
        layers.insert(0, (levels, {"name": f"{name}: image", "multiscale": True, **split}, "image"))
    return layers


def _levels(group: Path) -> list[Any]:
    """Return the arrays of an OME-Zarr image, largest first, without reading their pixels."""
    import zarr

    root = zarr.open_group(str(find_image(group).group), mode="r")
    told: Any = root.attrs.get("ome", root.attrs)
    return [root[str(level["path"])] for level in told["multiscales"][0]["datasets"]]


def _below(folder: _Folder, name: str, source: Path) -> Picture:
    """Return the image where it is still the one that was predicted, else its overlay, else its labels."""
    labels = folder.file(files.LABELS, f"{name}.tif")
    shape = open_image(labels).shape
    for path in (source, folder.file(files.OVERLAYS, f"{name}.png")):
        if path.name and path.exists():
            picture = image_picture(name, path)
            if size_of(picture) == shape:
                return picture
    return labels_picture(name, labels, shape)


def _points(folder: _Folder, group: list[Picture], metadata: dict[str, Any]) -> LayerData:
    tables = [bead_frame(folder.file(files.BEADS, f"{picture.name}.csv")) for picture in group]
    axes = len(size_of(group[0]))
    places = [coordinates(table) if len(table) else np.zeros((0, axes)) for table in tables]
    if len(group) > 1:
        places = [np.column_stack([np.full(len(part), at), part]) for at, part in enumerate(places)]
        tables = [table.assign(image=picture.name) for picture, table in zip(group, tables, strict=True)]
    data, table = np.concatenate(places), pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return data, {**points_style(table, title(group, "centres")), "ndim": data.shape[1], "metadata": metadata}, "points"


def read_run(folder: Path) -> list[LayerData]:
    """Return the layers of a run folder: curves, validation images and annotations, as far as they are still there.

    Raises
    ------
    RunError
        The run has not trained anything yet, or none of what it shows is there.
    """
    model_file(folder)
    layers: list[LayerData] = []
    samples = _validated(folder)
    if samples:
        layers += [
            (data, {**shown, "name": f"{shown['name']} (validation)"}, kind)
            for data, shown, kind in sample_layers(Dataset(folder, samples))
        ]
    if (folder / files.CURVES).is_file():
        curves = iio.imread(folder / files.CURVES)
        layers.insert(0, (curves, {"name": f"{folder.name}: curves", "rgb": True, "visible": not layers}, "image"))
    if not layers:
        text = "The images that it was validated on are not where they were, and it has no figure of its curves."
        raise RunError(text, folder, "Open the images themselves, and count them with this run in the Count widget.")
    return layers


def _validated(folder: Path) -> tuple[Sample, ...]:
    """Return the validation samples whose image is still there."""
    rows = read_table(folder / files.SAMPLES, "sample", "fold", "image", "mask")
    samples = [Sample(row["sample"], *sample_files(row, folder)) for row in rows if row["fold"] == "val"]
    return tuple(_as_it_is(sample) for sample in samples if sample.image_path.exists())


def _as_it_is(sample: Sample) -> Sample:
    """Return a sample without a mask that is gone, and with the kind of its annotation."""
    path = sample.mask_path
    if path is None or not path.exists():
        return replace(sample, mask_path=None)
    return replace(sample, has_labels=path.parent.name == files.LABELS)


def is_bead_table(path: Path, most: int = -1) -> bool:
    """Tell by the lines among the first bytes of a CSV whether it is a table of beads, by whatever program."""
    try:
        bead_frame(path, most)
    except (InputError, csv.Error):
        return False
    return True


def read_bead_table(path: Path) -> list[LayerData]:
    """Return the points of a table of beads; those of a stack have coordinates for its planes before y and x.

    Raises
    ------
    InputError
        The file is not such a table.
    """
    table = bead_frame(path)
    return [(coordinates(table), points_style(table, f"{path.stem}: beads"), "points")]


def bead_frame(path: Path, most: int = -1) -> pd.DataFrame:
    """Read a table of beads, or its lines among its first bytes; raises `InputError` where it is none."""
    text = text_table(path, NEEDED, "Predict the image again.", most)
    columns = {name: _numeric(text[name], text.attrs["separator"]) for name in text.columns}
    wrong = [name for name in NEEDED if not pd.api.types.is_numeric_dtype(columns[name])]
    if wrong:
        raise InputError("Is not a table of beads.", path, "It needs the columns id, y and x with numbers.")
    return pd.DataFrame(columns)


def _numeric(cells: pd.Series, separator: str) -> pd.Series:
    """Return a column as numbers, empty cells as NaN; as it is where a cell is something else."""
    numbers = numbers_of(cells, separator)
    if any(number is None and cell.strip() for number, cell in zip(numbers, cells, strict=True)):
        return cells
    values = pd.Series(numbers, cells.index, np.float64)
    whole = values.notna().all() and (values == np.floor(values)).all() and not cells.str.contains("[.,eE]").any()
    return values.astype(np.int64) if whole else values


def coordinates(table: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the centres, (N, 2) float64 (y, x) px; of a stack with the place of each bead's plane before them.

    A table without beads does not tell how many axes its stack has: (0, 2).
    """
    if table.empty:
        return np.zeros((0, 2))
    centres = table[["y", "x"]].to_numpy(np.float64)
    if "plane" not in table:
        return centres
    places = [[int(part[1:]) for part in str(plane).split("_")] for plane in table["plane"]]
    return np.column_stack([np.array(places, np.float64).reshape(len(table), -1), centres])


def points_style(table: pd.DataFrame, name: str) -> dict[str, Any]:
    """Return the arguments of a points layer of beads."""
    return {
        "name": name,
        "features": table,
        "size": SIZE,
        "face_color": "transparent",
        "border_color": COLOUR,
        "border_width": 0.3,
        "ndim": 2 if "plane" not in table else coordinates(table).shape[1],
    }


def image_picture(name: str, path: Path) -> Picture:
    """Return an image file as a picture; raises `ImageError` where it cannot be opened."""
    image = open_image(path)
    axes = image.axes
    example = as_rgb(np.broadcast_to(np.zeros(1, image.dtype), image.shape), axes)

    def read() -> NDArray[Any]:
        return as_rgb(read_image(path).data, axes)

    return Picture(name, example.shape, image.dtype, read)


def is_rgb(picture: Picture) -> bool:
    """Tell whether the last axis of a picture of an image holds colours."""
    return len(picture.shape) > 2 and picture.shape[-1] == 3


def size_of(picture: Picture) -> tuple[int, ...]:
    """Return the shape of the labels that belong to a picture."""
    return picture.shape[:-1] if is_rgb(picture) else picture.shape


def annotation_picture(sample: Sample, shape: tuple[int, ...]) -> Picture:
    """Return a sample's annotation as labels: its ids, or 1 on foreground; empty where it has none."""

    def read() -> NDArray[Any]:
        if sample.mask_path is None:
            return np.zeros(shape, np.uint32)
        mask = sample.read_mask()
        return mask.foreground.astype(np.uint32) if mask.labels is None else mask.labels

    return Picture(sample.name, shape, np.dtype(np.uint32), read)


def labels_picture(name: str, path: Path, shape: tuple[int, ...]) -> Picture:
    """Return a label file as a picture of the given shape."""

    def read() -> NDArray[Any]:
        labels = read_labels(path).labels
        return np.zeros(shape, np.uint32) if labels is None else labels

    return Picture(name, shape, np.dtype(np.uint32), read)


@dataclass(frozen=True)
class Picture:
    """Pixels of which everything is known but their values.

    Attributes
    ----------
    name : str
        Of the sample or image.
    shape : tuple of int
        Of what `read` returns.
    dtype : numpy.dtype
        Of what `read` returns.
    read : callable
        Returns the pixels, e.g. (Y, X), (Y, X, 3) or (T, Y, X).
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], NDArray[Any]]

    @property
    def kind(self) -> tuple[tuple[int, ...], np.dtype]:
        """What pictures of one stack have in common."""
        return self.shape, self.dtype


def grouped(pictures: Iterable[Picture]) -> list[list[Picture]]:
    """Return the pictures in groups of equal shape and dtype, in the order of the first of each."""
    groups: dict[tuple[tuple[int, ...], np.dtype], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.kind, []).append(picture)
    return list(groups.values())


def stacked(pictures: list[Picture]) -> Any:
    """Return one picture's pixels as they are, several as a stack of which only what is looked at is read."""
    if len(pictures) == 1:
        return pictures[0].read()
    from dask import array
    from dask.delayed import delayed

    lazy: Any = array
    return lazy.stack([lazy.from_delayed(delayed(p.read)(), p.shape, p.dtype) for p in pictures])


def title(group: list[Picture], what: str) -> str:
    """Return the name of a layer: the sample's, or how many there are."""
    return f"{group[0].name}: {what}" if len(group) == 1 else f"{len(group)} samples: {what}"


def named(group: list[Picture], root: Path) -> dict[str, Any]:
    """Return the metadata of a layer: which sample each plane of a stack is."""
    return {"beadseg": {"folder": str(root), "samples": [picture.name for picture in group]}}


def as_rgb(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return pixels with the axes ``TZCYX`` (those that there are) with three channels last, as napari wants colour."""
    if "C" not in axes:
        return pixels
    at = axes.index("C")
    if pixels.shape[at] == 3:
        return np.moveaxis(pixels, at, -1)
    return np.asarray(np.take(pixels, 0, axis=at))
