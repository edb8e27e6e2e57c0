"""The tables of a prediction folder: counts and failures, those of earlier batches kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from beadseg import files
from beadseg.errors import InputError
from beadseg.files import printable, write_atomically
from beadseg.predict.counts import COUNT_COLUMNS
from beadseg.text import csv_text, original_cells

if TYPE_CHECKING:
    from pathlib import Path

FAILURE_COLUMNS = ("image", "error")


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    counts : pandas.DataFrame
        One row per plane, as in ``counts.csv``.
    failures : pandas.DataFrame
        One row per image that failed, as in ``failures.csv``.
    """

    counts: pd.DataFrame
    failures: pd.DataFrame

    @property
    def flagged(self) -> pd.DataFrame:
        """Rows of `counts` with an implausible result."""
        return self.counts[self.counts["flags"] != ""]


def earlier_tables(folder: Path, names: dict[Path, str]) -> BatchResult:
    """Return what the folder's tables say of other images than those to be predicted now, whose names are given."""
    tables = {}
    for file, columns in ((files.COUNTS, COUNT_COLUMNS), (files.FAILURES, FAILURE_COLUMNS)):
        path = folder / file
        tables[file] = _table(path, columns) if path.exists() else pd.DataFrame(columns=list(columns))
    counts, failures = tables[files.COUNTS], tables[files.FAILURES]
    return BatchResult(
        counts[~counts["image"].isin(list(names.values()))],
        failures[~failures["image"].isin([printable(p) for p in names])],
    )


def write_tables(
    folder: Path, counts_now: list[dict[str, Any]], failures_now: list[dict[str, str]], earlier: BatchResult
) -> BatchResult:
    """Write the tables of what is done so far, so that whoever ends the batch by force loses one image at most."""
    result = BatchResult(
        pd.DataFrame(counts_now, columns=list(COUNT_COLUMNS)), pd.DataFrame(failures_now, columns=list(FAILURE_COLUMNS))
    )
    counts = pd.concat([earlier.counts, result.counts.astype(object)], ignore_index=True)
    write_atomically(folder / files.COUNTS, csv_text(counts))
    failures = pd.concat([earlier.failures, result.failures], ignore_index=True)
    if len(failures):
        write_atomically(folder / files.FAILURES, csv_text(failures))
    else:
        (folder / files.FAILURES).unlink(missing_ok=True)
    return result


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read one of the folder's own tables as text."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read ({detail}).", path, "Move it away, or give a new --out folder.") from None
    if not set(columns) <= set(table.columns):
        raise InputError("Is no table of predictions.", path, "Move it away, or give a new --out folder.")
    return original_cells(table)
