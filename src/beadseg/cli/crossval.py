"""`beadseg-batch crossval`: train and score by folds, or with one field of view left out at a time."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.launch import is_one_of_several
from beadseg.cli.stop import STOP
from beadseg.cli.train import ConfigFile, Device, Epochs, Preset

LeaveOut = Annotated[
    str | None, typer.Option("--leave-out", metavar="field", help="Leave one field of view out at a time.")
]
Folds = Annotated[int | None, typer.Option("--folds", min=2, help="Number of folds, grouped by field of view.")]
Network = Annotated[str | None, typer.Option("--model", help="unet (default), attention-unet or attention-resunet.")]


def crossval(
    dataset: options.DatasetFolder,
    out: options.Out,
    leave_out: LeaveOut = None,
    folds: Folds = None,
    preset: Preset = "dense",
    model: Network = None,
    config: ConfigFile = None,
    include: options.Include = None,
    exclude: options.Exclude = None,
    samples: options.Reviewed = "not-rejected",
    images: options.ImagesFolder = "images",
    masks: options.MasksFolder = "masks",
    labels: options.LabelsFolder = "labels",
    ignore: options.IgnoreFolder = "ignore",
    fields: options.Fields = None,
    set_: options.Set = None,
    seed: options.Seed = None,
    epochs: Epochs = None,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train and score by folds; what is left out is used for nothing but the score. The same command continues."""
    from beadseg.cli.inputs import open_dataset, train_config, use_threads
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
        data = open_dataset(
            dataset, on_event, images=images, masks=masks, labels=labels, ignore=ignore,
            include=include, exclude=exclude, fields=fields, samples=samples,
        )  # fmt: skip
        settings = train_config(preset, model, config, set_, seed, epochs, None)
        rows = run_crossval(data, settings, out, k=folds, device=device, on_event=on_event, stop=STOP)
        page = report_or_warn(partial(write_crossval_page, out), out, on_event)
        mean = rows[-1]["jaccard_images"]
        text = f"Mean Jaccard of {len(rows) - 1} folds: {mean:.4f}. Table: {out / 'crossval.csv'}. {page}".strip()
        on_event(Event("result", text, data={"folds": rows}))
