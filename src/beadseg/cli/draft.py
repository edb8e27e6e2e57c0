"""`beadseg-batch draft`: first annotations for images that have none, for a person to correct."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.predict import Images
from beadseg.cli.review import By
from beadseg.cli.stop import STOP
from beadseg.cli.train import Device
from beadseg.errors import ExitCode
from beadseg.text import plural

OutDataset = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="DATASET", help="Dataset folder: new, or one to add to.", show_default=False),
]
Run = Annotated[
    Path | None, typer.Option("--run", metavar="RUN", help="Draft by this trained run, not by the classical detector.")
]
Diameter = Annotated[
    float | None, typer.Option("--diameter", min=2.0, max=60.0, help="Bead diameter, px; measured when not given.")
]
Polarity = Annotated[
    str | None, typer.Option("--polarity", metavar="dark|bright", help="Kind of beads; measured when not given.")
]


def draft(
    images: Images,
    out: OutDataset,
    run: Run = None,
    diameter: Diameter = None,
    polarity: Polarity = None,
    by: By = None,
    device: Device = "auto",
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Make first annotations for images that have none.

    By a classical detector that measures size and polarity of the beads itself, or by a trained run. Writes a dataset:
    images copied, instance labels, every sample a pending draft. Training never uses a draft before a person accepted
    or corrected it (see `review`). What is annotated already is left alone; the same command continues.
    """
    from beadseg.annotation.draft import draft_dataset
    from beadseg.annotation.review import Review, write_table
    from beadseg.cli.draft_annotator import choose_annotator
    from beadseg.events import Event
    from beadseg.predict.batch import find_images

    with reporter(json, quiet) as on_event:
        paths = find_images(images, on_event)
        annotator = choose_annotator(paths, run, diameter, polarity, device, threads, on_event, STOP)
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
