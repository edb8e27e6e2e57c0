"""What napari calls when a file or folder is opened, or layers are saved: is it ours, and what reads or writes it."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.masks import whole_ids
from beadseg.data.raw import IMAGE_SUFFIXES
from beadseg.data.tiff import png_bytes, tiff_bytes
from beadseg.errors import InputError
from beadseg.files import write_atomically
from beadseg.measure.beads import bead_table
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from beadseg.widgets.io.folder_layers import LayerData

    Reader = Callable[[str], list[LayerData]]

LOOK = 1 << 16
"""So many bytes of a text file are looked at, to know what it is."""
MOST_LOOKED_AT = 5
"""So many files named like images are looked at."""
IMAGE_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How PNG, JPEG, BMP, TIFF and BigTIFF begin."""
PREDICTION_TABLES = (files.COUNTS, files.FAILURES, files.REGIONS)
"""Tables of a prediction folder that are not tables of beads."""

AXES = {2: "YX", 3: "TYX", 4: "TZYX"}
"""Of label files, by the number of dimensions of a layer."""


def get_folder_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a dataset, run or prediction folder, or of a folder of images; None for any other folder.

    napari asks for every folder; what its files hold decides.
    """
    if isinstance(path, list):
        return None
    try:
        kind = _kind_of(Path(path))
    except OSError:
        return None
    return None if kind is None else lambda path: _read(kind, Path(path))


def get_table_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a bead table; of another table of a prediction folder, that of the folder; else None.

    napari asks for every CSV file; its first lines decide.
    """
    from beadseg.widgets.io.folder_layers import is_bead_table, read_bead_table

    if isinstance(path, list):
        return None
    file = Path(path)
    if is_bead_table(file, LOOK):
        return lambda path: read_bead_table(Path(path))
    if file.name in PREDICTION_TABLES and _has_key(file.with_name(files.PREDICTION), "model_sha256"):
        return lambda path: _read("prediction", Path(path).parent)
    return None


def _kind_of(folder: Path) -> str | None:
    """Return which reader of `folder_layers` a folder is for, by a look at its files; None where it is none of ours."""
    if _has_key(folder / files.PREDICTION, "model_sha256"):
        return "prediction"
    if _has_key(folder / files.CONFIG, "network") or _begins(folder / files.BEST, b"{", at=8):
        return "run"
    if _holds_images(folder / files.IMAGES):
        return "dataset"
    return "images" if _holds_images(folder) else None


def _read(kind: str, folder: Path) -> list[LayerData]:
    from beadseg.widgets.io import folder_layers

    read: Callable[[Path], list[LayerData]] = getattr(folder_layers, f"read_{kind}")
    return read(folder)


def _has_key(path: Path, key: str) -> bool:
    """Tell whether the beginning of a JSON or YAML file has a key on its outermost level."""
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        return re.search(rf'^(\{{?\s{{0,4}}"{key}"|{key})\s*:', file.read(LOOK), re.MULTILINE) is not None
    return False


def _holds_images(folder: Path) -> bool:
    """Tell whether one of the first images of a folder begins as images do."""
    if not folder.is_dir():
        return False
    named = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    return any(_begins(path, *IMAGE_STARTS) for path in islice(named, MOST_LOOKED_AT))


def _begins(path: Path, *starts: bytes, at: int = 0) -> bool:
    with suppress(OSError), path.open("rb") as file:
        file.seek(at)
        return file.read(8).startswith(starts)
    return False


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a labels layer as instance labels of a dataset (TIFF, uint32, 0 is background)."""
    target = Path(path)
    labels = whole_numbers(data, target)
    write_atomically(target, tiff_bytes(labels, _axes(labels, target)))
    return [path]


def write_mask(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a labels layer as a mask of a dataset: 255 on beads, 0 elsewhere (PNG; of a stack TIFF)."""
    target = Path(path)
    mask = np.where(whole_numbers(data, target) > 0, 255, 0).astype(np.uint8)
    if target.suffix.lower() == ".png":
        if mask.ndim != 2:
            raise InputError("A stack does not fit into a PNG.", target, "Save it as .tif.")
        write_atomically(target, png_bytes(mask))
    else:
        write_atomically(target, tiff_bytes(mask, _axes(mask, target)))
    return [path]


def write_table_of_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save the table of the beads of a labels layer: one row per id (CSV)."""
    target = Path(path)
    labels = whole_numbers(data, target)
    if labels.ndim == 2:
        table = bead_table(labels)
    else:
        planes = labels.reshape(-1, *labels.shape[-2:])
        tables = [bead_table(plane).assign(plane=f"t{number:03d}") for number, plane in enumerate(planes)]
        table = pd.concat(tables, ignore_index=True)
    return _write_csv(target, table)


def write_table_of_points(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a points layer as a table of beads: its features where it has them, else id, y and x (CSV)."""
    points = np.asarray(data, np.float64).reshape(len(data), -1)
    features = attributes.get("features")
    table = pd.DataFrame() if features is None else pd.DataFrame(features).reset_index(drop=True)
    if len(table) != len(points) or not len(table.columns):
        table = pd.DataFrame({"id": np.arange(1, len(points) + 1)})
    if len(points):
        table = table.assign(y=points[:, -2], x=points[:, -1])
    return _write_csv(Path(path), table)


def whole_numbers(data: Any, target: Path) -> NDArray[np.uint32]:
    """Return a labels layer's data, of a multiscale one the finest level, as uint32.

    Ids beyond uint32 are renumbered, in their order, so that none becomes another.
    """
    level = data[0] if isinstance(data, list | tuple) or getattr(data, "multiscale", False) else data
    labels = np.asarray(level)
    if labels.dtype.kind not in "uib" or (labels.size and int(labels.min()) < 0):
        raise InputError("Labels must be whole numbers of 0 or more.", target, "Save a labels layer.")
    return whole_ids(labels)


def _axes(labels: NDArray[Any], target: Path) -> str:
    if labels.ndim not in AXES:
        raise InputError(
            f"Labels with {plural(labels.ndim, 'dimension')} cannot be saved.", target, "Save single slices."
        )
    return AXES[labels.ndim]


def _write_csv(target: Path, table: pd.DataFrame) -> list[str]:
    write_atomically(target, csv_text(table, "%.6g"))
    return [str(target)]
