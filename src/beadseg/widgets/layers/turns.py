"""Steps that each hold the viewer up for a moment, one in a turn of the event loop: it draws and answers in between."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Step = Callable[[], object]


PAUSE_MS = 30
"""Between two steps: what the one before made is laid out and drawn, and mouse, keys and timers have their turn."""


class Turns(QObject):
    """Does steps one after the other.

    Parameters
    ----------
    parent : QObject, optional
        When it is destroyed, the rest is not done.
    """

    ended = Signal()
    """Nothing is left to do."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: list[Step] = []
        self._timer = QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._turn)

    @property
    def active(self) -> bool:
        """Whether anything is left to do, or its end was not told yet."""
        return bool(self._timer.isActive())

    def start(self, steps: Iterable[Step]) -> None:
        """Do these steps, and nothing that was left of others."""
        self._steps = list(steps)
        self._timer.start()

    def stop(self) -> None:
        """Leave the rest undone."""
        self._steps = []
        self._timer.stop()

    def insert(self, step: Step) -> None:
        """Do a step in the next turn, before those that are left."""
        self._steps.insert(0, step)

    def append(self, step: Step) -> None:
        """Do a step after those that are left."""
        self._steps.append(step)

    def _turn(self) -> None:
        if self._steps:
            with _uncollected():
                self._steps.pop(0)()
            if self._timer.isActive():
                self._timer.start()  # the pause begins when the step has ended
            return
        self._timer.stop()
        self.ended.emit()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Put Python's collection of cycles off: in a viewer it takes 0.2 s, which would come on top of the step."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
