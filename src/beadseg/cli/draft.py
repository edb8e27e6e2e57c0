"""`beadseg-batch draft`: first annotations by a model, to be corrected; `improve`: train the model further on them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.cli.predict import Diameter, Images, changes_of
from beadseg.cli.review import By
from beadseg.cli.train import Device
from beadseg.errors import ConfigError, ExitCode
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.annotation.draft import ModelAnnotator

OutDataset = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="DATASET", help="Dataset folder: new, or one to add to.", show_default=False),
]
Run = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="Draft by this trained run, not by the general model.")
]
Polarity = Annotated[
    str | None,
    typer.Option(
        "--polarity",
        metavar="dark|bright",
        help="Only what is darker, or brighter, than the background; else both.",
    ),
]

WorstFirst = Annotated[
    bool,
    typer.Option(
        "--worst-first", help="Draft and review first what the model is least sure of; takes three times as long."
    ),
]

Present = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="The present model; the general model when not given.")
]
Seconds = Annotated[float, typer.Option("--seconds", min=1.0, help="Training takes about this long.")]


def draft(
    images: Images,
    out: OutDataset,
    run: Run = None,
    diameter: Diameter = None,
    polarity: Polarity = None,
    worst_first: WorstFirst = False,
    by: By = None,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make first annotations for images that have none.

    By the general model, which measures the size of the beads itself, or by a trained run. Writes a dataset: images
    copied, instance labels, every sample a pending draft. Training never uses a draft before a person accepted
    or corrected it (see `review`). What is annotated already is left alone; the same command continues.
    """
    from beadseg.annotation.draft import draft_dataset
    from beadseg.annotation.review import Review, write_table
    from beadseg.annotation.suggest import least_certain_first
    from beadseg.cli.config_options import use_threads
    from beadseg.events import Event
    from beadseg.predict.batch import find_images

    with reporter(json, quiet) as on_event:
        paths = find_images(images, on_event)
        use_threads(threads)
        annotator = _annotator(run, diameter, polarity, device)
        if worst_first:
            paths = least_certain_first(annotator.segmenter, paths, out, on_event, STOP)
        result = draft_dataset(paths, out, annotator, by=by, on_event=on_event, stop=STOP)
        if Review.exists(out):
            write_table(Review.open(out))
        beads, failed = sum(result.beads.values()), len(result.failures)
        lines = [f"{plural(len(result.beads), 'draft')} with {plural(beads, 'bead')} in {out}, {failed} failed."]
        lines += [f"{len(result.skipped)} were annotated already and are left alone."] if result.skipped else []
        lines += [f"failed: {reason}" for reason in result.failures.values()]
        lines += [f"Nothing trains on them before you accepted them: beadseg-batch review {out}"]
        data = {"out": str(out), "drafts": result.beads, "skipped": result.skipped, "failed": result.failures}
        on_event(Event("result", "\n".join(lines), "warning" if failed else "info", data))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)


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


def _annotator(run: Path | None, diameter: str | None, polarity: Any, device: str) -> ModelAnnotator:
    """Return the model that drafts; raises `ConfigError` for options that it cannot take."""
    from beadseg.annotation.draft import ModelAnnotator
    from beadseg.model.checkpoint import general_file, model_name
    from beadseg.predict.segmenter import Segmenter

    if polarity not in (None, "dark", "bright"):
        raise ConfigError(f"{polarity!r} is not a polarity.", "--polarity", "Give dark or bright.")
    changes = changes_of(None, diameter)
    model = general_file() if run is None else run
    segmenter = Segmenter.load(model, device=device)
    if changes:
        segmenter.options = segmenter.options.with_overrides(changes)
    return ModelAnnotator(segmenter, model_name(model), polarity)
