"""A run folder as it is now: read again and again while a training goes on, here or elsewhere. Knows no Qt.

Only small text files are read; no checkpoint's weights and no torch.
"""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.claim import STALE, last_beat, read, server_time
from beadseg.config import TrainConfig
from beadseg.data.documents import read_document, read_entries
from beadseg.errors import BeadsegError, ConfigError, MachineError, RunError
from beadseg.model.checkpoint import read_meta
from beadseg.text import original
from beadseg.training.criteria import Criterion
from beadseg.training.frozen import sample_files
from beadseg.training.history import Row, gain, read_history
from beadseg.training.plan import Planned
from beadseg.training.watch import Diagnosis, Watch, few_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG_BYTES = 20_000
"""The end of the log that is shown."""
FILES = (files.CONFIG, files.HISTORY, files.LOG, files.CRITERIA, files.PLAN, files.BEST, files.LAST, files.FINAL,
         files.SAMPLES)  # fmt: skip
"""What is looked at for a change."""


@dataclass(frozen=True)
class ValidationSample:
    """One sample that the run is validated with, by the paths that the run knows."""

    name: str
    image: Path
    mask: Path | None


@dataclass(frozen=True)
class RunState:
    """What a run folder says.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    config : TrainConfig
        Its settings.
    rows : list of Row
        One per finished epoch.
    noticed : list of Diagnosis
        What is wrong with it so far.
    criteria : list of Criterion
        The laboratory's criteria, when it is finished.
    planned : list of Planned
        What was planned, with reasons.
    validation : list of ValidationSample
        The samples held out.
    log : str
        The end of its log.
    best : pathlib.Path or None
        The best model so far.
    finished : bool
        Whether it was trained to its end.
    seconds : float or None
        What an epoch takes, s.
    trouble : str
        What could not be read, in one sentence; empty when all is well.
    """

    folder: Path
    config: TrainConfig
    rows: list[Row] = field(default_factory=list)
    noticed: list[Diagnosis] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    validation: list[ValidationSample] = field(default_factory=list)
    log: str = ""
    best: Path | None = None
    finished: bool = False
    seconds: float | None = None
    trouble: str = ""

    @property
    def best_row(self) -> Row | None:
        """The row of the best epoch, None before the first."""
        metric = self.config.stop.metric
        scored = [row for row in self.rows if f"val_{metric}" in row]
        return max(scored, key=lambda row: (gain(metric, row[f"val_{metric}"]), -row["epoch"])) if scored else None


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run."""
    return (folder / files.CONFIG).is_file()


def stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a run goes on: time and size of its files."""
    found = []
    for name in FILES:
        try:
            status = files.current(folder / name).stat()
        except OSError:
            continue
        found.append((name, status.st_mtime_ns, status.st_size))
    return tuple(found)


def read_run(folder: Path) -> RunState:
    """Return what a run folder says; a damaged part is left out and named in `trouble`.

    Raises
    ------
    RunError
        It is not a run folder, or a newer beadseg wrote it.
    """
    config = _config(folder)
    troubles: list[str] = []

    def tried(name: str, read: Callable[[Path], Any], empty: Any) -> Any:
        path = folder / name
        if not path.exists():
            return empty
        try:
            return read(path)
        except BeadsegError as error:
            troubles.append(str(error))
            return empty

    rows: list[Row] = [row for row in tried(files.HISTORY, read_history, []) if {"epoch", "step"} <= set(row)]
    best = folder / files.BEST
    _refuse_newer(best)
    criteria = tried(files.CRITERIA, lambda path: read_entries(path, "criteria", Criterion), [])
    return RunState(
        folder=folder,
        config=config,
        rows=rows,
        noticed=_noticed(rows, config),
        criteria=criteria,
        planned=tried(files.PLAN, lambda path: read_entries(path, "planned", Planned), []),
        validation=tried(files.SAMPLES, _validation, []),
        log=tried(files.LOG, _tail, ""),
        best=best if best.is_file() else None,
        finished=(folder / files.CRITERIA).exists() and best.is_file() and not _refit_is_open(folder),
        seconds=tried(files.TIMES, _seconds, None),
        trouble=" ".join(troubles),
    )


def fingerprint_of(folder: Path) -> dict[str, Any]:
    """Return the fingerprint of the training samples that a run was planned from; raises `RunError`."""
    found: dict[str, Any] = read_document(folder / files.PLAN, "fingerprint")["fingerprint"]
    return found


def _config(folder: Path) -> TrainConfig:
    if not is_run(folder):
        raise RunError("Is not a run folder.", folder, f"Choose a folder with a {files.CONFIG} that a training wrote.")
    try:
        return TrainConfig.from_file(folder / files.CONFIG)
    except ConfigError as error:
        remedy = "If a newer beadseg wrote it, update beadseg; otherwise copy the folder again."
        raise RunError(f"Its configuration is not understood: {error.what}", folder, remedy) from None


def _refuse_newer(path: Path) -> None:
    """Raise `RunError` for a model of a newer version, or one that cannot be read."""
    if path.is_file():
        read_meta(path)


def _noticed(rows: list[Row], config: TrainConfig) -> list[Diagnosis]:
    """Return what the run's own checks say of its history."""
    if not rows:
        return []
    first = few_steps(int(rows[0]["step"]) // max(1, int(rows[0]["epoch"])), config.epochs)
    return [*([first] if first else []), *Watch(config.stop.metric).all(rows)]


def _validation(path: Path) -> list[ValidationSample]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("fold") == "val"]
    return [ValidationSample(original(row["sample"]), *sample_files(row, path.parent)) for row in rows]


def _seconds(path: Path) -> float | None:
    """Return the mean time of the last epochs, s."""
    rows = read_history(path)[-5:]
    return (
        sum(row.get("train_seconds", 0.0) + row.get("validation_seconds", 0.0) for row in rows) / len(rows)
        if rows
        else None
    )


def _refit_is_open(folder: Path) -> bool:
    """Return whether the final model was begun on all samples, and is not done."""
    return (folder / files.REFIT).is_dir() and not (folder / files.FINAL).is_file()


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES))
        return file.read().decode("utf-8", "replace")


def owner_of(folder: Path) -> str:
    """Return which process works in a folder, in words; "" when none gives a sign of life."""
    path = folder / files.LOCK
    owner, beat = read(path), last_beat(path)
    if owner is None or beat is None:
        return ""
    lives = owner.runs
    if lives is None:
        try:
            lives = server_time(path) - beat < STALE
        except MachineError:  # a folder that may only be read: the clock of this machine must do
            lives = time.time() - beat < STALE
    return str(owner) if lives else ""
