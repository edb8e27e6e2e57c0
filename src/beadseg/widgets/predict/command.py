"""Run a `beadseg-batch` command as a process of its own, from a thread, and wait for its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from beadseg.errors import Cancelled, ExitCode, MachineError
from beadseg.widgets.train.child import Child

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.events import Event, OnEvent, StopFlag

LOOK_S = 0.05
"""Between two looks at what the process said."""
STOP_S = 2.0
"""Seconds after which a process that was asked to stop is killed: its files are written whole or not at all."""
FINISHED = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)
"""Exit codes of a command that did all it could."""


def run_command(
    arguments: Sequence[str], log: Path, on_event: OnEvent, stop: StopFlag, *, at_once: bool = False
) -> list[Event]:
    """Run ``beadseg-batch ARGUMENTS --json`` and return its events.

    Parameters
    ----------
    arguments : sequence of str
        The command and its options.
    log : pathlib.Path
        The file that the process writes its events to.
    on_event, stop
        Hears every event; ends the process: within three seconds, or with `at_once` immediately.

    Raises
    ------
    Cancelled
        `stop` was set.
    MachineError
        The process could not start, or failed, or was ended by the system; with what it said last.
    """
    child = Child.start([*arguments, "--json"], log)
    events: list[Event] = []
    while True:
        running = child.running  # asked before the news, so that the last ones are not missed
        for event in child.news():
            events.append(event)
            on_event(event)
        if not running and child.drained:
            break
        if stop and running:
            if at_once:
                child.kill()
            elif not child.stopping:
                child.stop(STOP_S)
        time.sleep(LOOK_S)
    if stop:
        raise Cancelled(
            "Prediction was cancelled.", remedy="Images that were finished are kept, nothing is half there."
        )
    outcome = child.outcome()
    if outcome.code not in FINISHED:
        raise MachineError(outcome.message or "The process failed.")
    return events
