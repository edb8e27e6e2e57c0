"""`beadseg-batch train` and `crossval`: train one network, all three, or by folds; the same command continues."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter, stop_in_time
from beadseg.cli.options import ConfigFile, Epochs, Preset, Settings, TrainingSamples, grouped
from beadseg.cli.torchrun import is_first, is_one_of_several, launch
from beadseg.errors import MachineError, OutOfTime
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset
    from beadseg.events import Event, OnEvent, StopFlag

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="half-unet (default of the preset dense; starts from the general model), unet (default of the others), "
        "attention-unet, attention-resunet, or all (the last three).",
    ),
]

SplitFile = Annotated[
    Path | None,
    typer.Option("--split-file", metavar="FILE", help="A CSV with the columns sample and fold (train, val)."),
]

Refit = Annotated[bool, typer.Option("--refit", help="Afterwards train the final model on all samples.")]
Plan = Annotated[bool, typer.Option("--plan", help="Show what would be trained, and why; nothing is written.")]
CheckpointMinutes = Annotated[
    float,
    typer.Option("--checkpoint-minutes", min=0, help="Save a checkpoint at least every N minutes."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Processes = Annotated[
    int | None,
    typer.Option("--processes", min=1, help="Number of training processes on this machine, usually one per GPU."),
]


@grouped
def train(
    context: typer.Context,
    dataset: options.DatasetFolder,
    out: options.Out,
    preset: Preset = "dense",
    model: Model = None,
    config: ConfigFile = None,
    split_file: SplitFile = None,
    *,
    samples: TrainingSamples,
    set_: options.Set = None,
    seed: options.Seed = None,
    epochs: Epochs = None,
    refit: Refit = False,
    plan: Plan = False,
    device: Device = "auto",
    processes: Processes = None,
    threads: options.Threads = None,
    checkpoint_minutes: CheckpointMinutes = 10.0,
    walltime: options.WalltimeOption = None,
    margin: options.Margin = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train one network, or all three, on a dataset folder. The same command continues an interrupted run."""
    from beadseg.cli.config_options import train_config, use_threads
    from beadseg.config import NETWORK_KINDS
    from beadseg.events import ignore as unheard

    if processes is not None and not plan and not is_one_of_several():
        with reporter(json) if json else nullcontext():
            raise typer.Exit(launch(context.find_root().obj, processes))
    with reporter(json, quiet) if json or is_first() else nullcontext(unheard) as on_event, _together(device, plan):
        on_event = on_event if is_first() else unheard
        stop = stop_in_time(walltime, margin)
        data = samples.open(dataset, on_event)
        names = NETWORK_KINDS if model == "all" else (model,)
        configs = [train_config(preset, name, config, set_, seed, epochs, split_file, on_event) for name in names]
        if plan:
            _show_plans(data, configs, on_event)
            return
        use_threads(threads)
        with _time_enough(out, on_event) as heard:
            _train(data, configs, out, model == "all", refit, device, checkpoint_minutes, heard, stop)


def _together(device: str, plan: bool) -> AbstractContextManager[object]:
    """Return the context of a training: with the other processes, if there are any."""
    if plan or not is_one_of_several():
        return nullcontext()
    from beadseg.training.distributed import joined

    return joined(device)


def _show_plans(data: Dataset, configs: list[TrainConfig], on_event: OnEvent) -> None:
    """Report what would be trained; loads no torch."""
    from beadseg.events import Event
    from beadseg.training.prepare import prepare

    for settings in configs:
        ready = prepare(data, settings, on_event=on_event, stop=STOP)
        on_event(Event("result", "\n".join(ready.lines()), data={"plan": ready.as_dict()}))


