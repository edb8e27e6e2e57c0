"""A trial in a process of its own: what kills it, or eats its memory, leaves the other trials alone.

Both ends of a pipe: the child sends events and how it ended; whatever comes from the parent, also the end of the pipe
when the parent is gone, asks the child to stop after the step in hand.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from beadseg.errors import BeadsegError, Cancelled
from beadseg.events import Event, OnEvent, StopFlag
from beadseg.sweep.plan import Result, Sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from beadseg.sweep.work import Work

POLL = 0.2
"""How often the parent looks at its stop flag, s."""
SIGNALS = {signal.SIGINT, signal.SIGTERM}


def run_in_child(sweep: Sweep, number: int, work: Work, on_event: OnEvent, stop: StopFlag) -> Result:
    """Run a trial in a child process; see `beadseg.sweep.trial.run_trial`.

    A child that exits without an error message is a failed trial.
    """
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_work, args=(there, sweep.folder, number, work))
    with _signals_kept():
        child.start()
    there.close()
    try:
        raised = _follow(here, on_event, stop)
        child.join()
    finally:
        here.close()
        if child.is_alive():
            child.kill()
            child.join()
    if isinstance(raised, Cancelled):
        raise stop.ended(f" in trial {number}", sweep.folder)
    if raised is not None:
        raise raised
    result = sweep.result(number)
    if result is None:
        stop.check()
        result = Result(trial=number, error=_end(child))
        sweep.keep(result)
    return result


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Block the signals that ask to stop while a child starts: it inherits that, and hears of them by the pipe."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(connection: Connection[Any, Any], on_event: OnEvent, stop: StopFlag) -> BeadsegError | None:
    """Pass the child's events on until it ends; return the error that it ended with, if any."""
    told = False
    with suppress(EOFError, ConnectionError):
        while True:
            if stop and not told:
                connection.send("stop")
                told = True
            if not connection.poll(POLL):
                continue
            item = connection.recv()
            if isinstance(item, Event):
                on_event(item)
            else:
                return item if isinstance(item, BeadsegError) else None
    return None


def _end(child: SpawnProcess) -> str:
    code = child.exitcode or 0
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"Its process was ended by {name}; of a SIGKILL that nobody sent, want of memory is the usual reason."
    return f"Its process ended with exit code {code} without a result."


def _work(connection: Connection[Any, Any], folder: Path, number: int, work: Work) -> None:
    """Do what the child does."""
    for name in SIGNALS:
        signal.signal(name, signal.SIG_IGN)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # as the command does
    stop, sending = StopFlag(), threading.Lock()
    threading.Thread(target=_hear, args=(connection, stop), daemon=True).start()

    def send(item: Event | BeadsegError | None) -> None:
        with sending, suppress(OSError):  # a parent that is gone hears nothing
            connection.send(item)

    from beadseg.sweep.trial import run_trial

    if work.threads is not None:
        import torch

        torch.set_num_threads(work.threads)
    try:
        run_trial(Sweep(folder), number, work, send, stop)
    except BeadsegError as error:
        send(error)
    else:
        send(None)


def _hear(connection: Connection[Any, Any], stop: StopFlag) -> None:
    with suppress(EOFError, OSError):
        connection.recv()
    stop.set()
