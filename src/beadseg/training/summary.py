"""The laboratory's table of trained networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.errors import InputError
from beadseg.training.history import read_history, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.training.run import Run

COLUMNS = ("model", "best_epoch", "best_val_jaccard", "final_val_jaccard", "train_time")


def training_summary(folder: Path, runs: Sequence[tuple[str, Run]]) -> Path:
    """Write ``training_summary.csv`` with the laboratory's columns, one row per network; return its path."""
    rows = []
    for name, run in runs:
        metric = "val_jaccard_images"
        seconds = sum(
            row["train_seconds"] + row["validation_seconds"] for row in read_history(run.folder / files.TIMES)
        )
        best, last = run.best, run.history[-1]
        if metric not in last:
            raise InputError(
                "The run has no validation score to summarise.", run.folder, "Train with validation samples."
            )
        rows.append({
            "model": name,
            "best_epoch": best["epoch"],
            "best_val_jaccard": f"{best[metric]:.4f}",
            "final_val_jaccard": f"{last[metric]:.4f}",
            "train_time": f"{seconds / 3600:.2f}h",
        })  # fmt: skip
    path = folder / files.TRAINING_SUMMARY
    write_rows(path, rows, COLUMNS)
    return path