@contextmanager
def _time_enough(folder: Path, on_event: OnEvent) -> Iterator[OnEvent]:
    """Refuse a time in which no step is done: to go on with the same time, as a chain of jobs does, would never end."""
    steps = 0

    def listen(event: Event) -> None:
        nonlocal steps
        steps += event.kind == "progress" and event.data["task"].startswith("epoch ")
        on_event(event)

    try:
        yield listen
    except OutOfTime as error:
        if steps or not is_first():
            raise
        remedy = "Ask for a longer walltime; everything is kept, and the same command goes on."
        raise MachineError("The job's time was up before a single step of training.", folder, remedy) from error


def _train(
    data: Dataset,
    configs: list[TrainConfig],
    out: Path,
    several: bool,
    refit: bool,
    device: str,
    checkpoint_minutes: float,
    on_event: OnEvent,
    stop: StopFlag,
) -> None:
    """Train one network after the other, several each in a folder of its own; the first process tells of it."""
    from beadseg.cli.jobs import has_ended
    from beadseg.events import Event
    from beadseg.report.pages import report_or_warn
    from beadseg.report.run_page import write_run_page
    from beadseg.training.records import score_name
    from beadseg.training.run import Run, training_summary
    from beadseg.training.run import train as train_run

    runs: list[tuple[str, Run]] = []
    for settings in configs:
        folder = out / settings.network.kind if several else out
        run = train_run(
            data, settings, folder, refit=refit, device=device, on_event=on_event, stop=stop,
            checkpoint_minutes=checkpoint_minutes, has_ended=has_ended,
        )  # fmt: skip
        if not is_first():
            continue
        page = report_or_warn(partial(write_run_page, run, on_event, STOP), run.folder, on_event)
        runs.append((run.config.network.kind, run))
        best = run.best
        metric = f"val_{settings.stop.metric}"
        scores = ""
        if metric in best:
            label = score_name(settings.stop.metric)
            scores = f"validation {label} {best[metric]:.4f} at best (epoch {best['epoch']}), "
            scores += f"{run.history[-1][metric]:.4f} at the end. "
        text = f"{run.config.network.kind}: {scores}Run folder: {run.folder}. {page}".strip()
        on_event(Event("result", text, data={"run": str(run.folder), "best": best, "final": run.history[-1]}))
    if several and is_first():
        path = training_summary(out, runs)
        on_event(Event("result", f"{path}:\n{path.read_text(encoding='utf-8')}", data={"summary": str(path)}))


LeaveOut = Annotated[
    str | None, typer.Option("--leave-out", metavar="field", help="Leave one field of view out at a time.")
]
Folds = Annotated[int | None, typer.Option("--folds", min=2, help="Number of folds, grouped by field of view.")]


@grouped
def crossval(
    dataset: options.DatasetFolder,
    out: options.Out,
    leave_out: LeaveOut = None,
    folds: Folds = None,
    *,
    settings: Settings,
    samples: TrainingSamples,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train and score by folds; what is left out is used for nothing but the score. The same command continues."""
    from beadseg.cli.config_options import use_threads
    from beadseg.errors import InputError
    from beadseg.events import Event
    from beadseg.report.crossval_page import write_crossval_page
    from beadseg.report.pages import report_or_warn
    from beadseg.training.crossval import crossval as run_crossval

    with reporter(json, quiet) as on_event:
        if (leave_out is None) == (folds is None) or leave_out not in (None, "field"):
            raise InputError("Say how to divide the data.", "crossval", "Give --leave-out field, or --folds N.")
        if is_one_of_several():
            raise InputError("Runs in one process only.", "crossval", "Start it without torchrun.")
        use_threads(threads)
        data = samples.open(dataset, on_event)
        rows = run_crossval(data, settings.read(on_event), out, k=folds, device=device, on_event=on_event, stop=STOP)
        page = report_or_warn(partial(write_crossval_page, out), out, on_event)
        mean = rows[-1]["jaccard_images"]
        text = (
            f"Mean Jaccard of {plural(len(rows) - 1, 'fold')}: {mean:.4f}. Table: {out / 'crossval.csv'}. {page}"
        ).strip()
        on_event(Event("result", text, data={"folds": rows}))
