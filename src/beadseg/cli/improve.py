"""`beadseg-batch improve`: train a model further on accepted samples, and say whether it is better."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.cli.train import Device

Present = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="The present model; the general model when not given.")
]
Seconds = Annotated[float, typer.Option("--seconds", min=1.0, help="Training takes about this long.")]


def improve(
    dataset: options.DatasetFolder,
    out: options.Out,
    run: Present = None,
    seconds: Seconds = 30.0,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model further on a few accepted samples, within a minute.

    Uses the accepted and corrected samples of a reviewed dataset; one in four is left out, and both models are scored
    on these. The result is a run folder. It replaces nothing: you decide whether to count with it.
    """
    from dataclasses import asdict

    from beadseg.cli.config_options import use_threads
    from beadseg.config import GENERAL
    from beadseg.events import Event
    from beadseg.training.improve import improve as improve_model

    with reporter(json, quiet) as on_event:
        use_threads(threads)
        model = GENERAL if run is None else run
        found = improve_model(dataset, out, model, seconds=seconds, device=device, on_event=on_event, stop=STOP)
        level = "info" if found.better or found.better is None else "warning"
        data = {**asdict(found), "better": found.better}
        on_event(Event("result", f"{found.text()} Run folder: {out}.", level, data))
