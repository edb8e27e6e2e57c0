"""Work beside the interface: one thread, with events and a stop flag; results arrive in the viewer's thread."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Literal

import psutil
from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.errors import InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[OnEvent, StopFlag], Any]
    Item = tuple[Literal["event", "returned", "failed"], Any]

PREFIX = "beadseg-viewer"
"""Beginning of the names of folders for temporary files; the number of the process follows."""
POLL_MS = 15
"""How often the viewer's thread looks for news of the work. The thread never touches a Qt object, which may be gone."""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for temporary files, and remove those that killed viewers have left.

    Raises
    ------
    MachineError
        The disk is full, or the place for temporary files is not writable.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}-*-*"):
        number = path.name.split("-")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            shutil.rmtree(path, ignore_errors=True)
    try:
        return tempfile.TemporaryDirectory(prefix=f"{PREFIX}-{os.getpid()}-")
    except OSError as error:
        text = f"No folder for temporary files can be made ({error.strerror})."
        raise MachineError(text, tempfile.gettempdir(), "Free space.") from None


class Background(QObject):
    """Runs one piece of work at a time in a thread.

    All signals are received in the thread that made this object. A work that was cancelled ends with `failed`
    (`Cancelled`). The work must not touch layers or widgets.

    Parameters
    ----------
    name : str
        What the work is called, in a message and as the name of the thread.
    parent : QObject, optional
        When it is destroyed, the work is asked to stop and its result is dropped.
    """

    started = Signal()
    happened = Signal(object)
    """An `Event` of the work."""
    returned = Signal(object)
    """What the work returned."""
    failed = Signal(object)
    """What the work raised."""
    ended = Signal()
    """Just before `returned` or `failed`, whose receivers may start the next work."""

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self._stop = StopFlag()
        self._news: SimpleQueue[Item] = SimpleQueue()
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._deliver)
        self.destroyed.connect(_Stopper(self))

    @property
    def running(self) -> bool:
        """Whether the work goes on, or has ended and that was not told yet."""
        return bool(self._timer.isActive())

    @property
    def cancelling(self) -> bool:
        """Whether a running work was asked to stop."""
        return self.running and bool(self._stop)

    def start(self, work: Work) -> None:
        """Run ``work(on_event, stop)`` in a thread.

        Raises
        ------
        InputError
            The work before it goes on.
        """
        if self.running:
            raise InputError(f"{self.name} is still going on.", remedy="Wait for its end, or cancel it.")
        self._stop, self._news = StopFlag(), SimpleQueue()
        name = f"beadseg {self.name}"
        threading.Thread(target=_run, args=(work, self._stop, self._news), name=name, daemon=True).start()
        self._timer.start()
        self.started.emit()

    def cancel(self) -> None:
        """Ask the work to stop; returns at once."""
        self._stop.set()

    def _deliver(self) -> None:
        while True:
            try:
                what, value = self._news.get_nowait()
            except Empty:
                return
            if what == "event":
                self.happened.emit(value)
                continue
            self._timer.stop()
            self.ended.emit()
            (self.returned if what == "returned" else self.failed).emit(value)
            return


def _run(work: Work, stop: StopFlag, news: SimpleQueue[Item]) -> None:
    try:
        news.put(("returned", work(lambda event: news.put(("event", event)), stop)))
    except BaseException as error:
        news.put(("failed", error))


class _Stopper:
    """Sets the stop flag of a background that is being destroyed; holds no reference to the object itself."""

    def __init__(self, background: Background) -> None:
        self._values = background.__dict__

    def __call__(self) -> None:
        # Nothing is left to set where Python's collector of cycles came first.
        stop = getattr(self, "_values", {}).get("_stop")
        if stop is not None:
            stop.set()


def share(event: Event) -> tuple[str, int, int] | None:
    """Return task, done and total of a ``"progress"`` event, None for another."""
    if event.kind != "progress":
        return None
    return str(event.data["task"]), int(event.data["done"]), int(event.data["total"])
