"""The tables of the study in Markdown, and its figures."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from study_cells import COUNTS, FEW, LOSSES, MANY, SAME_AREA, SAME_SIZE
from study_results import by_seed, measured, over_seeds, split_rows, trainings

from beadseg.text import pipe_table

if TYPE_CHECKING:
    from pathlib import Path

GROUPS = ("microbeads", "dense", "sparse", "collapse")


MARK = re.compile(r"(<!-- table: (\w+) -->\n)(?:\|.*\n)*")
"""A place for a table in the page, with the table that stands there."""


def tables(results: Path) -> dict[str, str]:
    """Return all tables of the result files by name."""
    found = {"gradient": _gradients(results), "optimizer": _scaled(results), "splits": _splits(results)}
    return found | {group: _trainings(results, group) for group in GROUPS}


def fill(page: str, results: Path) -> str:
    """Return the text of a page with the tables that it names put in."""
    made = tables(results)
    return MARK.sub(lambda place: f"{place[1]}{made[place[2]]}\n", page)


def _gradients(results: Path) -> str:
    """Return how the norm of the gradient changes from few to many objects, per series and loss."""
    rows = measured(results, "gradient")
    lines = []
    for series in (SAME_AREA, SAME_SIZE):
        for loss in LOSSES:
            few, many = (by_seed(rows, series=series, loss=loss, objects=objects) for objects in (FEW, MANY))
            pairs = [{"few": few[seed], "many": many[seed]} for seed in few]
            slopes = [{"slope": slope} for slope in _slopes(rows, series, loss)]
            lines.append((
                series,
                loss,
                over_seeds(pairs, lambda pair: pair["few"]["start"], 3),
                over_seeds(pairs, lambda pair: pair["many"]["start"], 3),
                over_seeds(pairs, lambda pair: pair["many"]["start"] / pair["few"]["start"]),
                over_seeds(pairs, _early),
                over_seeds(slopes, lambda row: row["slope"]),
                over_seeds(pairs, lambda pair: pair["few"].get("noise")),
                over_seeds(pairs, lambda pair: pair["many"].get("noise")),
            ))  # fmt: skip
    header = (
        "objects", "loss", f"norm at {FEW}", f"norm at {MANY}", "ratio at the start", "ratio early", "exponent",
        f"noise at {FEW}", f"noise at {MANY}",
    )  # fmt: skip
    return pipe_table(header, lines, align=False)


def _early(pair: dict) -> float | None:
    early = pair["few"].get("early")
    return None if early is None else float(pair["many"]["early"] / early)


def _slopes(rows: list, series: str, loss: str) -> list[float]:
    """Return, per seed, the exponent p of ``norm ~ objects ** p`` by least squares over all numbers of objects."""
    seeds = sorted({row["seed"] for row in rows})
    norms = {count: by_seed(rows, series=series, loss=loss, objects=count) for count in COUNTS}
    logs = [[np.log(norms[count][seed]["start"]) for count in COUNTS] for seed in seeds]
    return [float(np.polyfit(np.log(COUNTS), values, 1)[0]) for values in logs]


def _scaled(results: Path) -> str:
    rows = measured(results, "scaled")
    lines = []
    for name in dict.fromkeys(row["optimizer"] for row in rows):
        own = [row for row in rows if row["optimizer"] == name]
        ratio = over_seeds(own, lambda row: row["moved_scaled"] / row["moved"], 3)
        moved, scaled = (over_seeds(own, lambda row, key=key: row[key], 3) for key in ("moved", "moved_scaled"))
        lines.append((name, moved, scaled, ratio))
    header = ("optimizer", "weights moved by", "with the gradient 36 times as large", "ratio")
    return pipe_table(header, lines, align=False)


def _splits(results: Path) -> str:
    lines = [
        (
            row["split"],
            str(row["samples"]),
            f"{row['spread']:.2f}",
            f"{row['lowest']:.2f} to {row['highest']:.2f}",
            f"{100 * row['shared_field']:.0f} %",
        )
        for row in split_rows(results)
    ]
    header = ("split", "validation images", "sd of their density", "range", "share a field of view with training")
    return pipe_table(header, lines, align=False)


def _trainings(results: Path, group: str) -> str:
    lines = []
    for name, rows in trainings(results, group).items():
        lines.append((
            name,
            over_seeds(rows, lambda row: row["best"]),
            over_seeds(rows, lambda row: row["final"]),
            over_seeds(rows, lambda row: row["train_final"] - row["final"]),
            over_seeds(rows, lambda row: row["late_sd"], 3),
            over_seeds(rows, lambda row: row["with_batch_statistics"]),
            f"{sum(row['collapsed'] for row in rows)} of {len(rows)}",
        ))  # fmt: skip
    header = (
        "variant", "best Jaccard", "last", "training minus validation", "sd of 10 epochs", "last, own statistics",
        "collapsed",
    )  # fmt: skip
    return pipe_table(header, lines, align=False)
