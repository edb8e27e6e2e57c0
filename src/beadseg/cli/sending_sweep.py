"""What `submit sweep` does: plan, then send the arrays and the jobs that rank."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg.cli.sending import parsed, present_umask
from beadseg.cli.sweep import begin_sweep, read_space
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from beadseg.cluster.script import Array, JobScript
    from beadseg.config.sweep import SweepConfig
    from beadseg.events import OnEvent
    from beadseg.sweep.plan import Round


def jobs_of_sweep(
    words: list[str], out: Path, running: int | None, times: int, *, plan: bool, on_event: OnEvent
) -> list[JobScript]:
    """Return the jobs of a sweep in order; where every trial has ended, the one that ranks.

    Parameters
    ----------
    words : list of str
        What follows ``beadseg-batch sweep``, with ``--out``.
    out : pathlib.Path
        The folder of the sweep.
    running, times
        As of `beadseg.cluster.sweep.sweep_jobs`.
    plan : bool
        Whether the sweep is planned in its folder, if it is not yet; otherwise nothing is written.
    on_event : callable
        Told what is done.
    """
    from beadseg.cluster.script import JobScript
    from beadseg.cluster.sweep import rounds_to_come, sweep_jobs

    values = _checked(words)
    space = read_space(values["space"])
    rounds = rounds_to_come(space, *_planned(values, space, out, plan=plan, on_event=on_event))
    dataset = 1 + words.index(str(values["dataset"])) if str(values["dataset"]) in words else None
    mask, directory = present_umask(), Path.cwd()

    def make(kind: str, more: tuple[str, ...], array: Array | None) -> JobScript:
        staged = None if array is None else dataset
        what = ("sweep", *words, *more)
        return JobScript(kind, what, out.absolute(), directory, array=array, dataset=staged, umask=mask)

    return sweep_jobs(make, rounds, space.rounds, running, times)


def _planned(
    values: dict[str, Any], space: SweepConfig, out: Path, *, plan: bool, on_event: OnEvent
) -> tuple[list[Round], list[int]]:
    """Return the rounds that are planned, and the numbers of the trials that have ended."""
    from beadseg import files
    from beadseg.cli.inputs import train_config
    from beadseg.cluster.submit import refuse_second
    from beadseg.sweep.plan import planned

    config = train_config(
        values["preset"],
        values["model"],
        values["config"],
        values["set_"],
        values["seed"],
        values["epochs"],
        None,
        on_event,
    )
    if not plan and not (out / files.SWEEP).exists():
        return [planned(space, config, values["space"])], []
    if plan:
        refuse_second(out)
    sweep = begin_sweep(out, space, config, values["space"], plan and values["retry"], on_event)
    pending = set(sweep.pending())
    return sweep.rounds, [trial.number for trial in sweep.trials if trial.number not in pending]


def _checked(words: list[str]) -> dict[str, Any]:
    values = parsed("sweep", words)
    if not values["dataset"].exists():
        raise InputError("No such file or folder.", values["dataset"], "Check the path; nothing was sent.")
    for name in ("trials", "collect", "plan_round"):
        if values[name]:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError("The jobs set it themselves.", option, "Leave it out; nothing was sent.")
    return values
