"""Work beside the interface: a thread or a child process with events, a stop and a progress bar.

Results arrive in the viewer's thread, which must go on answering.
"""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
import threading
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal
from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from beadseg.errors import InputError, MachineError
from beadseg.events import Event, StopFlag
from beadseg.runtime.locking import is_running
from beadseg.widgets.common.message import keep_place

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from beadseg.events import OnEvent
    from beadseg.runtime.process import Process

    Work = Callable[[OnEvent, StopFlag], Any]
    Item = tuple[Literal["event", "returned", "failed"], Any]

PREFIX = "beadseg-viewer"
"""Beginning of the names of folders for temporary files; the number of the process follows."""
POLL_MS = 15
"""How often the viewer's thread looks for news of the work. The thread never touches a Qt object, which may be gone."""

LOOK_MS = 500
"""How often the file of the process is read. Whatever is redrawn makes Qt compose the window with its OpenGL
canvas again, which takes long where OpenGL has no graphics card: so a bar moves seldom, and nothing is animated."""
STOPPING_MS = 100
"""How often, while the process is stopping: its end is reported at once."""

RARER = 50
"""Factor by which full collections are made rarer."""

_asked: set[int] = set()
"""Who asked for it."""
_before: list[tuple[int, int, int]] = []
"""The thresholds that are given back."""


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for temporary files, and remove those that killed viewers have left.

    Raises
    ------
    MachineError
        The disk is full, or the place for temporary files is not writable.
    """
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}-*-*"):
        number = path.name.split("-")[2]
        if number.isdecimal() and not is_running(int(number)):
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


class ProgressRow(QWidget):
    """Progress of one background, and the button that cancels it.

    Parameters
    ----------
    background : Background
        What is followed.
    instead : QWidget, optional
        The buttons that start it: hidden while it goes on, so that the row takes their place. The keyboard goes with
        them to Cancel and back. Without them the row keeps a place of its own.
    """

    def __init__(self, background: Background, parent: QWidget | None = None, instead: QWidget | None = None) -> None:
        super().__init__(parent)
        self._background, self._instead = background, instead
        self._pressed: QWidget | None = None
        """The button that had the keyboard when the work began."""
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(f"Stop {background.name}; what was finished is kept")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.cancel.clicked.connect(self._cancel)
        background.started.connect(self._begin)
        background.happened.connect(self._show)
        background.ended.connect(self._end)
        if instead is None:
            keep_place(self)
        else:
            background.returned.connect(self._give_focus_back)
            background.failed.connect(self._give_focus_back)
        self.setVisible(False)

    def _begin(self) -> None:
        self.bar.setRange(0, 1)  # not 0 to 0: that is animated, and each frame redraws the OpenGL canvas
        self.bar.setValue(0)
        self.bar.setFormat(self._background.name)
        self.cancel.setEnabled(True)
        focus = self._focus()
        self.setVisible(True)
        if self._instead is None:
            return
        self._pressed = focus if focus is not None and self._instead.isAncestorOf(focus) else None
        if self._pressed is not None:
            self.cancel.setFocus()
        self._instead.setVisible(False)

    def _show(self, event: Event) -> None:
        found = share(event)
        if found is None:
            return
        task, done, total = found
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)
        self.bar.setFormat(f"{task}: {done} of {total}")

    def _cancel(self) -> None:
        self.setFocus()  # else Qt passes it on to the next field
        self.cancel.setEnabled(False)
        self.bar.setFormat("stopping")
        self._background.cancel()

    def _end(self) -> None:
        if self._focus() not in (self, self.cancel):
            self._pressed = None  # a person went elsewhere meanwhile
        if self._instead is not None:
            self._instead.setVisible(True)
        self.setVisible(False)

    def _give_focus_back(self) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is not None:
            pressed.setFocus()

    def _focus(self) -> QWidget | None:
        window = self.window()
        return None if window is None else window.focusWidget()


class Monitor(QObject):
    """Follows one process at a time.

    Parameters
    ----------
    look_ms : int
        How often it is looked at, ms.
    """

    happened = Signal(object)
    """List of `Event`: what was said since the last look."""
    ended = Signal(object)
    """`Outcome` of the process."""

    def __init__(self, parent: QObject | None = None, look_ms: int = LOOK_MS) -> None:
        super().__init__(parent)
        self._look_ms = look_ms
        self.process: Process | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._poll)

    @property
    def running(self) -> bool:
        """Whether a process is followed whose end was not told yet."""
        return self.process is not None

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self.process is not None and self.process.stopping

    def watch(self, process: Process) -> None:
        """Follow a process, and no more the one before."""
        self.process = process
        self._timer.start(self._look_ms)

    def stop(self) -> None:
        """Ask the process to stop: `ended` comes when what it has in hand is finished. Asked again, it is killed."""
        if self.process is not None:
            self.process.stop()
            self._timer.setInterval(STOPPING_MS)

    def kill(self) -> None:
        """End the process at once and follow it no more; `ended` does not come."""
        self.end_process()
        self.leave()

    def end_process(self) -> None:
        """End the process at once; for the end of a widget: touches no Qt object."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()

    def leave(self) -> None:
        """Follow the process no more; it goes on."""
        self.process = None
        self._timer.stop()

    def _poll(self) -> None:
        process = self.process
        if process is None:
            return
        over = not process.running
        if news := process.news():
            self.happened.emit(news)
        if over and process.drained and self.process is process:
            outcome = process.outcome()
            self.leave()
            self.ended.emit(outcome)


def keep_collections_short(owner: int) -> None:
    """Let full collections come seldom until `owner` (its `id`) calls `collect_all_again`.

    A collection of all that a viewer holds stops it for a quarter of a second. Nothing is taken from the collector: the
    viewer and other plugins go on as they are, and what they leave is collected, later.
    """
    if not _asked:
        _before.append(gc.get_threshold())
        first, second, third = _before[0]
        gc.set_threshold(first, second, RARER * max(1, third))
    _asked.add(owner)


def collect_all_again(owner: int) -> None:
    """End what `owner` asked for, if it did."""
    if owner in _asked:
        _asked.remove(owner)
        if not _asked:
            gc.set_threshold(*_before.pop())
