"""The jobs of a sweep: per round an array with a trial per element, and a job that ranks and plans the next round.

All are sent at once, each waiting for the one before it to end, however it ends. So a node needs no ``qsub``, inside a
container neither; what a round will train is read from its plan, which the job before it wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.cluster.script import Array, JobScript
from beadseg.config.sweep import TpeConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.config.sweep import SweepConfig
    from beadseg.sweep.plan import Round

Rounds = list[tuple[int, list[int]]]
"""Numbers of rounds, and of the trials of each that are still to be run."""


def rounds_to_come(space: SweepConfig, planned: Sequence[Round], ended: Sequence[int] = ()) -> Rounds:
    """Return the rounds of which a trial has not ended, planned or not; the last one that is planned in any case."""
    trials = {item.round: [trial.number for trial in item.trials] for item in planned}
    for number in range(len(trials) + 1, space.rounds + 1):
        size = space.method.trials if isinstance(space.method, TpeConfig) else 0
        trials[number] = list(range((number - 1) * size + 1, number * size + 1))
    left = {number: [one for one in numbers if one not in set(ended)] for number, numbers in trials.items()}
    return [(number, one) for number, one in left.items() if one or number == len(planned)]


def sweep_jobs(
    make: Callable[[str, tuple[str, ...], Array | None], JobScript],
    rounds: Rounds,
    last: int,
    running: int | None = None,
    times: int = 1,
) -> list[JobScript]:
    """Return the jobs of a sweep in the order in which they run.

    Parameters
    ----------
    make : callable
        Returns the job of this kind with these further words and array.
    rounds : list
        See `rounds_to_come`.
    last : int
        Number of the last round.
    running : int, optional
        Most trials at a time.
    times : int
        How often a round's array is sent, for trials that are longer than a walltime; elements whose trial has ended
        end at once.
    """
    jobs = []
    for number, trials in rounds:
        if trials:
            words = ("--trials", as_list(trials))
            jobs += [make(f"sweep-{number}", words, Array(len(trials), running))] * times
        after = ("--plan-round", str(number + 1)) if number < last else ()
        jobs.append(make(f"collect-{number}", ("--collect", *after), None))
    return jobs


def as_list(numbers: Sequence[int]) -> str:
    """Return numbers in ascending order as ``3,8-12``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
