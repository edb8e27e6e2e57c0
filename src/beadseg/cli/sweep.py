"""`beadseg-batch sweep`: many trainings with different settings, ranked; the same command continues."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter, stop_in_time
from beadseg.cli.jobs import element_of_array
from beadseg.cli.options import Settings, TrainingSamples, grouped
from beadseg.cli.train import CheckpointMinutes, Device
from beadseg.errors import ConfigError, ExitCode
from beadseg.files import BEST_CONFIG, TRIALS, printable

if TYPE_CHECKING:
    from beadseg.config import TrainConfig
    from beadseg.config.sweep import SweepConfig
    from beadseg.events import Event, OnEvent, StopFlag
    from beadseg.sweep.plan import Sweep, Work
    from beadseg.sweep.ranking import Standing

Space = Annotated[Path, typer.Option("--space", metavar="FILE", help="What is tried, a YAML file.", show_default=False)]
Trials = Annotated[
    str | None,
    typer.Option(
        "--trials", metavar="LIST", help="Only these, e.g. 3,8-12; nothing is ranked. In a job array: one of them each."
    ),
]
Collect = Annotated[bool, typer.Option("--collect", help="Train nothing; rank and draw what has ended.")]
PlanRound = Annotated[
    int | None,
    typer.Option("--plan-round", min=2, metavar="N", help="With --collect: also plan this round, of the method tpe."),
]
Retry = Annotated[bool, typer.Option("--retry", help="Run failed trials again.")]


@grouped
def sweep(
    dataset: options.DatasetFolder,
    out: options.Out,
    space: Space,
    trials: Trials = None,
    collect: Collect = False,
    plan_round: PlanRound = None,
    retry: Retry = False,
    *,
    settings: Settings,
    samples: TrainingSamples,
    device: Device = "auto",
    threads: options.Threads = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    walltime: options.WalltimeOption = None,
    margin: options.Margin = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train with many settings and rank them: a grid, random values, a Sobol sequence, or rounds of TPE.

    Every trial is a run in a folder of its own. A failed trial does not stop the others. The same command goes on with
    what has not ended.
    """
    from beadseg.cli.config_options import granted_cores
    from beadseg.cli.jobs import has_ended
    from beadseg.sweep.plan import Sweep, Work

    with reporter(json, quiet) as on_event:
        stop = stop_in_time(walltime, margin)
        if collect:
            failed = _collect(Sweep(out), plan_round, on_event, stop)
        else:
            data = samples.open(dataset, on_event)
            work = Work(data, device, threads or granted_cores(), checkpoint_minutes, has_ended)
            if trials is None:
                tried = read_space(space)
                planned = begin_sweep(out, tried, settings.read(on_event), space, retry, on_event)
                failed = _all(planned, work, on_event, stop)
            else:
                failed = _some(Sweep(out), own_part(numbers(trials)), work, on_event, stop)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


def begin_sweep(
    out: Path, space: SweepConfig, config: TrainConfig, where: Path, retry: bool, on_event: OnEvent
) -> Sweep:
    """Plan a sweep, or open the one that was begun; with `retry` its failed trials are to be run again."""
    from beadseg.cli.jobs import has_ended
    from beadseg.events import log
    from beadseg.sweep.plan import begin
    from beadseg.sweep.run import forget_failures

    found = begin(out, space, config, where, on_event, has_ended)
    if retry and (again := forget_failures(found)):
        on_event(log(f"Failed trials to be run again: {', '.join(map(str, again))}."))
    return found


def read_space(path: Path) -> SweepConfig:
    """Return what is tried; raise an error where it cannot be read, or what it needs is not installed."""
    from beadseg.config.sweep import SweepConfig, TpeConfig

    space = SweepConfig.from_file(path)
    if isinstance(space.method, TpeConfig):
        from beadseg.sweep.space import require_optuna

        require_optuna()
    return space


def numbers(text: str) -> list[int]:
    """Return the numbers in a list such as ``3,8-12``."""
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
            raise ConfigError(f"{text!r} is not a list of trials.", "--trials", "Write it as 3,8-12.")
        found += range(int(first), int(last) + 1)
    return list(dict.fromkeys(found))


def own_part(chosen: list[int]) -> list[int]:
    """Return the trial of this element of a job array, or all of them where there is no array."""
    index = element_of_array()
    if index is None:
        return chosen
    if index >= len(chosen):
        raise ConfigError(f"There is no trial for element {index} of the array.", "--trials", "Send the sweep again.")
    return [chosen[index]]


def _some(planned: Sweep, chosen: list[int], work: Work, on_event: OnEvent, stop: StopFlag) -> bool:
    """Run some trials and rank nothing; return whether one failed."""
    from beadseg.events import Event, log
    from beadseg.sweep.run import run_one
    from beadseg.sweep.space import values_text

    failed = []
    for number in chosen:
        stop.check()
        on_event(log(f"Trial {number}: {values_text(planned.trial(number).values)}"))
        result = run_one(planned, number, work, on_event, stop)
        failed += [number] if result is not None and result.score is None else []
    text = f"Failed: trials {', '.join(map(str, failed))}." if failed else f"Run folders: {planned.folder / TRIALS}"
    on_event(Event("result", text, data={"trials": chosen, "failed": failed}))
    return bool(failed)


def _all(planned: Sweep, work: Work, on_event: OnEvent, stop: StopFlag) -> bool:
    """Run all trials and rank them; return whether one failed."""
    from beadseg.cli.jobs import has_ended
    from beadseg.runtime.locking import locked
    from beadseg.sweep.run import run_sweep

    with locked(planned.folder, on_event, stop, has_ended):
        run_sweep(planned, work, on_event, stop)
    return _collect(planned, None, on_event, stop)


def _collect(planned: Sweep, next_round: int | None, on_event: OnEvent, stop: StopFlag) -> bool:
    """Rank and draw what has ended, and plan the next round where that is asked for; return whether a trial failed."""
    from beadseg.cli.jobs import has_ended
    from beadseg.report.pages import report_or_warn
    from beadseg.report.sweep_page import write_sweep_page
    from beadseg.runtime.locking import locked
    from beadseg.sweep.ranking import collect
    from beadseg.sweep.run import plan_round

    standing = collect(planned, on_event)
    page = report_or_warn(partial(write_sweep_page, planned.folder), planned.folder, on_event)
    on_event(_result_event(standing, page))
    if next_round is not None:
        with locked(planned.folder, on_event, stop, has_ended):
            plan_round(planned, next_round, on_event)
    return bool(standing.failed)


def _result_event(standing: Standing, page: str) -> Event:
    """Return how a sweep stands, and what to do with its best trial."""
    from beadseg.events import Event

    folder = standing.sweep.folder
    lines = [f"{standing.text()}. {page}".strip()]
    data: dict[str, Any] = {"finished": len(standing.finished), "failed": len(standing.failed),
                            "complete": standing.complete}  # fmt: skip
    if standing.finished:
        best = standing.finished[0]
        run = standing.sweep.trial_folder(best.trial.number)
        config = shlex.quote(printable(folder / BEST_CONFIG))
        lines += [
            f"Best: {standing.best_text}.",
            f"Use it: beadseg-batch predict {shlex.quote(printable(run))} IMAGES --out DIR",
            f"Train it again: beadseg-batch train DATASET --config {config} --out RUN",
        ]
        data["best"] = {"trial": best.trial.number, "score": best.score, "values": best.trial.values, "run": str(run)}
    return Event("result", "\n".join(lines), data=data)
