"""One process per folder: a lock that also holds on network file systems, and that a dead owner does not keep."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.claim import (
    HEARTBEAT,
    STALE,
    Owner,
    create,
    kept_alive,
    last_beat,
    read,
    remove,
    server_time,
    why_dead,
)
from beadseg.errors import BusyError
from beadseg.events import OnEvent, StopFlag, ignore, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@contextmanager
def locked(
    folder: Path,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    has_ended: Callable[[str], bool] = lambda job: False,
    heartbeat: float = HEARTBEAT,
    stale: float = STALE,
) -> Iterator[None]:
    """Hold the lock of a folder; wait for one whose owner gives no sign of life until it is known to be dead.

    Parameters
    ----------
    folder : pathlib.Path
        What no other process may work in meanwhile.
    on_event, stop
        Told when a lock is waited for or taken over; set when the lock is lost to another process.
    has_ended : callable
        Tells whether the PBS job of this id has certainly ended.
    heartbeat, stale : float
        As `HEARTBEAT` and `STALE`.

    Raises
    ------
    BusyError
        Another living process holds it.
    """
    path, owner = folder / files.LOCK, Owner.this_process()
    while not create(path, owner):
        _take_over(path, on_event, stop, has_ended, heartbeat, stale)

    def lost(other: Owner) -> None:
        on_event(log(f"The lock of {folder} was taken by {other}: stopping.", "error"))
        if stop is not None:
            stop.set()

    with kept_alive(path, owner, heartbeat, lost):
        yield


def _take_over(
    path: Path,
    on_event: OnEvent,
    stop: StopFlag | None,
    has_ended: Callable[[str], bool],
    heartbeat: float,
    stale: float,
) -> None:
    """Remove the lock of a dead owner; raise `BusyError` for a living one; wait while it is not known."""
    beat = first = last_beat(path)
    owner = read(path)
    name = str(owner) if owner else "an unknown process"
    reason = why_dead(owner, has_ended)
    asked = False
    while not reason:
        beat = last_beat(path)
        if beat is None or (owner is None and beat != first):  # released meanwhile, or another's by now
            return
        age = server_time(path) - beat
        if owner is not None and (owner.runs or beat != first):
            raise BusyError(f"Another process works in this folder: {name}, last sign of life {max(0, age):.0f} s ago.",
                            path.parent, "Wait until it has ended, or end it.")  # fmt: skip
        if age >= stale:
            reason = f"it gave no sign of life for {age:.0f} s"
            break
        if not asked:
            on_event(log(f"Locked by {name}; waiting for a sign of life, {stale - age:.0f} s at most.", "warning"))
            asked = True
        if stop is not None:
            stop.check()
        time.sleep(min(heartbeat, 2.0) / 2)
    if remove(path, owner, beat, stale):
        on_event(log(f"The lock of {name} was left behind ({reason}); it is taken over.", "warning"))
