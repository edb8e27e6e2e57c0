"""What came out of a sweep: the trials ranked, the best one's configuration, and what failed."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.events import OnEvent, ignore
from beadseg.files import write_atomically
from beadseg.sweep.importance import COLUMNS as IMPORTANCE_COLUMNS
from beadseg.sweep.importance import importance
from beadseg.sweep.space import told
from beadseg.text import plural
from beadseg.training.history import gain, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.sweep.plan import Result, Sweep, Trial
    from beadseg.sweep.tpe import Told

COLUMNS = ("rank", "trial", "round", "state", "score", "best_epoch", "epochs")
"""First columns of ``trials.csv``; the parameters follow by their names, and ``error``."""
FAILURE_COLUMNS = ("trial", "error")


@dataclass(frozen=True)
class Ended:
    """A trial of a sweep and what is known of it.

    Attributes
    ----------
    trial : Trial
        Its number and values.
    round : int
        The round that it was planned in.
    result : Result or None
        None while it has not ended.
    """

    trial: Trial
    round: int
    result: Result | None

    @property
    def score(self) -> float | None:
        """Its score; None where it has none."""
        return None if self.result is None else self.result.score

    @property
    def error(self) -> str:
        """Why it failed, or ``""``."""
        return "" if self.result is None else self.result.error

    @property
    def state(self) -> str:
        """``finished``, ``failed``, or ``not ended``."""
        if self.result is None:
            return "not ended"
        return "failed" if self.result.score is None else "finished"


@dataclass(frozen=True)
class Standing:
    """How a sweep stands.

    Attributes
    ----------
    sweep : Sweep
        The sweep.
    trials : tuple of Ended
        All planned trials: finished ones first, the best of them first; then failed ones, then those not ended.
    """

    sweep: Sweep
    trials: tuple[Ended, ...]

    @classmethod
    def of(cls, sweep: Sweep) -> Standing:
        """Read how a sweep stands."""
        trials = [Ended(trial, item.round, sweep.result(trial.number)) for item in sweep.rounds
                  for trial in item.trials]  # fmt: skip

        def place(one: Ended) -> tuple[int, float, int]:
            order = ("finished", "failed", "not ended").index(one.state)
            return order, 0.0 if one.score is None else -gain(sweep.metric, one.score), one.trial.number

        return cls(sweep, tuple(sorted(trials, key=place)))

    @property
    def finished(self) -> list[Ended]:
        """The trials with a score, the best one first."""
        return [one for one in self.trials if one.state == "finished"]

    @property
    def failed(self) -> list[Ended]:
        """The trials that failed."""
        return [one for one in self.trials if one.state == "failed"]

    @property
    def best_text(self) -> str:
        """The best trial, its score and its values in one sentence; ``""`` where none has a score."""
        if not self.finished:
            return ""
        best = self.finished[0]
        same = sum(one.score == best.score for one in self.finished) - 1
        others = f" ({same} more {'has' if same == 1 else 'have'} the same score)" if same else ""
        return f"trial {best.trial.number}, {self.sweep.metric} {best.score:.4f}{others}: {told(best.trial.values)}"

    @property
    def expected(self) -> int:
        """How many trials there are when all rounds are planned."""
        rounds = self.sweep.plan.space.rounds
        planned = len(self.sweep.rounds)
        return len(self.trials) + (rounds - planned) * sum(one.round == 1 for one in self.trials)

    @property
    def complete(self) -> bool:
        """Whether every trial of every round has ended."""
        return len(self.finished) + len(self.failed) == self.expected

    @property
    def told(self) -> list[Told]:
        """The values of every finished trial, in the order of their numbers, and how good it was: more is better."""
        ordered = sorted(self.finished, key=lambda one: one.trial.number)
        return [(one.trial.values, gain(self.sweep.metric, one.score)) for one in ordered if one.score is not None]

    def text(self) -> str:
        """Return how far it is in one line."""
        left = self.expected - len(self.finished) - len(self.failed)
        parts = [f"{len(self.finished)} of {plural(self.expected, 'trial')} finished"]
        parts += [f"{len(self.failed)} failed"] if self.failed else []
        parts += [f"{left} to come"] if left else []
        return ", ".join(parts)


def write_tables(sweep: Sweep, on_event: OnEvent = ignore) -> Standing:
    """Write ``trials.csv``, ``best.yaml`` and ``failures.csv`` (only where something failed); return the standing.

    A table that another program has open is written beside it, which `on_event` hears. Nothing in them differs
    between two equal sweeps.
    """
    standing = Standing.of(sweep)
    names = tuple(sweep.plan.space.parameters)
    rows = [_row(one, rank if one.score is not None else "") for rank, one in enumerate(standing.trials, start=1)]
    write_rows(sweep.folder / files.TRIALS_TABLE, rows, (*COLUMNS, *names, "error"), on_event)
    failures = sweep.folder / files.FAILURES
    if standing.failed:
        failed = sorted(standing.failed, key=lambda one: one.trial.number)
        write_rows(
            failures, [{"trial": one.trial.number, "error": one.error} for one in failed], FAILURE_COLUMNS, on_event
        )
    else:
        failures.unlink(missing_ok=True)
    if standing.finished:
        best = sweep.configured(standing.finished[0].trial)
        write_atomically(sweep.folder / files.BEST_CONFIG, best.to_yaml())
    return standing


def collect(sweep: Sweep, on_event: OnEvent = ignore) -> Standing:
    """Write the tables, and ``importance.csv`` where there are enough trials; return how the sweep stands."""
    standing = write_tables(sweep, on_event)
    rows = importance(sweep.plan.space.parameters, standing.told)
    if rows:
        write_rows(sweep.folder / files.IMPORTANCE, rows, IMPORTANCE_COLUMNS, on_event)
    return standing


def _row(one: Ended, rank: int | str) -> dict[str, Any]:
    result = one.result
    values = {name: cell(value) for name, value in one.trial.values.items()}
    return {
        "rank": rank, "trial": one.trial.number, "round": one.round, "state": one.state,
        "score": "" if one.score is None else one.score,
        "best_epoch": "" if result is None or result.best_epoch is None else result.best_epoch,
        "epochs": "" if result is None or result.epochs is None else result.epochs,
        **values, "error": one.error,
    }  # fmt: skip


def cell(value: Any) -> str | float | int:
    """Return a value of a parameter as it stands in tables and figures."""
    if isinstance(value, bool) or value is None or not isinstance(value, str | float | int):
        return json.dumps(value)
    return value


def on_other_data(standing: Standing) -> list[int]:
    """Return the trials that were trained or scored on other samples or files than the best one."""
    known: dict[int, Sequence[tuple[str, ...]] | None] = {}
    for one in standing.finished:
        known[one.trial.number] = _samples(standing.sweep.trial_folder(one.trial.number) / files.SAMPLES)
    first = next(iter(known.values()), None)
    return [number for number, samples in known.items() if samples != first]


def _samples(path: Path) -> Sequence[tuple[str, ...]] | None:
    """Return what a trial was trained on; None where its list is gone or damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        named = ("sample", "fold", "image_sha256", "mask_sha256", "ignore_sha256")
        return [(*(row[name] for name in named), row.get("points_sha256") or "") for row in rows]
    except (OSError, ValueError, KeyError, csv.Error):
        return None
