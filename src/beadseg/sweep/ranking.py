"""What came out of a sweep: the ranked trials, the best configuration, what failed, and which parameters matter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from beadseg import files
from beadseg.config.sweep import RangeConfig
from beadseg.data.documents import read_table
from beadseg.errors import RunError
from beadseg.events import OnEvent, ignore
from beadseg.files import write_atomically
from beadseg.sweep.space import key_of, study, values_text
from beadseg.text import plural
from beadseg.training.records import gain, write_rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.config.sweep import ChoicesConfig
    from beadseg.sweep.plan import Result, Sweep, Trial
    from beadseg.sweep.space import Parameters, Told

TRIAL_COLUMNS = ("rank", "trial", "round", "state", "score", "best_epoch", "epochs")
"""First columns of ``trials.csv``; the parameters follow by their names, and ``error``."""
FAILURE_COLUMNS = ("trial", "error")

SHARE_COLUMNS = ("parameter", "importance", "method")
"""Of ``importance.csv``."""
ENOUGH = 10
"""With fewer finished trials a forest of trees learns nothing."""
FEWEST = 4
"""With fewer finished trials nothing is said at all."""
FANOVA, ALONE = "fANOVA", "ranks"
"""Optuna's functional analysis of variance; or what each parameter alone explains of the ranks."""


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
        return (
            f"trial {best.trial.number}, {self.sweep.metric} {best.score:.4f}{others}: {values_text(best.trial.values)}"
        )

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
    write_rows(sweep.folder / files.TRIALS_TABLE, rows, (*TRIAL_COLUMNS, *names, "error"), on_event)
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
        write_rows(sweep.folder / files.IMPORTANCE, rows, SHARE_COLUMNS, on_event)
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
        named = ("sample", "fold", "image_sha256", "mask_sha256", "ignore_sha256")
        return [tuple(row.get(name) or "" for name in (*named, "points_sha256")) for row in read_table(path, *named)]
    except RunError:
        return None


def importance(parameters: Parameters, told: Sequence[Told]) -> list[dict[str, str | float]]:
    """Return a row of `SHARE_COLUMNS` per parameter, the most important first; none with fewer than `FEWEST` trials.

    With at least `ENOUGH` finished trials and Optuna installed: the shares of functional ANOVA over a random forest
    (Hutter et al. 2014), which sum to 1. Otherwise: the squared rank correlation of a range, or of choices the share of
    the ranks' variance between them (eta squared), each parameter for itself; with few trials chance alone makes some.
    """
    gains = [gain for _, gain in told]
    if len(told) < FEWEST or len(set(gains)) < 2:
        return []
    varying = {name: item for name, item in parameters.items() if len({key_of({name: v[name]}) for v, _ in told}) > 1}
    if len(told) >= ENOUGH and find_spec("optuna") is not None:
        method, shares = FANOVA, _fanova(varying, told)
    else:
        method, shares = ALONE, {name: _alone(name, item, told) for name, item in varying.items()}
    shares |= {name: 0.0 for name in parameters if name not in varying}
    ordered = sorted(shares, key=lambda name: (-shares[name], list(parameters).index(name)))
    return [{"parameter": name, "importance": round(shares[name], 4), "method": method} for name in ordered]


def _fanova(parameters: Parameters, told: Sequence[Told]) -> dict[str, float]:
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    kept = [({name: values[name] for name in parameters}, gain) for values, gain in told]
    found = get_param_importances(study(parameters, kept, seed=0), evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in found.items()}


def _alone(name: str, item: ChoicesConfig | RangeConfig, told: Sequence[Told]) -> float:
    """Return the share, 0 to 1, of the variance of the scores' ranks that a parameter explains alone."""
    ranks = rankdata([gain for _, gain in told])
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if isinstance(item, RangeConfig):
        return float(np.corrcoef(rankdata([values[name] for values, _ in told]), ranks)[0, 1] ** 2)
    keys = [key_of({name: values[name]}) for values, _ in told]
    groups = [ranks[[key == chosen for key in keys]] for chosen in set(keys)]
    return sum(len(group) * float((group.mean() - ranks.mean()) ** 2) for group in groups) / total
