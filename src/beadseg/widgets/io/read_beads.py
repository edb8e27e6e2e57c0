"""A table of beads as points: one at every bead, with the table's columns as features."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from beadseg.data.fields import numbers_of, text_table
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
    """Tell whether a CSV is a table of beads, as beadseg or a spreadsheet wrote it."""
    try:
        text_table(path, NEEDED)
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
    table = read_table(path)
    return [(coordinates(table), points_look(table, f"{path.stem}: beads"), "points")]


def read_table(path: Path) -> pd.DataFrame:
    """Read a table of beads; raises `InputError` where it is none."""
    text = text_table(path, NEEDED, "Predict the image again.")
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
