"""`beadseg-batch predict`: segment and count the beads of images with a trained run."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg import files
from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.stop import stop_in_time
from beadseg.cli.train import Device
from beadseg.errors import ConfigError, ExitCode
from beadseg.events import log

if TYPE_CHECKING:
    from beadseg.events import OnEvent
    from beadseg.predict.tables import BatchResult

Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.", show_default=False)]
ImagesOrNone = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="IMAGES...", help="Image files or folders. With --share: may be left out to join a batch.",
        show_default=False,
    ),
]  # fmt: skip
Overlays = Annotated[bool, typer.Option("--overlays/--no-overlays", help="Draw the outlines over each image.")]
Maps = Annotated[
    bool,
    typer.Option("--maps", help="Save the probability maps, to change thresholds without predicting again."),
]
Page = Annotated[bool, typer.Option("--report/--no-report", help="Write the page report.html.")]
Again = Annotated[
    bool,
    typer.Option("--again", help="Predict again what was predicted before, too, not only what is new or changed."),
]
ShareOption = Annotated[
    bool, typer.Option("--share", help="Share the images with other processes that predict into the same --out folder.")
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask", metavar="local[:N]|pbs[:N]|ADDRESS",
        help="Predict by the workers of a dask cluster: N on this machine, N jobs, or those of a scheduler.",
    ),
]  # fmt: skip
Profile = Annotated[
    Path | None, typer.Option("--cluster", metavar="PROFILE", help="With --dask pbs: the cluster's profile; see hpc/.")
]
Channel = Annotated[
    int | None,
    typer.Option("--channel", min=0, metavar="N", help="Predict only this channel of every image, counted from 0."),
]
Diameter = Annotated[
    str | None,
    typer.Option(
        "--diameter", metavar="7|7px|3um",
        help="Bead diameter, in px or in µm. Default: the general model measures it; a run takes its training images'.",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change a prediction option, e.g. objects.threshold=0.4. Repeatable."
    ),
]


def predict(
    run: options.Model,
    images: ImagesOrNone = None,
    *,
    out: options.Out,
    overlays: Overlays = True,
    maps: Maps = False,
    report: Page = True,
    channel: Channel = None,
    diameter: Diameter = None,
    set_: SetOption = None,
    again: Again = False,
    share: ShareOption = False,
    dask: DaskOption = None,
    cluster: Profile = None,
    device: Device = "auto",
    threads: options.Threads = None,
    walltime: options.WalltimeOption = None,
    margin: options.Margin = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Segment and count the beads of images; writes masks, labels, overlays, bead tables, counts, and report.html.

    The same command goes on: images that were predicted before, with the same model and options, are skipped.
    With the model called general, which comes with beadseg, nothing has to be annotated or trained before.
    With --share any number of such commands, on any machines that see the same folders, predict one batch together.
    """
    from beadseg.cli.inputs import use_threads
    from beadseg.cli.jobs import has_ended
    from beadseg.cli.sharing import shared_batch, work_over_dask
    from beadseg.cluster.share import close, predict_shared
    from beadseg.data.predictions import refuse_output
    from beadseg.predict.batch import find_images, predict_folder
    from beadseg.predict.model_file import model_name, which_general
    from beadseg.predict.segmenter import Segmenter

    if report:
        from beadseg.report.pages import report_or_warn
        from beadseg.report.prediction_page import write_prediction_page

    with reporter(json, quiet) as on_event:
        stop = stop_in_time(walltime, margin)
        use_threads(threads)
        share = share or dask is not None
        wanted = changes_of(set_, diameter, channel)
        if share:
            batch = shared_batch(run, images or [], out, wanted, overlays, maps, stop, again=again)
        else:
            paths = find_images(images or [], on_event)
            refuse_output(out, paths)
        segmenter = Segmenter.load(run, device=device)
        if which := which_general(run):
            on_event(log(which, "warning"))
        changes = [*batch.changes] if share else wanted
        if changes:
            segmenter.options = segmenter.options.with_overrides(changes, lambda note: on_event(log(note, "warning")))
        if dask is not None:
            work_over_dask(dask, cluster, segmenter, batch, device, threads, on_event, stop)
        if share:
            result, first = predict_shared(segmenter, batch, has_ended=has_ended, on_event=on_event, stop=stop)
        else:
            close(out)
            result = predict_folder(segmenter, paths, out, overlays=overlays, maps=maps, source=model_name(run),
                                    model_sha256=segmenter.model_sha256, again=again, has_ended=has_ended,
                                    on_event=on_event, stop=stop)  # fmt: skip
            first = True
        page = ""
        if report and (first or not (out / files.REPORT_PAGE).exists()):
            page = report_or_warn(partial(write_prediction_page, out, on_event, stop), out, on_event)
        _tell(result, out, page, on_event)
    if result.unwritten:
        raise typer.Exit(ExitCode.MACHINE)
    if len(result.failures):
        raise typer.Exit(ExitCode.SOME_FAILED)
    if len(result.flagged):
        raise typer.Exit(ExitCode.FLAGGED)


def changes_of(set_: list[str] | None, diameter: str | None, channel: int | None = None) -> list[str]:
    """Return the changes of the prediction options that the command line asks for.

    Raises
    ------
    ConfigError
        `diameter` is not a length.
    """
    changes = [*(set_ or []), *([] if channel is None else [f"channel={channel}"])]
    if diameter is None:
        return changes
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(px|um|µm|μm)?\s*", diameter)
    if found is None or float(found[1]) <= 0:
        text = f"{diameter!r} is not a bead diameter."
        raise ConfigError(text, "--diameter", "Give a positive number in px or µm, for example 7, 7px or 3um.")
    unit = "px" if found[2] in (None, "px") else "um"
    return [*changes, f"size.diameter={float(found[1])}", f"size.unit={unit}"]


def _tell(result: BatchResult, out: Path, page: str, on_event: OnEvent) -> None:
    """Report what became of a batch."""
    from beadseg.events import Event
    from beadseg.text import plural

    beads, planes = int(result.counts["beads"].sum()), len(result.counts)
    failed, flagged = len(result.failures), len(result.flagged)
    skipped = f" {plural(result.skipped, 'image')} predicted before." if result.skipped else ""
    found = f"{plural(beads, 'bead')} in {plural(planes, 'image')}.{skipped} {flagged} flagged, {failed} failed."
    lines = [f"{found} Results: {out}. {page}".strip()]
    lines += [f"flagged: {f'{row.image} {row.plane}'.strip()}: {row.flags}" for row in result.flagged.itertuples()]
    lines += [f"failed: {row.error}" for row in result.failures.itertuples()]
    data = {"beads": beads, "images": planes, "flagged": flagged, "failed": failed, "skipped": result.skipped,
            "out": str(out)}  # fmt: skip
    on_event(Event("result", "\n".join(lines), "warning" if failed or flagged else "info", data))
