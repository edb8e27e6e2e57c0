"""Ctrl-C, Ctrl-Break, `qdel`, the end of a walltime: the first asks to stop, a second Ctrl-C ends the work at once.

A second SIGTERM does nothing: batch systems and containers send it several times, and whoever means it sends SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from beadseg.errors import Cancelled, ConfigError
from beadseg.events import DEADLINE, LAUNCHED, STOP_FILE, Deadline, StopFlag

STOP = StopFlag()
"""Set by the first signal that asks to stop; every command hands it to the work it starts."""

MARGIN = "BEADSEG_MARGIN"
"""Environment variable of job scripts: how long before `DEADLINE` the work must end, s."""

FILE_SECONDS = 0.3
"""How often the file that asks to stop is looked for, s."""

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
        if flag and number != signal.SIGTERM:
            raise Cancelled("Ended at once.", remedy="What was written before is kept.")
        flag.set()

    _watch_file(flag)
    _watch_launcher(flag)
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_file(flag: StopFlag) -> None:
    """Set `flag` when the file appears that `STOP_FILE` names: how another program asks where there are no signals."""
    name = os.environ.get(STOP_FILE)
    if not name:
        return

    def watch() -> None:
        while not Path(name).exists():
            time.sleep(FILE_SECONDS)
        flag.set()

    threading.Thread(target=watch, name="beadseg-stop-file", daemon=True).start()


def _watch_launcher(flag: StopFlag) -> None:
    """Set `flag` when the process ends that started this one for itself alone: nobody else would end it."""
    if not os.environ.get(LAUNCHED):
        return

    def watch() -> None:
        while os.read(0, 1):
            pass
        flag.set()

    threading.Thread(target=watch, name="beadseg-launcher", daemon=True).start()


def stop_in_time(walltime: str | None = None, margin: float | None = None, flag: StopFlag = STOP) -> StopFlag:
    """Return the flag of a command that must end before its time is up.

    Parameters
    ----------
    walltime : str, optional
        ``HH:MM:SS`` from now on; when not given, what the job script says.
    margin : float, optional
        How long before the end work must stop, s; when not given, what the job script says.
    flag : StopFlag
        What signals set.

    Raises
    ------
    ConfigError
        A time cannot be read.
    """
    end = os.environ.get(DEADLINE)
    if walltime is not None:
        from beadseg.config.site import as_walltime, walltime_seconds

        try:
            end = str(time.time() + walltime_seconds(as_walltime(walltime)))
        except ValueError:
            text = f"{walltime!r} is not a time."
            raise ConfigError(
                text, "--walltime", "Write it as HH:MM:SS, for example 12:00:00, or as 12h or 90m."
            ) from None
    if not end:
        return flag
    try:
        return Deadline(flag, float(end), float(os.environ.get(MARGIN) or 120) if margin is None else margin)
    except ValueError:
        raise ConfigError("Must be numbers of seconds.", f"{DEADLINE}, {MARGIN}", "Unset or correct them.") from None
