"""Which samples an audit found something about: from its table, ``audit.csv``."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from beadseg.errors import InputError
from beadseg.text import from_cell

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

SAMPLE_COLUMN = "sample"
PARTNER_COLUMN = "partner"
"""The other sample concerned, where the table has the column: a twin, or the one that a mask belongs to."""


def samples_with_findings(path: Path, known: Collection[str]) -> set[str]:
    """Return the names of the samples that a row of an audit's table is about, of whatever severity.

    Parameters
    ----------
    path : pathlib.Path
        A CSV with the column ``sample``, one row per finding.
    known : collection of str
        Names of the dataset's samples.

    Raises
    ------
    InputError
        The file is missing, no such table, or has rows of none of the dataset's samples (another dataset's audit).
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            cells = {row.get(column) or "" for row in reader for column in (SAMPLE_COLUMN, PARTNER_COLUMN)} - {""}
    except FileNotFoundError:
        raise InputError("No such file.", path, "Give the audit.csv that `beadseg-batch audit` wrote.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"Cannot be read as CSV: {error}.", path, "Give the audit.csv of this dataset.") from None
    if SAMPLE_COLUMN not in columns:
        raise InputError(f"Has no column {SAMPLE_COLUMN!r}.", path, "Give the audit.csv of this dataset.")
    # A name that looks like a formula may be written with an apostrophe before it; a plane's has its sample's first.
    names = {name for cell in cells for name in (cell, from_cell(cell))}
    found = {name for whole in names for name in (whole, whole.rsplit("/", 1)[0])} & set(known)
    if cells and not found:
        raise InputError("Has no row of any sample of this dataset.", path, "Give the audit.csv of this dataset.")
    return found
