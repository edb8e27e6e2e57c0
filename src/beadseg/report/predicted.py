"""What a prediction folder holds of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.documents import is_plain_name
from beadseg.data.image_io import read_labels, read_mask
from beadseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".tif", ".tiff", ".png")


def predicted_planes(folder: Path, name: str) -> list[tuple[NDArray[np.bool_], NDArray[np.uint32] | None]]:
    """Return the foreground (Y, X) bool and, where there are some, the instances (Y, X) uint32 of every plane.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    name : str
        The image's name in it.

    Raises
    ------
    InputError
        There is no prediction of this name, or it cannot be read.
    """
    if not is_plain_name(name):
        raise InputError("Is a name that leads out of the folder.", files.printable(name), "Evaluate again.")
    for kind, read in ((files.LABELS, read_labels), (files.MASKS, read_mask)):
        for suffix in SUFFIXES:
            path = folder / kind / f"{name}{suffix}"
            if path.is_file():
                return list(read(path).planes())
    raise InputError("Has no prediction.", name, "Predict it again.")
