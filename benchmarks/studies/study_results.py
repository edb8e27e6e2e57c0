"""The result files of the study as numbers with their spread over seeds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

Row = dict[str, Any]


def trainings(folder: Path, group: str) -> dict[str, list[Row]]:
    """Return the trainings of a group by name, in the order of the study, one row per seed that is done."""
    from study_cells import SEEDS, cells

    found = [_read(path) for path in sorted(folder.glob(f"{group}-*.json"))]
    names = [cell.name for cell in cells() if cell.group == group]
    by_name = {name: [row for row in found if row["name"] == name] for name in names}
    return {name: sorted(rows, key=lambda row: SEEDS.index(row["seed"])) for name, rows in by_name.items() if rows}


def measured(folder: Path, kind: str) -> list[Row]:
    """Return the rows of ``gradient`` or ``scaled`` of all seeds."""
    return [row for path in sorted(folder.glob(f"{kind}-*.json")) for row in _read(path)]


def split_rows(folder: Path) -> list[Row]:
    """Return the rows about splits; none where they are not computed yet."""
    path = folder / "split.json"
    return _read(path) if path.exists() else []


def over_seeds(rows: Sequence[Row], value: Callable[[Row], float | None], digits: int = 2) -> str:
    """Return mean and standard deviation over seeds as text."""
    values = [number for row in rows if (number := value(row)) is not None]
    if not values:
        return ""
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def by_seed(rows: Sequence[Row], **wanted: object) -> dict[int, Row]:
    """Return the one row of every seed that has the wanted values."""
    return {row["seed"]: row for row in rows if all(row[name] == value for name, value in wanted.items())}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
