"""The history of a run: one row per epoch, in the checkpoint and as a CSV beside it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from beadseg.config import METRICS
from beadseg.errors import RunError
from beadseg.events import OnEvent, log
from beadseg.files import beside, current, write_atomically, write_table
from beadseg.measure.counting import COUNT_METRICS, DENSITIES
from beadseg.text import safe_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SCORES = METRICS
DENSITY_SCORES = tuple(f"{name}_{density}" for density in DENSITIES for name in COUNT_METRICS)
COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "train_eval_loss",
    "val_loss",
    *(f"val_{score}" for score in SCORES),
    *(f"train_{score}" for score in SCORES),
    *(f"val_{score}" for score in DENSITY_SCORES),
)
"""Columns of ``history.csv``. ``train_loss`` is the mean over the epoch's batches (augmented patches, training mode);
``train_eval_loss`` and ``train_jaccard_*`` are of whole training images in evaluation mode, like ``val_*``."""

Row = dict[str, Any]

_COUNTS = {
    "f1": "F1 of beads",
    "count_bias": "count bias (beads per image)",
    "count_mae": "mean absolute count error (beads per image)",
}
_MEANS = {"images": "mean over images", "fields": "mean over fields", "pooled": "all pixels"}


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], on_event: OnEvent | None = None
) -> None:
    """Write rows as CSV, whole or not at all. Numbers are written so that reading them gives the same float.

    With `on_event` another program that holds the file does not end the work: see `beadseg.files.write_table`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    if on_event is None:
        write_atomically(path, text.getvalue())
        return
    known = beside(path).exists()
    where = write_table(path, text.getvalue(), seconds=0.0 if known else 2.0)
    if where != path and not known:
        what = f"{path} cannot be replaced: another program has it open."
        on_event(log(f"{what} Until it is closed its rows go to {where.name}.", "warning"))


def _cell(value: Any) -> Any:
    return safe_cell(value) if isinstance(value, str) else value


def read_history(path: Path) -> list[Row]:
    """Return the rows of a ``history.csv``; empty cells are left out of their row.

    Raises
    ------
    RunError
        There is no such file, or it is damaged.
    """
    try:
        lines = current(path).read_text(encoding="utf-8").splitlines()
        return [
            {name: int(value) if name in ("epoch", "step") else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(lines)
        ]
    except FileNotFoundError:
        raise RunError("No history.", path, "Give the folder of a run that has finished at least one epoch.") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise RunError(
            f"The history cannot be read ({detail}).", path, "Copy it back; a training that goes on rewrites it."
        ) from None


def score_name(metric: str) -> str:
    """Return a score's name for a person: ``jaccard_images`` is "Jaccard (mean over images)"."""
    if metric in _COUNTS:
        return _COUNTS[metric]
    score, _, over = metric.partition("_")
    return f"{score.capitalize()} ({_MEANS[over]})"


def gain(metric: str, value: float) -> float:
    """Return a score's value as a number of which more is better: of errors, their size is counted down."""
    return -abs(value) if metric in ("count_bias", "count_mae") else value


def describe(row: Row, epochs: int, key: str, best: bool) -> str:
    """Return an epoch's row as one line for a person."""
    line = f"Epoch {row['epoch']:3d}/{epochs}  loss {row['train_loss']:.4f}"
    if key in row:
        line += f"  validation loss {row['val_loss']:.4f}  {score_name(key.removeprefix('val_'))} {row[key]:.4f}"
        train = row.get(key.replace("val_", "train_"))
        line += f" (training {train:.4f})" if train is not None else ""
        line += f"  F1 {row['val_f1']:.4f}, count {row['val_count_bias']:+.1f} per image" if "val_f1" in row else ""
        line += "  best so far" if best else ""
    return line
