"""Work whose older requests are worthless: the newest runs, those before it are dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from beadseg.errors import Cancelled
from beadseg.widgets.common import Background

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.events import OnEvent, StopFlag

    Work = Callable[[OnEvent, StopFlag], Any]


class Latest(QObject):
    """Runs the newest request in a thread.

    Parameters
    ----------
    name : str
        What the work is called.
    """

    returned = Signal(object)
    """Result of a request that no newer one has replaced."""
    failed = Signal(object)
    """What such a request raised."""

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.background = Background(name, self)
        self._waiting: Work | None = None
        self.background.returned.connect(self._return)
        self.background.failed.connect(self._fail)
        self.background.ended.connect(self._go_on)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self.background.running or self._waiting is not None

    def request(self, work: Work) -> None:
        """Run a work as soon as the one before has ended, which is asked to."""
        if self.background.running:
            self._waiting = work
            self.background.cancel()
        else:
            self.background.start(work)

    def drop(self) -> None:
        """Forget what waits, and cancel what runs."""
        self._waiting = None
        self.background.cancel()

    def _return(self, value: object) -> None:
        if self._waiting is None and not self.background.cancelling:
            self.returned.emit(value)

    def _fail(self, error: object) -> None:
        if self._waiting is None and not isinstance(error, Cancelled):
            self.failed.emit(error)

    def _go_on(self) -> None:
        if self._waiting is not None:
            work, self._waiting = self._waiting, None
            self.background.start(work)
