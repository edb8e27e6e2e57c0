"""What napari asks when a file or folder is opened: is it one of ours, and which function reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.data.raw import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.widgets.io.layer_data import LayerData

    Reader = Callable[[str], list[LayerData]]


NOTHING: Any = (None,)
"""What tells napari that there is nothing to add."""


def get_folder_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a dataset, run or prediction folder, or of a folder of images.

    napari asks before it knows whether the folder is one of these: any other gets a reader that says what it is not.
    """
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
    if any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir()):
        from beadseg.widgets.io.read_dataset import read_images

        return lambda path: read_images(Path(path))
    return lambda path: _refused(f"{path} is not a dataset, run, prediction folder or folder of images.")


def get_table_reader(path: str | list[str]) -> Reader | None:
    """Return the reader of a bead table; of another table of a prediction folder, that of the folder.

    napari asks for any CSV file: another gets a reader that says what it is not.
    """
    from beadseg.widgets.io.read_beads import is_bead_table, read_bead_table

    if isinstance(path, list):
        return None
    file = Path(path)
    if is_bead_table(file):
        return lambda path: read_bead_table(Path(path))
    if (file.parent / files.PREDICTION).is_file():
        from beadseg.widgets.io.read_prediction import read_prediction

        return lambda path: read_prediction(Path(path).parent)
    return lambda path: _refused(
        f"{path} is not a table of beads: it needs the columns id, y and x. Choose napari to open it."
    )


def _refused(text: str) -> list[LayerData]:
    """Say why nothing is opened, without a traceback."""
    from napari.utils.notifications import show_warning

    show_warning(text)
    return [NOTHING]
