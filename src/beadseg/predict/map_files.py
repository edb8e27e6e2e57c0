"""A network's maps on disk: one uncompressed TIFF per plane, of which only what is looked at is read."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from beadseg import files
from beadseg.errors import RunError
from beadseg.files import write_atomically
from beadseg.predict.prediction import Maps

if TYPE_CHECKING:
    from pathlib import Path


def map_path(folder: Path, name: str, plane: str) -> Path:
    """Return the file of the maps of one plane in a prediction folder."""
    return folder / files.MAPS / (f"{name}_{plane}.tif" if plane else f"{name}.tif")


def write_maps(path: Path, maps: Maps) -> None:
    """Write the maps of a plane: (K, Y, X) float32, the probability first, then centre and size where they are there.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    values = maps.heads
    about = {"axes": "CYX", "scale": maps.scale, "doubt": maps.doubt}
    write_atomically(path, lambda file: tifffile.imwrite(file, values, photometric="minisblack", metadata=about))


def read_maps(path: Path) -> Maps:
    """Return the maps of a plane; their pixels are read from the disk when they are used.

    Raises
    ------
    RunError
        There is no such file, or it holds no maps.
    """
    try:
        values = tifffile.memmap(path, mode="r")
        about = _description(path)
    except FileNotFoundError:
        raise RunError("The maps are not there.", path, "Predict the image again.") from None
    except (OSError, ValueError, struct.error, tifffile.TiffFileError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise RunError(f"The maps cannot be read ({detail}).", path, "Predict the image again.") from None
    planes = values.reshape(-1, *values.shape[-2:])
    if values.dtype != np.float32 or len(planes) > 3:
        raise RunError("Holds no maps of beads.", path, "Predict the image again.")
    return Maps.of_heads(planes, float(about.get("scale", 1.0)), str(about.get("doubt", "")))


def _description(path: Path) -> dict[str, Any]:
    """Return what `write_maps` says of the maps beside their pixels."""
    with tifffile.TiffFile(path) as file:
        found = file.shaped_metadata
    return dict(found[0]) if found else {}
