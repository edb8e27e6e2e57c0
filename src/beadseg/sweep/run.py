"""Run the trials of a sweep one after the other on one machine, each in a process of its own.

What kills a trial, or eats its memory, leaves the others alone: parent and child hold both ends of a pipe. The child
sends events and how it ended; whatever comes from the parent, also its end, asks the child to stop.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from beadseg.config.sweep import TpeConfig
from beadseg.errors import BeadsegError, BusyError, Cancelled, RunError
from beadseg.events import Event, OnEvent, StopFlag, log, track
from beadseg.runtime.process import signal_name
from beadseg.sweep.plan import Result, Round, Sweep, Trial
from beadseg.sweep.ranking import write_tables
from beadseg.sweep.space import propose, values_text
from beadseg.text import plural
from beadseg.training.records import gain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from beadseg.sweep.plan import Work

POLL = 0.2
"""How often the parent looks at its stop flag, s."""
SIGNALS = {signal.SIGINT, signal.SIGTERM}


def run_sweep(sweep: Sweep, work: Work, on_event: OnEvent, stop: StopFlag) -> None:
    """Run every trial that has not ended, round by round; the same call goes on where it was interrupted.

    Raises
    ------
    RunError
        No trial of a round reached a score, so that the next cannot learn from it.
    Cancelled
        `stop` was set; the trials that ended are kept, and every step of the one in hand.
    """
    for number in range(1, sweep.plan.space.rounds + 1):
        item = plan_round(sweep, number, on_event)
        run_trials(sweep, [trial.number for trial in item.trials], work, on_event, stop)


def run_trials(sweep: Sweep, numbers: Sequence[int], work: Work, on_event: OnEvent, stop: StopFlag) -> None:
    """Run those of some trials that have not ended, and write the tables after each."""
    pending = set(sweep.pending())
    waiting = [number for number in numbers if number in pending]
    if len(waiting) < len(numbers):
        on_event(log(f"{len(numbers) - len(waiting)} of {plural(len(numbers), 'trial')} have ended before."))
    heard: set[str] = set()
    for number in track(waiting, "trials", len(waiting), on_event, stop):
        on_event(log(f"Trial {number}: {values_text(sweep.trial(number).values)}"))
        run_one(sweep, number, work, _briefly(on_event, heard), stop)
        write_tables(sweep, on_event)


def run_one(sweep: Sweep, number: int, work: Work, on_event: OnEvent, stop: StopFlag) -> Result | None:
    """Run one trial in a process of its own and tell how it ended; None where another process has it in hand."""
    try:
        result = run_in_child(sweep, number, work, on_event, stop)
    except BusyError as error:
        on_event(Event("trial", f"Trial {number} is left alone: {error.what}", "warning", {"trial": number}))
        return None
    if result.score is None:
        on_event(Event("trial", f"Trial {number} failed: {result.error}", "warning", result.model_dump()))
    else:
        text = f"Trial {number}: {sweep.metric} {result.score:.4f} at epoch {result.best_epoch}."
        on_event(Event("trial", text, data=result.model_dump()))
    return result


def plan_round(sweep: Sweep, number: int, on_event: OnEvent) -> Round:
    """Return the plan of a round; make it from the results so far when it is the next one.

    To be called by one process at a time: it alone asks Optuna, and writes what it says.

    Raises
    ------
    RunError
        No trial so far reached a score, or the round before is not planned yet.
    """
    space = sweep.plan.space
    method = space.method
    if sweep.round_path(number).exists() or not isinstance(method, TpeConfig):
        return sweep.round(number)
    before = [trial for done in range(1, number) for trial in sweep.round(done).trials]
    ended = [(trial, sweep.result(trial.number)) for trial in before]
    scores = [(trial.values, gain(sweep.metric, result.score))
              for trial, result in ended if result is not None and result.score is not None]  # fmt: skip
    if not scores:
        reasons = [result.error for _, result in ended if result is not None]
        why = f" The first one: {reasons[0]}" if reasons else ""
        raise RunError(f"No trial of round {number - 1} reached a score.{why}", sweep.folder,
                       "Correct the cause and run the same sweep again with --retry.")  # fmt: skip
    known = [trial.values for trial in before]
    found = propose(space.parameters, scores, known, method.trials, space.seed, number)
    first = len(before) + 1
    item = Round(round=number, trials=tuple(Trial(number=first + at, values=each) for at, each in enumerate(found)))
    sweep.keep_round(item)
    on_event(log(f"Planned round {number} of {space.rounds} from {len(scores)} scores."))
    return item


def forget_failures(sweep: Sweep) -> list[int]:
    """Remove the results of failed trials, so that they are run again; return their numbers."""
    found = []
    for trial in sweep.trials:
        result = sweep.result(trial.number)
        if result is not None and result.score is None:
            sweep.forget(trial.number)
            found.append(trial.number)
    return found


def _briefly(on_event: OnEvent, heard: set[str]) -> OnEvent:
    """Return a listener for one trial of many: its log has the rest; what several warn of is reported once."""

    def listen(event: Event) -> None:
        if event.kind in ("progress", "trial"):
            on_event(event)
        elif event.level in ("warning", "error") and event.message not in heard:
            heard.add(event.message)
            on_event(event)

    return listen


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
        name = signal_name(code)
        return f"Its process was ended by {name}; a SIGKILL that nobody sent usually means that memory ran out."
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
