"""Runs and presets side by side, in the form of the laboratory's hyperparameter table, with what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from beadseg import files
from beadseg.config import PRESETS
from beadseg.config.base import Config
from beadseg.data.dataset import natural_key
from beadseg.errors import InputError, RunError
from beadseg.report.settings import preset_settings, settings_of
from beadseg.report.text_table import Row, box_table, pipe_table
from beadseg.text import csv_text, plural
from beadseg.training.history import read_history
from beadseg.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Sequence

PER_TABLE = 8
"""So many runs stand side by side; more stand below each other, with what differs and was measured only."""
SEARCH_DEPTH = 2
"""Depth to which runs are searched below a folder that is not a run itself."""
SCORE = "val_jaccard_images"
"""The score of the laboratory's tables, here the mean over images."""
UNKNOWN = "-"
"""Stands for what is not there."""
NOT_APPLICABLE = "not applicable"
"""Verdict of a criterion that a run cannot be held to."""
CRITERIA = "Criteria"
"""Column of a list of runs: how many of the laboratory's criteria are met."""
DIFFERS, SAME = "differs", "same"


class Point(Config):
    """One validation of a run."""

    epoch: int
    """Epoch, from 1."""
    step: int
    """Optimizer steps so far."""
    jaccard: float
    """Validation Jaccard, mean over images."""


class Column(Config):
    """A run or preset."""

    name: str
    """What it is called in the tables."""
    kind: Literal["run", "preset"]
    """A run has measured values."""
    path: str
    """The run folder; empty for a preset."""
    settings: dict[str, str]
    """Hyperparameters by name, as text."""
    measured: dict[str, str]
    """Measured values by name, as text; empty for a preset."""
    verdicts: dict[str, str]
    """The laboratory's success criteria by name: verdict and value; empty for a preset or an unfinished run."""
    curve: tuple[Point, ...]
    """The validation curve."""


class Comparison(Config):
    """Runs and presets side by side."""

    columns: tuple[Column, ...]
    """In the order they were given."""
    failures: tuple[str, ...]
    """What could not be read, one sentence each."""

    def groups(self) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
        """Return the parts of the table: where a row is found in `Column`, its names, and whether they are compared."""
        return (
            ("settings", self._names("settings"), True),
            ("measured", self._names("measured"), False),
            ("verdicts", self._names("verdicts"), False),
        )

    def text(self, width: int | None = None, *, align: bool = True) -> str:
        """Return the table as text; more than `PER_TABLE` runs have a row each, fewer a column each.

        Parameters
        ----------
        width : int, optional
            Letters in a line of the terminal: box-drawing tables of as many columns as fit. When not given, Markdown.
        align : bool
            Pad the columns of a Markdown table, for reading as plain text.
        """
        if len(self.columns) > PER_TABLE:
            return self._list_of_runs(boxes=width is not None, align=align)
        if width is not None:
            return "\n".join(self._boxes(width))
        rows = [row for group in self._rows(self.columns) for row in group]
        return pipe_table(self._header(self.columns), rows, align=align)

    def table(self) -> pd.DataFrame:
        """Return one row per run or preset."""
        rows: list[dict[str, Any]] = []
        for column in self.columns:
            row: dict[str, Any] = {"name": column.name, "kind": column.kind, "path": column.path}
            for part, names, _ in self.groups():
                row |= {name: getattr(column, part).get(name, "") for name in names}
            rows.append(row)
        return pd.DataFrame(rows)

    def write(self, out: Path) -> None:
        """Write ``comparison.md`` and ``comparison.csv``; raises `MachineError`."""
        files.ensure_folder(out)
        text = f"# Comparison\n\n{self.text(align=False)}\n"
        files.write_together({out / files.COMPARISON_TEXT: text, out / files.COMPARISON_TABLE: csv_text(self.table())})

    def _names(self, part: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for column in self.columns for name in getattr(column, part)))

    def _rows(self, block: Sequence[Column]) -> list[list[Row]]:
        """Return the rows of every group that say anything of `block`; settings are marked by all columns."""
        groups = []
        for part, names, compared in self.groups():
            rows = []
            for name in names:
                values = {getattr(column, part).get(name, UNKNOWN) for column in self.columns}
                cells = tuple(getattr(column, part).get(name, UNKNOWN) for column in block)
                mark = (DIFFERS if len(values) > 1 else SAME) if compared and len(self.columns) > 1 else ""
                if set(cells) - {UNKNOWN, NOT_APPLICABLE}:
                    rows.append((name, *cells, mark))
            groups.append(rows)
        return groups

    def _header(self, block: Sequence[Column]) -> Row:
        return ("Hyperparameter", *(column.name for column in block), "")

    def _list_of_runs(self, *, boxes: bool, align: bool) -> str:
        """Return what is the same for all, then a table of what differs, then one of what was measured."""
        values = {
            name: {column.settings.get(name, UNKNOWN) for column in self.columns} for name in self._names("settings")
        }
        same = [f"{name}: {next(iter(found))}" for name, found in values.items() if len(found) == 1]
        differing = tuple(name for name, found in values.items() if len(found) > 1)
        parts = [f"The same for all: {'; '.join(same)}."] if same else []
        for names in (differing, (*self._names("measured"), CRITERIA)):
            rows = [(c.name, *({**c.settings, **c.measured, CRITERIA: _tally(c)}.get(name, UNKNOWN) for name in names))
                    for c in self.columns]  # fmt: skip
            header = ("Run", *names)
            if names:
                parts.append(box_table(header, [rows], widest=16) if boxes else pipe_table(header, rows, align=align))
        return ("\n" if boxes else "\n\n").join(parts)

    def _boxes(self, width: int) -> list[str]:
        """Return tables of as many columns as fit, one at least."""
        tables, left = [], list(self.columns)
        while left:
            count = len(left)
            while (drawn := self._box(left[:count])).index("\n") > width and count > 1:
                count -= 1
            tables.append(drawn)
            left = left[count:]
        return tables

    def _box(self, block: Sequence[Column]) -> str:
        return box_table(self._header(block), self._rows(block), widest=24)


