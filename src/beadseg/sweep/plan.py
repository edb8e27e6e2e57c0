"""A sweep as a folder: what is tried, what all trials share, the trials of each round, and how each ended.

What is planned never changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.config.sweep import SweepConfig, TpeConfig
from beadseg.data.documents import read_document, refuse_foreign_folder
from beadseg.errors import InputError, RunError
from beadseg.events import OnEvent, ignore
from beadseg.files import ensure_folder, write_atomically
from beadseg.runtime.locking import locked
from beadseg.sweep.space import check, configured, draw

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beadseg.data.dataset import Dataset


class SweepPlan(Config):
    """What a sweep was asked for."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    space: SweepConfig
    """What is tried."""
    config: TrainConfig
    """The configuration that the trials change."""


class Trial(Config):
    """One training of a sweep."""

    number: int
    """From 1, over all rounds."""
    values: dict[str, Any]
    """The value of every parameter."""


class Round(Config):
    """The trials that are planned at a time."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    round: int
    """From 1."""
    trials: tuple[Trial, ...]
    """What is to be trained."""


class Result(Config):
    """How a trial ended."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    trial: int
    """Its number."""
    score: float | None = None
    """The validation score at the best epoch; None where it failed."""
    best_epoch: int | None = None
    """The epoch that the score is of."""
    epochs: int | None = None
    """Epochs trained."""
    error: str = ""
    """Why it failed."""
    details: str = ""
    """Of an unexpected failure the traceback."""


