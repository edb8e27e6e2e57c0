"""One run folder in the viewer: started here, going on elsewhere, or finished; what is known of it, kept up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qtpy.QtCore import QObject, QTimer, Signal

from beadseg import files
from beadseg.errors import BeadsegError
from beadseg.files import ensure_folder
from beadseg.widgets.common import Background
from beadseg.widgets.train.child import Child
from beadseg.widgets.train.follow import RunState, is_run, owner_of, read_run, stamp
from beadseg.widgets.train.watcher import Watcher

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.events import Event, OnEvent, StopFlag
    from beadseg.widgets.train.child import Outcome
    from beadseg.widgets.train.order import Order

LOOK_MS = 1000
"""How often a run folder is looked at; it may lie on a slow disk, so this happens in a thread."""

Status = Literal["none", "new", "unfinished", "finished", "running", "stopping", "elsewhere"]
"""No folder; a folder without a run; a run that can go on; done; a process of ours works, or ends; another's does."""


@dataclass(frozen=True)
class _Seen:
    """What one look at a folder found."""

    folder: Path
    stamp: object
    state: RunState | None
    error: BeadsegError | None
    child: Child | None
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
        self._watcher = Watcher(self, LOOK_MS)
        self._watcher.happened.connect(self._hear)
        self._watcher.ended.connect(self._end)
        self._reader = Background("reading the run", self)
        self._reader.returned.connect(self._take)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self.look)

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
        return None if self._watcher.child is None else self._watcher.child.pid

    def open(self, folder: Path | None) -> None:
        """Follow another folder; a process that trains in the one before goes on."""
        self._watcher.leave()
        self.folder, self.state, self.owner, self._stamp, self._told = folder, None, "", None, ""
        self._timer.stop()
        if folder is not None:
            self._timer.start()
            self.look()
        self.changed.emit()

    def start(self, order: Order) -> None:
        """Train in a process of its own; raises `MachineError` when the folder is not writable."""
        folder = ensure_folder(order.out)
        if folder != self.folder:
            self.open(folder)
        self._watcher.watch(Child.start([*order.arguments(), "--json"], folder / files.EVENTS, outlives=True))
        self.owner = ""
        self.changed.emit()

    def stop(self) -> None:
        """Ask the process to stop after the step in hand; asked again, end it at once. Its checkpoints are kept."""
        self._watcher.stop()
        self.changed.emit()

    def end_processes(self, keep: bool) -> None:
        """Leave a training going on when `keep`, else stop it; for the end of the widget, touches no Qt object."""
        child, self._watcher.child = self._watcher.child, None
        if child is not None and not keep:
            child.end()

    def look(self) -> None:
        """Read the folder in a thread, where it changed."""
        if self.folder is None or self._reader.running:
            return
        folder, before, ours = self.folder, self._stamp, self._watcher.running

        def work(on_event: OnEvent, stop: StopFlag) -> _Seen:
            return _see(folder, before, ours)

        self._reader.start(work)

    def _take(self, seen: _Seen) -> None:
        if seen.folder != self.folder:
            self.look()
            return
        before = (self.status, self.state)
        if seen.child is not None and not self._watcher.running:
            self._watcher.watch(seen.child)
        self._stamp = seen.stamp
        self.owner = "" if self._watcher.running else seen.owner
        self.state = seen.state or (self.state if seen.error is None and self._stamp else None)
        self._tell(seen.error)
        if (self.status, self.state) != before:
            self.changed.emit()

    def _tell(self, error: BeadsegError | None) -> None:
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
            self.look()

    def _end(self, outcome: Outcome) -> None:
        if self.folder is not None:
            _tidy(self.folder)
        self._stamp = None
        self.look()
        self.ended.emit(outcome)
        self.changed.emit()


def _see(folder: Path, before: object, ours: bool) -> _Seen:
    """Look at a folder; its state is None where nothing changed, or there is no run yet."""
    child = None if ours else Child.find(folder / files.EVENTS)
    owner = "" if ours or child is not None else owner_of(folder)
    now = (stamp(folder), owner)
    if now == before or not is_run(folder):
        return _Seen(folder, now if is_run(folder) else None, None, None, child, owner)
    try:
        return _Seen(folder, now, read_run(folder), None, child, owner)
    except BeadsegError as error:
        return _Seen(folder, now, None, error, child, owner)


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
