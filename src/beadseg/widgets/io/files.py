"""What napari calls when a file or folder is opened, or layers are saved: is it ours, and what reads or writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pandas as pd

from beadseg import files
from beadseg.annotation.review.store import tiff_bytes
from beadseg.data.masks import whole_ids
from beadseg.data.raw import IMAGE_SUFFIXES
from beadseg.errors import InputError
from beadseg.files import write_atomically
from beadseg.measure.beads import bead_table
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from beadseg.widgets.io.folder_layers import LayerData

    Reader = Callable[[str], list[LayerData]]

NOTHING: Any = (None,)
"""What tells napari that there is nothing to add."""

AXES = {2: "YX", 3: "TYX", 4: "TZYX"}
"""Of label files, by the number of dimensions of a layer."""


def get_folder_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a dataset, run or prediction folder, or of a folder of images.

    napari asks before it knows whether the folder is one of these: any other gets a reader that says what it is not.
    """
    if isinstance(path, list):
        return None
    folder = Path(path)
    if (folder / files.PREDICTION).is_file():
        from beadseg.widgets.io.folder_layers import read_prediction

        return lambda path: read_prediction(Path(path))
    if (folder / files.CONFIG).is_file() or (folder / files.BEST).is_file():
        from beadseg.widgets.io.folder_layers import read_run

        return lambda path: read_run(Path(path))
    if (folder / files.IMAGES).is_dir():
        from beadseg.widgets.io.folder_layers import read_dataset

        return lambda path: read_dataset(Path(path))
    if any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir()):
        from beadseg.widgets.io.folder_layers import read_images

        return lambda path: read_images(Path(path))
    return lambda path: _refused(f"{path} is not a dataset, run, prediction folder or folder of images.")


def get_table_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a bead table; of another table of a prediction folder, that of the folder.

    napari asks for any CSV file: another gets a reader that says what it is not.
    """
    from beadseg.widgets.io.folder_layers import is_bead_table, read_bead_table

    if isinstance(path, list):
        return None
    file = Path(path)
    if is_bead_table(file):
        return lambda path: read_bead_table(Path(path))
    if (file.parent / files.PREDICTION).is_file():
        from beadseg.widgets.io.folder_layers import read_prediction

        return lambda path: read_prediction(Path(path).parent)
    return lambda path: _refused(
        f"{path} is not a table of beads: it needs the columns id, y and x. Choose napari to open it."
    )


def _refused(text: str) -> list[LayerData]:
    """Say why nothing is opened, without a traceback."""
    from napari.utils.notifications import show_warning

    show_warning(text)
    return [NOTHING]


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
        write_atomically(target, iio.imwrite("<bytes>", mask, extension=".png"))
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
