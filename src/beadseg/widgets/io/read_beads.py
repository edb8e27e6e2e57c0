"""A table of beads as points: one at every bead, with the table's columns as features."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from beadseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.widgets.io.layer_data import LayerData

NEEDED = ("id", "y", "x")
"""Columns that make a CSV a table of beads."""
COLOUR = "#ffb000"
"""Of centres: amber, as the outlines of `predict`."""
SIZE = 4.0
"""Of a centre, px."""


def is_bead_table(path: Path) -> bool:
    """Tell by its first line whether a CSV is a table of beads."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(NEEDED) <= set(header)


def read_bead_table(path: Path) -> list[LayerData]:
    """Return the points of a table of beads; those of a stack have coordinates for its planes before y and x.

    Raises
    ------
    InputError
        The file is no such table.
    """
    table = read_table(path)
    return [(coordinates(table), points_look(table, f"{path.stem}: beads"), "points")]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of beads; raises `InputError` where it is none."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read as a table ({detail}).", path, "Predict the image again.") from None
    missing = [name for name in NEEDED if name not in table]
    if not missing and table.empty:  # an image without beads: no cell tells that its columns are numbers
        return table.astype({name: np.float64 for name in table.columns if name != "plane"})
    if missing or not all(pd.api.types.is_numeric_dtype(table[name]) for name in NEEDED):
        raise InputError("Is not a table of beads.", path, "It needs the columns id, y and x with numbers.")
    return table


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


def points_look(table: pd.DataFrame, name: str) -> dict[str, Any]:
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
