"""Pictures of a prediction: the whole image, and of a large one also its densest part at full resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.image_io import read_image
from beadseg.errors import ImageError
from beadseg.report.picture import Picture, picture_of
from beadseg.report.samples import fullest_window

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

WHOLE_SIDE = 768
"""Images up to this side are shown whole at full resolution, px."""
PART_SIDE = 384
"""Side of the part that is shown of larger ones, px."""


def overlay_pictures(folder: Path, image: str, plane: str, caption: str) -> list[Picture]:
    """Return one or two pictures of an image with its outlines, from the folder's ``overlays/``.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    image, plane : str
        Name of the image, and of its plane or ``""``.
    caption : str
        What is said below it.

    Raises
    ------
    ImageError
        The overlay is missing, damaged, or no picture.
    """
    name = f"{image}_{plane}" if plane else image
    pixels = _read(folder / files.OVERLAYS / f"{name}.png")
    shape = pixels.shape[:2]
    if max(shape) <= WHOLE_SIDE:
        return [picture_of(_enlarged(pixels), name, caption)]
    window = fullest_window(_centres(folder / files.BEADS / f"{image}.csv", plane), shape, PART_SIDE)
    return [
        picture_of(pixels, name, f"{caption} Scaled down from {shape[1]} x {shape[0]} px.", side=WHOLE_SIDE),
        picture_of(_enlarged(pixels[window.slices]), f"{name}: its densest part", window.told(shape)),
    ]


def _read(path: Path) -> NDArray[np.uint8]:
    image = read_image(path)
    if image.axes != "CYX" or image.data.dtype != np.uint8:
        raise ImageError("Is not an overlay.", path, "Predict again.")
    return np.ascontiguousarray(np.moveaxis(image.data, 0, -1))


def _enlarged(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return small pictures enlarged by a whole number, so that outlines of a pixel stay sharp."""
    scale = max(1, WHOLE_SIDE // max(pixels.shape[:2]))
    return pixels.repeat(scale, axis=0).repeat(scale, axis=1)


def _centres(path: Path, plane: str) -> NDArray[np.float64]:
    """Return the centres (y, x) of an image's beads, px; none where the table is not there."""
    try:
        table = pd.read_csv(path, dtype={"plane": str})
        chosen = table[table["plane"] == plane] if plane else table
        centres: NDArray[np.float64] = chosen[["y", "x"]].to_numpy(np.float64)
    except (OSError, ValueError, KeyError):
        return np.zeros((0, 2))
    return centres