def compare(given: Sequence[str]) -> Comparison:
    """Read runs and presets.

    Parameters
    ----------
    given : sequence of str
        Run folders, folders that hold several runs (as `train --model all` and `crossval` write them), or names of
        presets. A run that is named twice counts once.

    Returns
    -------
    Comparison
        What could not be read is in ``failures``.

    Raises
    ------
    InputError
        Nothing of it can be read; for a single thing given, what is wrong with it.
    """
    found: dict[Path | str, None] = {}
    errors: list[InputError] = []
    for name in given:
        try:
            found.update(dict.fromkeys(_find(name)))
        except InputError as error:
            errors.append(error)
    names = distinct_names([one for one in found if isinstance(one, Path)])
    columns: list[Column] = []
    for one in found:
        try:
            columns.append(_preset_column(one) if isinstance(one, str) else _run_column(one, names[one]))
        except InputError as error:
            errors.append(error)
    if not columns:
        raise errors[0] if errors else InputError("Nothing to compare.", remedy="Name runs or presets.")
    return Comparison(columns=tuple(columns), failures=tuple(str(error) for error in errors))


def distinct_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return for each folder the fewest last parts of its path that tell it from the others."""
    parts = {folder: folder.resolve().parts for folder in folders}
    names = {}
    for folder, own in parts.items():
        others = [other for path, other in parts.items() if path != folder]
        count = next((n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own))
        names[folder] = files.printable("/".join(own[-count:]))
    return names


def _find(name: str) -> list[Path | str]:
    """Return the run folders that `name` stands for, or `name` itself for a preset."""
    if not name.strip():
        raise RunError("An empty name was given.", remedy=f"Give run folders or presets ({', '.join(PRESETS)}).")
    folder = Path(name)
    if _is_run(folder):
        return [folder.resolve()]
    if not folder.is_dir():
        if name in PRESETS:
            return [name]
        known = f"Give run folders or presets ({', '.join(PRESETS)})."
        raise RunError("Neither a run folder nor a preset.", files.printable(folder), known)
    inside = [path.parent for depth in range(1, SEARCH_DEPTH + 1) for path in folder.glob("*/" * depth + files.CONFIG)]
    runs: list[Path | str] = [
        path.resolve() for path in sorted(inside, key=lambda path: natural_key(str(path))) if _is_run(path)
    ]
    if not runs:
        raise RunError("Holds no run.", files.printable(folder), "Give the folder that `train` wrote.")
    return runs


def _is_run(folder: Path) -> bool:
    return (folder / files.CONFIG).is_file() and (
        (folder / files.SAMPLES).exists() or (folder / files.HISTORY).exists()
    )


def _preset_column(name: str) -> Column:
    settings = {"Preset": name, **preset_settings(name)}
    return Column(
        name=f"preset {name}", kind="preset", path="", settings=settings, measured={}, verdicts={}, curve=()
    )  # fmt: skip


def _run_column(folder: Path, name: str) -> Column:
    run = Run(folder)
    config = run.config
    measured, curve = _measured(run)
    return Column(
        name=name,
        kind="run",
        path=files.printable(folder),
        settings={"Preset": config.based_on, **settings_of(config)},
        measured=measured,
        verdicts=_verdicts(run),
        curve=curve,
    )


def _measured(run: Run) -> tuple[dict[str, str], tuple[Point, ...]]:
    """Return the measured rows, and the validation curve."""
    history = run.history if (run.folder / files.HISTORY).exists() else []
    if not history:
        return {"Epochs done": "0"}, ()
    last, best = history[-1], run.best
    train, val = last.get("train_jaccard_images"), last.get(SCORE)
    measured = {
        "Epochs done": str(last["epoch"]),
        "Optimizer steps": str(last["step"]),
        "Best epoch": str(best["epoch"]) if SCORE in best else UNKNOWN,
        "Best val Jaccard": _score(best.get(SCORE)),
        "Final val Jaccard": _score(val),
        "Pooled, best epoch": _score(best.get("val_jaccard_pooled")),
        "Gap to training, final": UNKNOWN if train is None or val is None else f"{train - val:+.4f}",
        "Time": _time(run.folder),
        "Noticed": _noticed(run),
    }
    points = [
        Point(epoch=row["epoch"], step=row["step"], jaccard=row[SCORE])
        for row in history
        if math.isfinite(row.get(SCORE, math.nan))
    ]
    return measured, tuple(points)


def _tally(column: Column) -> str:
    """Return how many of the criteria that apply are met."""
    judged = [verdict for verdict in column.verdicts.values() if verdict.startswith(("met", "not met"))]
    met = sum(verdict.startswith("met") for verdict in judged)
    return f"{met} of {len(judged)} met" if judged else UNKNOWN


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _time(folder: Path) -> str:
    """Return the time spent in training and validation."""
    path = folder / files.TIMES
    if not path.exists():
        return UNKNOWN
    seconds = sum(row.get(name, 0.0) for row in read_history(path) for name in ("train_seconds", "validation_seconds"))
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def _noticed(run: Run) -> str:
    """Return the codes of what the run noticed about itself, such as a collapse or too few steps."""
    if not (run.folder / files.DIAGNOSIS).exists():
        return UNKNOWN
    return ", ".join(dict.fromkeys(item.code for item in run.noticed)) or "nothing"


def _verdicts(run: Run) -> dict[str, str]:
    """Return each criterion's verdict with its value; those of the expected curve together."""
    if not (run.folder / files.CRITERIA).exists():
        return {}
    verdicts, met, judged = {}, 0, 0
    for item in run.criteria:
        if item.group == "expected curve":
            met += item.verdict == "met"
            judged += item.verdict != NOT_APPLICABLE
        else:
            verdicts[item.name] = item.verdict if item.measured is None else f"{item.verdict} ({item.measured:.3f})"
    verdicts["expected curve"] = f"reached at {met} of {plural(judged, 'epoch')}" if judged else NOT_APPLICABLE
    return verdicts
