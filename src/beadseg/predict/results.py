"""Write what was found in one image, plane by plane: masks, labels, bead tables, and the image with outlines."""

from __future__ import annotations

import errno
import math
import shutil
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import pandas as pd
import tifffile

from beadseg import files
from beadseg.data.documents import is_plain_name
from beadseg.data.image_io import LazyImage, open_image
from beadseg.data.ome_zarr_write import move
from beadseg.data.tiff import png_bytes, resolution_of
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.files import ensure_folder, write_atomically
from beadseg.predict.counts import count_row
from beadseg.predict.prediction import map_path, write_maps
from beadseg.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.predict.prediction import Predictor

KINDS = (files.MASKS, files.LABELS, files.BEADS, files.OVERLAYS, files.MAPS)
"""Folders of results in a prediction folder."""
LABELS_IN_BLOCKS = ".ome.zarr"
"""Labels of an image that was predicted in blocks end with this."""
_CLASSIC_TIFF = 2**32 - 2**25
"""Stacks of more bytes are written as BigTIFF, however well they compress."""

OUTLINE_RGB = (255, 176, 0)
"""Amber of the IBM colour-blind-safe palette: told from grey, blue and green with any colour vision."""

STRETCH_PERCENTILES = (0.5, 99.5)
"""Grey values that become black and white, per cent."""

PNG_LEVEL = 3
"""Of zlib: a quarter of the time of level 6, for a tenth more bytes."""

STRETCH_SAMPLE = 4
"""Step between rows and columns that percentiles are taken from: the same to the eye, in a sixteenth of the time."""


def predict_file(
    predictor: Predictor,
    image: LazyImage,
    name: str,
    folder: Path,
    *,
    overlays: bool = True,
    maps: bool = False,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> list[dict[str, Any]]:
    """Predict one image (see `beadseg.data.image_io.open_image`), and return its rows of ``counts.csv``.

    The results, a stack's as multi-page TIFFs, are written into `folder`, which is laid out as a prediction folder. It
    is one that nobody reads yet; `publish` moves them to their places when all are complete.

    Raises
    ------
    ImageError
        The image cannot be read.
    Cancelled
        `stop` was set.
    MachineError
        The folder cannot be written to.
    """
    pictures = [kind for kind, wanted in ((files.OVERLAYS, overlays), (files.MAPS, maps)) if wanted]
    for kind in (*KINDS[:3], *pictures):
        ensure_folder(folder / kind)
    labels_path = folder / files.LABELS / f"{name}.tif"
    with ThreadPoolExecutor(1) as beside:
        results = _Results(predictor, image, name, folder, pictures, beside)
        pages = results.pages(on_event, stop)
        write_atomically(labels_path, lambda file: write_pages(file, pages, image, np.uint32))
        results.write_mask(labels_path)
        results.write_table()
        results.wait()
    return results.rows


def publish(stage: Path, folder: Path, names: Iterable[str]) -> None:
    """Move complete results to their places; those that were moved before a kill are there already.

    Parameters
    ----------
    stage : pathlib.Path
        Where `predict_file` wrote them.
    folder : pathlib.Path
        The prediction folder.
    names : iterable of str
        Their paths in it, such as ``labels/a.tif``.

    Raises
    ------
    MachineError
        A result cannot be replaced, since another program has it open, or the folder cannot be written to.
    """
    for name in names:
        kind, _, file = name.partition("/")
        source, target = stage / kind / file, folder / kind / file
        if kind not in KINDS or not is_plain_name(file) or not source.exists():
            continue
        ensure_folder(target.parent)
        try:
            move(source, target) if source.is_dir() else source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise files.machine_error(error, target) from error
            write_atomically(target, partial(_copy, source))  # its folder is a link to another disk


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)


def result_files(folder: Path, name: str, planes: Iterable[str] = ()) -> list[Path]:
    """Return the files that a prediction folder has of an image with these planes."""
    ends = [f"_{plane}" if plane else "" for plane in dict.fromkeys(planes)] or [""]
    paths = [folder / files.LABELS / f"{name}{suffix}" for suffix in (".tif", LABELS_IN_BLOCKS)]
    paths += [folder / files.MASKS / f"{name}{suffix}" for suffix in (".png", ".tif")]
    paths += [folder / files.BEADS / f"{name}{suffix}" for suffix in (".csv", ".parquet")]
    paths += [folder / files.OVERLAYS / f"{name}{end}.png" for end in ends]
    paths += [folder / files.MAPS / f"{name}{end}.tif" for end in ends]
    return [path for path in paths if path.exists()]


def write_pages(path: Path, pages: Iterable[NDArray[np.generic]], image: LazyImage, dtype: type[np.generic]) -> None:
    """Write (Y, X) pages, as they come, as a compressed TIFF with the axes, stack and pixel size of `image`."""
    shape = (*image.stack_shape, *image.size)
    tifffile.imwrite(
        path,
        iter(pages),
        shape=shape,
        dtype=dtype,
        bigtiff=math.prod(shape) * np.dtype(dtype).itemsize > _CLASSIC_TIFF,
        photometric="minisblack",
        compression="zlib",
        maxworkers=1,
        metadata={"axes": image.axes.replace("C", "")},
        **resolution_of(image.pixel_size_um),
    )


