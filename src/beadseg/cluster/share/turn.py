"""One at a time: what may write the list or the tables of a folder that several processes share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.claim import HEARTBEAT, Owner, create, kept_alive, remove_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from beadseg.events import StopFlag

POLL = 0.2
"""The lock is tried again this often, s."""


@contextmanager
def turn(
    folder: Path, has_ended: Callable[[str], bool], stop: StopFlag | None = None, wait: bool = True
) -> Iterator[bool]:
    """Hold the lock of a folder, after those who have it, and yield True; False when it is taken and `wait` is not set.

    Raises
    ------
    Cancelled
        `stop` was set while waiting.
    """
    path, owner = folder / files.LOCK, Owner.this_process()
    while not create(path, owner):
        if remove_dead(path, has_ended):
            continue
        if not wait:
            yield False
            return
        if stop is not None:
            stop.check()
        time.sleep(POLL)
    with kept_alive(path, owner, HEARTBEAT, lambda other: None):
        yield True