@dataclass(frozen=True)
class Sweep:
    """A planned sweep.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    """

    folder: Path

    @cached_property
    def plan(self) -> SweepPlan:
        """What it was asked for; raises `RunError` when there is none, or it is damaged."""
        path = self.folder / files.SWEEP
        if not path.exists():
            raise RunError("Holds no sweep.", self.folder, "Give the --out folder of `beadseg-batch sweep`.")
        return SweepPlan.parse(read_document(path), path)

    @property
    def metric(self) -> str:
        """The validation score that ranks the trials."""
        return self.plan.space.metric or self.plan.config.stop.metric

    @property
    def rounds(self) -> list[Round]:
        """The rounds that are planned, in order."""
        numbers = range(1, self.plan.space.rounds + 1)
        return [self.round(number) for number in numbers if self.round_path(number).exists()]

    @property
    def trials(self) -> list[Trial]:
        """All planned trials in order."""
        return [trial for item in self.rounds for trial in item.trials]

    def round_path(self, number: int) -> Path:
        """Return where the plan of a round lies."""
        return self.folder / files.ROUNDS / f"{number}.json"

    def round(self, number: int) -> Round:
        """Return a planned round; raise `RunError` when there is none."""
        path = self.round_path(number)
        if not path.exists():
            raise RunError(f"Round {number} is not planned: the one before it was not collected.", self.folder,
                           "Run the same sweep again.")  # fmt: skip
        return Round.parse(read_document(path), path)

    def trial(self, number: int) -> Trial:
        """Return a planned trial; raise `InputError` when there is none."""
        space = self.plan.space
        if isinstance(space.method, TpeConfig) and 1 <= number <= space.method.trials * space.rounds:
            self.round(1 + (number - 1) // space.method.trials)
        for trial in self.trials:
            if trial.number == number:
                return trial
        raise InputError(f"There is no trial {number}.", self.folder, f"They are 1 to {len(self.trials)}.")

    def trial_folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.folder / files.TRIALS / f"{number:03d}"

    def configured(self, trial: Trial) -> TrainConfig:
        """Return the configuration of a trial; raise `ConfigError` for one that cannot be trained."""
        return configured(self.plan.config, self.plan.space, trial.values)

    def result(self, number: int) -> Result | None:
        """Return how a trial ended; None when it has not."""
        path = self.trial_folder(number) / files.RESULT
        return Result.parse(read_document(path), path) if path.exists() else None

    def keep(self, result: Result) -> None:
        """Write how a trial ended."""
        folder = ensure_folder(self.trial_folder(result.trial))
        write_atomically(folder / files.RESULT, result.model_dump_json(indent=2))

    def forget(self, number: int) -> None:
        """Remove the result of a trial, so that it is run again; what it trained is kept."""
        (self.trial_folder(number) / files.RESULT).unlink(missing_ok=True)

    def keep_round(self, item: Round) -> None:
        """Write the plan of a round."""
        ensure_folder(self.round_path(item.round).parent)
        write_atomically(self.round_path(item.round), item.model_dump_json(indent=2))

    def pending(self) -> list[int]:
        """Return the numbers of the planned trials that have not ended."""
        return [trial.number for trial in self.trials if not (self.trial_folder(trial.number) / files.RESULT).exists()]


def begin(
    folder: Path,
    space: SweepConfig,
    config: TrainConfig,
    where: Path | str,
    on_event: OnEvent = ignore,
    has_ended: Callable[[str], bool] = lambda job: False,
) -> Sweep:
    """Plan a sweep in a folder, or open the one that the same call began.

    Parameters
    ----------
    folder : pathlib.Path
        Where it goes.
    space, config : SweepConfig, TrainConfig
        What is tried, and the configuration that the trials change.
    where : path or str
        The file of `space`, for messages.
    on_event, has_ended
        As of `beadseg.runtime.locking.locked`.

    Raises
    ------
    ConfigError
        The space does not fit the configuration; nothing was written.
    RunError
        The folder holds something else, or another process works in it.
    """
    sweep, wanted = Sweep(folder), SweepPlan(space=space, config=config)
    if not (folder / files.SWEEP).exists():
        refuse_foreign_folder(folder, files.SWEEP, "a sweep")
        first = planned(space, config, where)
        with locked(ensure_folder(folder), on_event, has_ended=has_ended):
            if not (folder / files.SWEEP).exists():
                sweep.keep_round(first)
                # Last, so that a sweep that has this file has its first round.
                write_atomically(folder / files.SWEEP, wanted.model_dump_json(indent=2))
    _same(sweep.plan, wanted, folder)
    return sweep


def planned(space: SweepConfig, config: TrainConfig, where: Path | str) -> Round:
    """Return the first round of a sweep; raise `ConfigError` where the space does not fit the configuration."""
    check(space, config, where)
    values = draw(space, where)
    trials = tuple(Trial(number=number, values=item) for number, item in enumerate(values, start=1))
    for trial in trials:
        configured(config, space, trial.values)
    return Round(round=1, trials=trials)


def _same(begun: SweepPlan, wanted: SweepPlan, folder: Path) -> None:
    """Raise `RunError` where a sweep was begun with something else."""
    for part, what in (("space", "space"), ("config", "configuration")):
        one, other = (getattr(plan, part).model_dump(mode="json") for plan in (begun, wanted))
        names = [name for name in one if one[name] != other[name]]
        if names:
            raise RunError(f"Was begun with another {what} (differs in {', '.join(names)}).", folder,
                           "Repeat the first command to continue it, or give a new --out folder.")  # fmt: skip


def none_has_ended(job: str) -> bool:
    """Return False: nothing is known of any job."""
    return False


@dataclass(frozen=True)
class Work:
    """How the trials of a sweep are trained; it can be sent to another process.

    Attributes
    ----------
    dataset : Dataset
        Annotated samples.
    device : str
        ``auto``, ``cpu``, ``cuda`` …
    threads : int or None
        CPU threads; None leaves torch's own choice.
    checkpoint_minutes, has_ended
        As of `beadseg.train`.
    """

    dataset: Dataset
    device: str = "auto"
    threads: int | None = None
    checkpoint_minutes: float = 10.0
    has_ended: Callable[[str], bool] = none_has_ended
