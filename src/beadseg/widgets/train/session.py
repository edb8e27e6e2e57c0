"""One run folder in the viewer: started here, going on elsewhere, or finished; read again while a training goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.documents import read_entries, read_table
from beadseg.errors import BeadsegError, ConfigError, RunError
from beadseg.files import ensure_folder
from beadseg.model.checkpoint import read_meta
from beadseg.runtime.locking import living_owner
from beadseg.runtime.process import Process
from beadseg.training.diagnosis import Criterion, Diagnosis, Watch, few_steps
from beadseg.training.prepare import Planned
from beadseg.training.records import Row, gain, read_history, sample_files
from beadseg.widgets.common import Background
from beadseg.widgets.common.background import Monitor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beadseg.events import Event, OnEvent, StopFlag
    from beadseg.runtime.process import Outcome
    from beadseg.widgets.train.command import TrainCommand

LOOK_MS = 1000
"""How often a run folder is looked at; it may lie on a slow disk, so this happens in a thread."""

Status = Literal["none", "new", "unfinished", "finished", "running", "stopping", "elsewhere"]
"""No folder; a folder without a run; a run that can go on; done; a process of ours works, or ends; another's does."""

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


@dataclass(frozen=True)
class _Seen:
    """What one look at a folder found."""

    folder: Path
    stamp: object
    state: RunState | None
    error: BeadsegError | None
    process: Process | None
    owner: str


class Session(QObject):
    """Follows one run folder, and the process that trains there."""

    changed = Signal()
    """Status or state are other than before."""
    progressed = Signal(str, int, int)
    """Task, done, total."""
    said = Signal(object)
    """An `Event` with a message."""
    ended = Signal(object)
    """`Outcome` of the process."""
    failed = Signal(object)
    """The folder cannot be read: a `BeadsegError`, told once."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.state: RunState | None = None
        self.owner = ""
        self._stamp: object = None
        self._told = ""
        self._watcher = Monitor(self, LOOK_MS)
        self._watcher.happened.connect(self._hear)
        self._watcher.ended.connect(self._end)
        self._reader = Background("reading the run", self)
        self._reader.returned.connect(self._take)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.refresh)

    @property
    def status(self) -> Status:
        """What the folder is to this session."""
        if self.folder is None:
            return "none"
        if self._watcher.running:
            return "stopping" if self._watcher.stopping else "running"
        if self.state is None:
            return "new"
        if self.owner:
            return "elsewhere"
        return "finished" if self.state.finished else "unfinished"

    @property
    def pid(self) -> int | None:
        """Number of the process that trains."""
        return None if self._watcher.process is None else self._watcher.process.pid

    def open(self, folder: Path | None) -> None:
        """Follow another folder; a process that trains in the one before goes on."""
        self._watcher.leave()
        self.folder, self.state, self.owner, self._stamp, self._told = folder, None, "", None, ""
        self._timer.stop()
        if folder is not None:
            self._timer.start()
            self.refresh()
        self.changed.emit()

    def start(self, order: TrainCommand) -> None:
        """Train in a process of its own; raises `MachineError` when the folder is not writable."""
        folder = ensure_folder(order.out)
        if folder != self.folder:
            self.open(folder)
        self._watcher.watch(Process.start([*order.arguments(), "--json"], folder / files.EVENTS, outlives=True))
        self.owner = ""
        self.changed.emit()

    def stop(self) -> None:
        """Ask the process to stop after the current step; asked again, end it at once. Its checkpoints are kept."""
        self._watcher.stop()
        self.changed.emit()

    def end_processes(self, keep: bool) -> None:
        """Leave a training going on when `keep`, else stop it; for the end of the widget, touches no Qt object."""
        process, self._watcher.process = self._watcher.process, None
        if process is not None and not keep:
            process.end()

    def refresh(self) -> None:
        """Read the folder in a thread, where it changed."""
        if self.folder is None or self._reader.running:
            return
        folder, before, ours = self.folder, self._stamp, self._watcher.running

        def work(on_event: OnEvent, stop: StopFlag) -> _Seen:
            return _see(folder, before, ours)

        self._reader.start(work)

    def _take(self, seen: _Seen) -> None:
        if seen.folder != self.folder:
            self.refresh()
            return
        before = (self.status, self.state)
        if seen.process is not None and not self._watcher.running:
            self._watcher.watch(seen.process)
        self._stamp = seen.stamp
        self.owner = "" if self._watcher.running else seen.owner
        self.state = seen.state or (self.state if seen.error is None and self._stamp else None)
        self._report_error(seen.error)
        if (self.status, self.state) != before:
            self.changed.emit()

    def _report_error(self, error: BeadsegError | None) -> None:
        text = "" if error is None else str(error)
        if error is not None and text != self._told:
            self.failed.emit(error)
        self._told = text

    def _hear(self, events: list[Event]) -> None:
        bars = [event for event in events if event.kind == "progress"]
        if bars:
            data = bars[-1].data
            self.progressed.emit(data["task"], data["done"], data["total"])
        for event in events:
            if event.message and event.level != "debug":
                self.said.emit(event)
        if any(event.kind in ("epoch", "diagnosis") for event in events):
            self.refresh()

    def _end(self, outcome: Outcome) -> None:
        if self.folder is not None:
            _tidy(self.folder)
        self._stamp = None
        self.refresh()
        self.ended.emit(outcome)
        self.changed.emit()


def _see(folder: Path, before: object, ours: bool) -> _Seen:
    """Look at a folder; its state is None where nothing changed, or there is no run yet."""
    process = None if ours else Process.find(folder / files.EVENTS)
    owner = "" if ours or process is not None else str(living_owner(folder) or "")
    now = (stamp(folder), owner)
    if now == before or not is_run(folder):
        return _Seen(folder, now if is_run(folder) else None, None, None, process, owner)
    try:
        return _Seen(folder, now, read_run(folder), None, process, owner)
    except BeadsegError as error:
        return _Seen(folder, now, None, error, process, owner)


def _tidy(folder: Path) -> None:
    """Remove what a killed process left unfinished, and a folder in which no run was begun."""
    if not folder.is_dir():
        return
    files.remove_unfinished(folder)
    (folder / files.STOP).unlink(missing_ok=True)
    if not is_run(folder) and all(path.name in (files.EVENTS, files.LOG, files.LOCK) for path in folder.iterdir()):
        for path in folder.iterdir():
            path.unlink(missing_ok=True)
        folder.rmdir()


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
    rows = [row for row in read_table(path, "sample", "fold", "image", "mask") if row["fold"] == "val"]
    return [ValidationSample(row["sample"], *sample_files(row, path.parent)) for row in rows]


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
