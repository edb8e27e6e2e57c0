"""`beadseg-batch draft`, `suggest` and `improve`: first annotations, which images come next, training further."""

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
    typer.Option(
        "--out",
        "-o",
        metavar="DATASET",
        help="Dataset folder: new, or one to add to.",
        show_default=False,
        callback=options.writable_folder,
    ),
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
        doubts = len(result.doubts)
        lines += [f"{plural(doubts, 'draft')} in doubt, see above: look at them first."] if doubts else []
        lines += [f"{len(result.skipped)} were annotated already and are left alone."] if result.skipped else []
        lines += [f"failed: {reason}" for reason in result.failures.values()]
        lines += [f"Nothing trains on them before you accepted them: beadseg-batch review {out}"]
        data = {"out": str(out), "drafts": result.beads, "skipped": result.skipped, "failed": result.failures,
                "doubts": result.doubts}  # fmt: skip
        on_event(Event("result", "\n".join(lines), "warning" if failed or doubts else "info", data))
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
        data = {**asdict(found), "better": found.better}
        worse = found.better is not None and not found.better
        text = f"{found.text()} Run folder: {out}."
        on_event(Event("result", text, "warning" if worse else "info", data))


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


Table = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="CSV",
        help="Also write all images, best first, with their measures.",
        callback=options.writable_file,
    ),
]
Number = Annotated[int, typer.Option("-n", min=1, help="How many to name.")]


def suggest(
    run: options.Model,
    images: Images,
    out: Table = None,
    n: Number = 10,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Rank unlabelled images by what annotating them would teach the model.

    Score: how unsure the model is, by the share of beads that it does not find again in mirror images of the image
    (disagreement), and a little by the entropy of its probabilities. Novelty: how far the image is from those named
    before it, so that not ten of one kind are named. The table also tells how far the count moves with the threshold.
    """
    from beadseg.annotation.suggest import COLUMNS
    from beadseg.annotation.suggest import suggest as rank_images
    from beadseg.cli.config_options import use_threads
    from beadseg.events import Event
    from beadseg.files import write_atomically
    from beadseg.predict.batch import find_images
    from beadseg.predict.segmenter import Segmenter

    with reporter(json, quiet) as on_event:
        use_threads(threads)
        paths = find_images(images, on_event)
        result = rank_images(Segmenter.load(run, device=device), paths, on_event, STOP)
        if out is not None:
            write_atomically(out, result.to_csv())
        rows = result.rows()[:n]
        lines = [f"Of {plural(len(result.images), 'image')}, annotate these {len(rows)} first:"]
        lines += [f"{row[0]:>3}  {row[1]}  (score {row[2]}, novelty {row[3]}, {row[7]} beads)" for row in rows]
        lines += [f"{len(result.failures)} could not be looked at."] if result.failures else []
        data = {"suggestions": [dict(zip(COLUMNS, row, strict=True)) for row in rows], "failed": result.failures}
        on_event(Event("result", "\n".join(lines), "warning" if result.failures else "info", data))
    if result.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)
