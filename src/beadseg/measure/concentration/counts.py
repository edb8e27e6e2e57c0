"""Read the counts of a prediction folder, which may be damaged or written by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.data.dataset import natural_key
from beadseg.data.fields import numbers_of, text_table
from beadseg.data.predictions import with_unmerged
from beadseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

NEEDED = ("image", "beads", "height", "width")
INTERVAL = ("beads_low", "beads_high")


@dataclass(frozen=True)
class Counted:
    """One row of ``counts.csv``.

    Attributes
    ----------
    image, plane : str
        Name of the image, and of its plane in a stack.
    beads : float
        Beads counted; not whole where beads on the border count by half.
    low, high : float or None
        Interval of the beads that are in the image; None where the prediction gave none.
    pixels : int
        Pixels of the image.
    pixel_size_um : float or None
        Side of a pixel, µm.
    flags : str
        What is implausible.
    """

    image: str
    plane: str
    beads: float
    low: float | None
    high: float | None
    pixels: int
    pixel_size_um: float | None
    flags: str

    @property
    def name(self) -> str:
        """Name of the image, with the plane."""
        return f"{self.image}_{self.plane}" if self.plane else self.image


def read_counts(folder: Path) -> list[Counted]:
    """Return the rows of a prediction folder's ``counts.csv``, in natural order of their names.

    Raises
    ------
    InputError
        It is missing or empty, lacks a column, names a plane twice, or a number is missing or impossible.
    """
    path = folder / files.COUNTS
    table = _table(path)
    numbers = {column: _numbers(table, column, path) for column in (*NEEDED[1:], *INTERVAL, "pixel_size_um")}
    for column in NEEDED[1:]:
        least = 0.0 if column == "beads" else 1.0
        _refuse(~(numbers[column] >= least) | ~np.isfinite(numbers[column]), column, table, path)
    _refuse(numbers["pixel_size_um"] <= 0, "pixel_size_um", table, path)
    known = {column: [None if math.isnan(value) else value for value in values] for column, values in numbers.items()}
    text = {column: _text(table, column) for column in ("image", "plane", "flags")}
    rows = [
        Counted(
            image=text["image"][at],
            plane=text["plane"][at],
            beads=float(numbers["beads"][at]),
            low=known["beads_low"][at],
            high=known["beads_high"][at],
            pixels=int(numbers["height"][at]) * int(numbers["width"][at]),
            pixel_size_um=known["pixel_size_um"][at],
            flags=text["flags"][at],
        )
        for at in range(len(table))
    ]
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"Names {twice!r} more than once.", path, "Keep one row of it.")
    return sorted(rows, key=lambda row: natural_key(row.name))


def _table(path: Path) -> pd.DataFrame:
    remedy = "Give a folder that `beadseg-batch predict` wrote."
    if not path.is_file():
        raise InputError("There are no counts.", path, remedy)
    table = text_table(path, NEEDED, remedy)
    separator = table.attrs["separator"]
    table = with_unmerged(table, path.parent)
    table.attrs["separator"] = separator
    if table.empty:
        raise InputError("Holds no counts.", path, "Predict at least one image.")
    return table


def _numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """Return a column's numbers; NaN for an empty cell, and where there is no such column."""
    if column not in table.columns:
        return np.full(len(table), np.nan)
    cells = table[column].str.strip()
    found = numbers_of(cells, table.attrs["separator"])
    values = np.array([np.nan if value is None else value for value in found], np.float64)
    _refuse((cells != "").to_numpy() & ~np.isfinite(values), column, table, path)
    return values


def _text(table: pd.DataFrame, column: str) -> list[str]:
    return table[column].tolist() if column in table.columns else [""] * len(table)


def _refuse(wrong: NDArray[np.bool_], column: str, table: pd.DataFrame, path: Path) -> None:
    """Raise `InputError` for the first row in which a number is missing or impossible."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        image, cell = table["image"].iloc[row], table[column].iloc[row]
        raise InputError(f"{column} of {image!r} is {cell!r}.", path, "Predict this image again, or correct the table.")
