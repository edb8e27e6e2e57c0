"""The viewer's side of a `Child`: news and end as signals, looked for by a timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from beadseg.widgets.train.child import Child

LOOK_MS = 500
"""How often the file of the process is read. Whatever is redrawn makes Qt compose the window with its OpenGL
canvas again, which takes long where OpenGL has no graphics card: so a bar moves seldom, and nothing is animated."""
STOPPING_MS = 100
"""How often, while the process is stopping: its end is told at once."""


class Watcher(QObject):
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
        self.child: Child | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)

    @property
    def running(self) -> bool:
        """Whether a process is followed whose end was not told yet."""
        return self.child is not None

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop."""
        return self.child is not None and self.child.stopping

    def watch(self, child: Child) -> None:
        """Follow a process, and no more the one before."""
        self.child = child
        self._timer.start(self._look_ms)

    def stop(self) -> None:
        """Ask the process to stop: `ended` comes when what it has in hand is finished. Asked again, it is killed."""
        if self.child is not None:
            self.child.stop()
            self._timer.setInterval(STOPPING_MS)

    def kill(self) -> None:
        """End the process at once and follow it no more; `ended` does not come."""
        if self.child is not None:
            self.child.kill()
        self.leave()

    def leave(self) -> None:
        """Follow the process no more; it goes on."""
        self.child = None
        self._timer.stop()

    def _look(self) -> None:
        child = self.child
        if child is None:
            return
        over = not child.running
        if news := child.news():
            self.happened.emit(news)
        if over and child.drained and self.child is child:
            outcome = child.outcome()
            self.leave()
            self.ended.emit(outcome)
