"""`beadseg-batch crossval`: train and score by folds, or with one field of view left out at a time."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.cli.options import Settings, TrainingSamples, grouped
from beadseg.cli.torchrun import is_one_of_several
from beadseg.cli.train import Device
from beadseg.text import plural

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
