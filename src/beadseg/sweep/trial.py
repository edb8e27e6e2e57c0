"""One trial of a sweep: an ordinary training in its own folder, and a result whatever becomes of it. Loads torch."""

from __future__ import annotations

import math
import traceback
from typing import TYPE_CHECKING

from beadseg.data.split import make_split
from beadseg.errors import BeadsegError, BusyError, Cancelled, RunError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.files import ensure_folder
from beadseg.sweep.plan import Result, Sweep
from beadseg.training.prepare import annotated_objects
from beadseg.training.run import train

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset
    from beadseg.data.split import Split
    from beadseg.sweep.plan import Work
    from beadseg.training.run import Run


def run_trial(
    sweep: Sweep, number: int, work: Work, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> Result:
    """Train one trial, or go on with it, and write how it ended; one that has ended is not trained again.

    Raises
    ------
    BusyError
        Another process trains it.
    Cancelled
        `stop` was set; every step is kept.
    """
    done = sweep.result(number)
    if done is not None:
        return done
    try:
        result = _train(sweep, number, work, on_event, stop)
    except (BusyError, Cancelled):
        raise
    except Exception as error:  # whatever it is, it must not stop the other trials
        result = failure(number, error)
    sweep.keep(result)
    return result


def failure(number: int, error: Exception) -> Result:
    """Return the result of a trial that ended with an error."""
    if isinstance(error, BeadsegError):
        return Result(trial=number, error=str(error))
    details = "".join(traceback.format_exception(error))
    return Result(trial=number, error=f"{type(error).__name__}: {error}", details=details)


def _train(sweep: Sweep, number: int, work: Work, on_event: OnEvent, stop: StopFlag | None) -> Result:
    config = sweep.configured(sweep.trial(number))
    folder = ensure_folder(sweep.trial_folder(number))
    run = train(
        work.dataset, config, folder, split=_split(sweep, work.dataset, on_event, stop), device=work.device,
        on_event=on_event, stop=stop, checkpoint_minutes=work.checkpoint_minutes, has_ended=work.has_ended,
    )  # fmt: skip
    return _result(sweep, number, run)


def _split(sweep: Sweep, dataset: Dataset, on_event: OnEvent, stop: StopFlag | None) -> Split | None:
    """Return the split of all trials where their own seeds would give each another one."""
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
