"""`beadseg-batch predict`: segment and count the beads of images with a trained run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.stop import stop_in_time
from beadseg.cli.train import Device
from beadseg.errors import ExitCode

Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.", show_default=False)]
Overlays = Annotated[bool, typer.Option("--overlays/--no-overlays", help="Draw the outlines over each image.")]
Maps = Annotated[
    bool, typer.Option("--maps", help="Keep what the network says of every pixel, to choose beads again without it.")
]
Page = Annotated[bool, typer.Option("--report/--no-report", help="Write the page report.html.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change a prediction option, e.g. objects.threshold=0.4. Repeatable."
    ),
]


def predict(
    run: options.RunFolder,
    images: Images,
    out: options.Out,
    overlays: Overlays = True,
    maps: Maps = False,
    report: Page = True,
    set_: SetOption = None,
    device: Device = "auto",
    threads: options.Threads = None,
    walltime: options.WalltimeOption = None,
    margin: options.Margin = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Segment and count the beads of images; writes masks, labels, overlays, bead tables, counts, and report.html."""
    from beadseg.cli.inputs import use_threads
    from beadseg.events import Event
    from beadseg.predict.batch import find_images, predict_folder
    from beadseg.predict.segmenter import Segmenter

    if report:
        from beadseg.report.pages import report_or_warn
        from beadseg.report.prediction_page import write_prediction_page

    with reporter(json, quiet) as on_event:
        stop = stop_in_time(walltime, margin)
        use_threads(threads)
        paths = find_images(images)
        segmenter = Segmenter.load(run, device=device)
        if set_:
            segmenter.options = segmenter.options.with_overrides(set_)
        source = str(run.resolve())
        result = predict_folder(segmenter, paths, out, overlays=overlays, maps=maps, source=source,
                                model_sha256=segmenter.model_sha256, on_event=on_event, stop=stop)  # fmt: skip
        page = report_or_warn(partial(write_prediction_page, out, on_event, stop), out, on_event) if report else ""
        beads, planes = int(result.counts["beads"].sum()), len(result.counts)
        failed, flagged = len(result.failures), len(result.flagged)
        lines = [
            f"{beads} beads in {planes} images. {flagged} implausible, {failed} failed. Results: {out}. {page}".strip()
        ]
        lines += [
            f"implausible: {f'{row.image} {row.plane}'.strip()}: {row.flags}" for row in result.flagged.itertuples()
        ]
        lines += [f"failed: {row.error}" for row in result.failures.itertuples()]
        data = {"beads": beads, "images": planes, "flagged": flagged, "failed": failed, "out": str(out)}
        on_event(Event("result", "\n".join(lines), "warning" if failed or flagged else "info", data))
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
    if flagged:
        raise typer.Exit(ExitCode.FLAGGED)
