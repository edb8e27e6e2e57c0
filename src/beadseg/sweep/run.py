"""Run the trials of a sweep one after the other on one machine, each in a process of its own."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING

from beadseg.config.sweep import TpeConfig
from beadseg.data.split import make_split
from beadseg.errors import BeadsegError, BusyError, Cancelled, MachineError, RunError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, track
from beadseg.files import ensure_folder
from beadseg.runtime.process import call, why_ended
from beadseg.sweep.plan import Result, Round, Sweep, Trial
from beadseg.sweep.ranking import write_tables
from beadseg.sweep.space import propose, values_text
from beadseg.text import plural
from beadseg.training.records import gain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.data.dataset import Dataset
    from beadseg.data.split import Split
    from beadseg.sweep.plan import Work
    from beadseg.training.run import Run


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
    """Run a trial in a child process; one that exits without an error message is a failed trial."""
    try:
        code = call(run_trial, (Sweep(sweep.folder), number, work), on_event, stop)
    except Cancelled:
        raise stop.ended(f" in trial {number}", sweep.folder) from None
    result = sweep.result(number)
    if result is None:
        stop.check()
        result = Result(trial=number, error=why_ended(code, "train"))
        sweep.keep(result)
    return result


def run_trial(
    sweep: Sweep, number: int, work: Work, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> Result:
    """Train one trial, or go on with it, and write how it ended; one that has ended is not trained again. Loads torch.

    Raises
    ------
    BusyError
        Another process trains it.
    Cancelled
        `stop` was set; every step is kept.
    MachineError
        The disk is full or broken; the trial is as it was.
    """
    done = sweep.result(number)
    if done is not None:
        return done
    try:
        result = _train(sweep, number, work, on_event, stop)
    except (BusyError, Cancelled):
        raise
    except Exception as error:  # whatever it is, it must not stop the other trials
        if isinstance(error, MachineError) and isinstance(error.__cause__, OSError):  # a full disk would end all
            raise
        result = _failure(number, error)
    sweep.keep(result)
    return result


def _failure(number: int, error: Exception) -> Result:
    """Return the result of a trial that ended with an error."""
    if isinstance(error, BeadsegError):
        return Result(trial=number, error=str(error))
    details = "".join(traceback.format_exception(error))
    return Result(trial=number, error=f"{type(error).__name__}: {error}", details=details)


def _train(sweep: Sweep, number: int, work: Work, on_event: OnEvent, stop: StopFlag | None) -> Result:
    from beadseg.training.run import train

    if work.threads is not None:
        import torch

        torch.set_num_threads(work.threads)
    config = sweep.configured(sweep.trial(number))
    folder = ensure_folder(sweep.trial_folder(number))
    run = train(
        work.dataset, config, folder, split=_split(sweep, work.dataset, on_event, stop), device=work.device,
        on_event=on_event, stop=stop, checkpoint_minutes=work.checkpoint_minutes, has_ended=work.has_ended,
    )  # fmt: skip
    return _result(sweep, number, run)


def _split(sweep: Sweep, dataset: Dataset, on_event: OnEvent, stop: StopFlag | None) -> Split | None:
    """Return the split of all trials where their own seeds would give each another one."""
    from beadseg.training.prepare import annotated_objects

    if "seed" not in sweep.plan.space.parameters:
        return None
    config = sweep.plan.config
    return make_split(config.split, dataset, annotated_objects(dataset, on_event, stop), config.seed)


def _result(sweep: Sweep, number: int, run: Run) -> Result:
    best = run.best
    score = best.get(f"val_{sweep.metric}", math.nan)
    if not math.isfinite(score):
        raise RunError("The run has no validation score.", run.folder, "Train with validation samples.")
    return Result(trial=number, score=score, best_epoch=best["epoch"], epochs=run.history[-1]["epoch"])