class _Results:
    """What is kept of the planes of one image while they are predicted: their bead tables and rows of counts."""

    def __init__(
        self, predictor: Predictor, image: LazyImage, name: str, folder: Path, pictures: list[str], beside: Executor
    ) -> None:
        self.predictor, self.image, self.name, self.folder, self.pictures = predictor, image, name, folder, pictures
        self._beside, self._overlay = beside, Future[None]()
        self._overlay.set_result(None)
        self.rows: list[dict[str, Any]] = []
        self._tables: list[pd.DataFrame] = []

    def pages(self, on_event: OnEvent, stop: StopFlag | None) -> Iterator[NDArray[np.uint32]]:
        """Predict plane by plane; yield the labels (Y, X) of each."""
        for plane, pixels, prediction in self.predictor.predict_planes(self.image, on_event, stop):
            labels = prediction.labels
            if files.OVERLAYS in self.pictures:
                self.wait()  # one is drawn while the tables are made; more would fill the memory
                self._overlay = self._beside.submit(self._write_overlay, plane, pixels, labels)
            self.rows.append(count_row(self.name, plane, self.image, prediction, self.predictor))
            self._tables.append(prediction.beads.assign(plane=plane) if plane else prediction.beads)
            if files.MAPS in self.pictures:
                write_maps(map_path(self.folder, self.name, plane), prediction.maps)
            del pixels, prediction
            yield labels
            del labels

    def wait(self) -> None:
        """Wait for the overlay that is being drawn; raise what went wrong."""
        self._overlay.result()

    def _write_overlay(self, plane: str, pixels: NDArray[np.generic], labels: NDArray[np.uint32]) -> None:
        path = self.folder / files.OVERLAYS / (f"{self.name}_{plane}.png" if plane else f"{self.name}.png")
        write_atomically(path, bytes(imagecodecs.png_encode(overlay(pixels, labels), level=PNG_LEVEL)))

    def write_mask(self, labels_path: Path) -> None:
        """Write the foreground of the labels just written: PNG, for a stack TIFF."""
        planes = (np.where(labels[0] > 0, 255, 0).astype(np.uint8) for _, labels in open_image(labels_path).planes())
        folder = self.folder / files.MASKS
        if len(self.image.names) > 1:
            write_atomically(folder / f"{self.name}.tif", lambda file: write_pages(file, planes, self.image, np.uint8))
        else:
            write_atomically(folder / f"{self.name}.png", png_bytes(next(planes)))

    def write_table(self) -> None:
        """Write one row per bead of all planes, as CSV and as Parquet."""
        table = pd.concat(self._tables, ignore_index=True)
        text = csv_text(table, "%.6g")
        folder = self.folder / files.BEADS
        write_atomically(folder / f"{self.name}.parquet", lambda file: table.to_parquet(file, index=False))
        write_atomically(folder / f"{self.name}.csv", text)


def overlay(
    image: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    colour: tuple[int, int, int] = OUTLINE_RGB,
    caption: str = "",
) -> NDArray[np.uint8]:
    """Draw the outlines of beads over an image.

    Parameters
    ----------
    image : (Y, X), (1, Y, X) or (3, Y, X), any real dtype
        Grey or RGB; its contrast is stretched, all channels alike. Of other numbers of channels the first is shown.
    labels : (Y, X) integer
        Instances; 0 is background.
    colour : (R, G, B)
        Of the outlines, 0 to 255.
    caption : str
        Written in the upper left corner, e.g. the count.

    Returns
    -------
    (Y, X, 3) uint8
        The outline is the outermost pixel of each bead, inside it, so that touching beads stay two.

    Raises
    ------
    InputError
        Image and labels differ in size.
    """
    channels = image[None] if image.ndim == 2 else image
    if channels.ndim != 3 or channels.shape[1:] != labels.shape:
        raise InputError(f"An image of shape {image.shape} cannot be laid under labels of shape {labels.shape}.")
    picture = _stretched(channels)
    picture[outlines(labels)] = colour
    return _captioned(picture, caption) if caption else picture


def outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return (Y, X) bool, True on pixels of objects that touch (4-connected) another object or the background.

    An object cut by the image's border is open there: its outline goes on outside.
    """
    edge = np.zeros(labels.shape, dtype=np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    edge &= labels != 0
    return edge


def _stretched(channels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return (C, Y, X) as (Y, X, 3) uint8 between two percentiles; not finite values are black."""
    shown = channels if channels.shape[0] == 3 else channels[:1]
    sample = shown[:, ::STRETCH_SAMPLE, ::STRETCH_SAMPLE].astype(np.float64)
    finite = sample[np.isfinite(sample)]
    low, high = np.percentile(finite, STRETCH_PERCENTILES) if finite.size else (0.0, 1.0)
    span = high - low if high > low else 1.0
    picture = np.empty((*shown.shape[1:], 3), dtype=np.uint8)
    for index, channel in enumerate(shown):
        scaled = np.clip((channel.astype(np.float32) - np.float32(low)) * np.float32(255 / span), 0, 255)
        picture[..., index] = np.nan_to_num(scaled)
    if len(shown) == 1:
        picture[..., 1:] = picture[..., :1]
    return picture


def _captioned(picture: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """Write `caption` in the upper left corner, black on white."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(10, min(picture.shape[:2]) // 32))
    left, top, right, bottom = draw.textbbox((0, 0), caption, font=font)
    pad = max(2, int(bottom - top) // 3)
    draw.rectangle((0, 0, right - left + 2 * pad, bottom - top + 2 * pad), fill="white")
    draw.text((pad - left, pad - top), caption, fill="black", font=font)
    return np.asarray(canvas).copy()
