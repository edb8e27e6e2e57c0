"""`beadseg-batch suggest`: which images to annotate next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.cli.predict import Images
from beadseg.cli.train import Device
from beadseg.errors import ExitCode
from beadseg.text import plural

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
