"""The history of a run as curves. Knows no widget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from beadseg.widgets.train.plot import BLUE, ORANGE, Curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.training.history import Row


def loss_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return training and validation loss."""
    return _curves(rows, (("train_loss", "training", BLUE, False), ("val_loss", "validation", ORANGE, False)))


def score_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return the Jaccard of training and validation images."""
    return _curves(
        rows,
        (
            ("train_jaccard_images", "training", BLUE, False),
            ("val_jaccard_images", "validation", ORANGE, False),
            ("val_jaccard_pooled", "pooled", ORANGE, True),
        ),
    )


def count_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return the mean absolute error of the count per image, where the run has it."""
    return _curves(
        rows,
        (
            ("train_count_mae", "training", BLUE, False),
            ("val_count_mae", "validation", ORANGE, False),
            ("val_count_mae_dense", "densest third", ORANGE, True),
        ),
    )


def _curves(rows: Sequence[Row], columns: tuple[tuple[str, str, str, bool], ...]) -> list[Curve]:
    found = []
    for column, name, colour, dashed in columns:
        if any(column in row for row in rows):
            x = tuple(float(row["epoch"]) for row in rows)
            y = tuple(float(row.get(column, math.nan)) for row in rows)
            found.append(Curve(name, colour, x, y, dashed))
    return found
