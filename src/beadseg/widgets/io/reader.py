"""What napari asks when a file or folder is opened: is it one of ours, and which function reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.widgets.io.layer_data import LayerData

    Reader = Callable[[str], list[LayerData]]


def get_folder_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a dataset, run or prediction folder; None for any other folder."""
    if isinstance(path, list):
        return None
    folder = Path(path)
    if (folder / files.PREDICTION).is_file():
        from beadseg.widgets.io.read_prediction import read_prediction

        return lambda path: read_prediction(Path(path))
    if (folder / files.CONFIG).is_file() or (folder / files.BEST).is_file():
        from beadseg.widgets.io.read_run import read_run

        return lambda path: read_run(Path(path))
    if (folder / files.IMAGES).is_dir():
        from beadseg.widgets.io.read_dataset import read_dataset

        return lambda path: read_dataset(Path(path))
    return None


def get_table_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a bead table; None for any other CSV file."""
    from beadseg.widgets.io.read_beads import is_bead_table, read_bead_table

    if isinstance(path, list) or not is_bead_table(Path(path)):
        return None
    return lambda path: read_bead_table(Path(path))
