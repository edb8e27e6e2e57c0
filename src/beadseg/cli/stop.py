"""Ctrl-C, Ctrl-Break, `qdel`, the end of a walltime: the first signal asks to stop, the second ends the work at once."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from beadseg.errors import Cancelled
from beadseg.events import StopFlag

STOP = StopFlag()
"""Set by the first signal that asks to stop; every command hands it to the work it starts."""

_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":  # Ctrl-Break: the one signal that a process there can send to another
    _SIGNALS.append(signal.SIGBREAK)


@contextmanager
def stop_on_signals(flag: StopFlag = STOP) -> Iterator[StopFlag]:
    """Set `flag` at the first signal that asks to stop; raise `Cancelled` in the main thread at the second.

    Outside the main thread nothing is installed, since Python allows no handlers there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if flag:
            raise Cancelled("Ended at once.", remedy="What was written before is kept.")
        flag.set()

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
