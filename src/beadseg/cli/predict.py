"""`beadseg-batch predict`: segment and count the beads of images with a trained run."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter, stop_in_time
from beadseg.cli.train import Device
from beadseg.errors import ConfigError, ExitCode
from beadseg.events import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.events import OnEvent
    from beadseg.predict.batch import Elsewhere
    from beadseg.predict.tables import BatchResult

Images = Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files or folders.", show_default=False)]
ImagesOrNone = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="IMAGES...", help="Image files or folders.", show_default=False,
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
ListOption = Annotated[
    Path | None,
    typer.Option(
        "--list", metavar="FILE", hidden=True, help="In place of IMAGES: the list that `submit predict` wrote."
    ),
]
ChunkOption = Annotated[
    int | None,
    typer.Option(
        "--chunk", min=1, metavar="N", hidden=True, help="With --list: only the N images of this array element."
    ),
]
DaskOption = Annotated[
    str | None,
    typer.Option(
        "--dask", metavar="local[:N]|pbs[:N]|slurm[:N]|ADDRESS",
        help="Predict by the workers of a dask cluster: N on this machine, N jobs, or those of a scheduler.",
    ),
]  # fmt: skip
Profile = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="PROFILE", help="With --dask pbs or slurm: the cluster's profile; see hpc/."),
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
BackendOption = Annotated[
    str | None,
    typer.Option(
        "--backend", metavar="auto|torch|openvino",
        help="What computes the network. Default: auto, the fastest that finds the same beads on this machine.",
    ),
]  # fmt: skip
PrecisionOption = Annotated[
    str | None,
    typer.Option("--precision", metavar="auto|fp32|bf16", help="Arithmetic of the network. Default: auto."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="4GB",
        help="Predict images in blocks that take more. Default: what this machine has.",
    ),
]  # fmt: skip
Processes = Annotated[
    int,
    typer.Option("--processes", min=1, metavar="N", help="Processes that share the blocks of one image, and --memory."),
]
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
    backend: BackendOption = None,
    precision: PrecisionOption = None,
    memory: Memory = None,
    processes: Processes = 1,
    set_: SetOption = None,
    again: Again = False,
    list_: ListOption = None,
    chunk: ChunkOption = None,
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
    An image that killed the command twice, for example for its memory, is listed in failures.csv and not tried again.
    """
    from beadseg.cli.config_options import use_threads
    from beadseg.cli.jobs import has_ended, refuse_while_jobs
    from beadseg.data.documents import refuse_output
    from beadseg.model.checkpoint import model_name, which_general
    from beadseg.predict.batch import predict_folder
    from beadseg.predict.blocks import Means
    from beadseg.predict.segmenter import Segmenter

    if report := report and chunk is None:
        from beadseg.report.pages import report_or_warn
        from beadseg.report.prediction_page import write_prediction_page

    with reporter(json, quiet) as on_event:
        stop = stop_in_time(walltime, margin)
        use_threads(threads)
        changes = changes_of(set_, diameter, channel)
        changes += [f"{name}={value}" for name, value in (("backend", backend), ("precision", precision)) if value]
        means = Means(memory_of(memory), processes)
        paths, names, element = _images(images or [], list_, chunk, on_event)
        refuse_output(out, paths)
        if list_ is None:
            refuse_while_jobs(out)
        segmenter = Segmenter.load(run, device=device)
        if (which := which_general(run)) and not element:
            on_event(log(which, "warning"))
        if changes:
            segmenter.options = segmenter.options.with_overrides(changes, lambda note: on_event(log(note, "warning")))
        if dask is None:
            segmenter.backend(on_event)
        with _workers(dask, cluster, model_name(run), changes, device, threads, out, on_event) as elsewhere:
            result = predict_folder(segmenter, paths, out, overlays=overlays, maps=maps, source=model_name(run),
                                    model_sha256=segmenter.model_sha256, again=again, names=names, element=element,
                                    elsewhere=elsewhere, means=means, has_ended=has_ended, on_event=on_event,
                                    stop=stop)  # fmt: skip
        page = report_or_warn(partial(write_prediction_page, out, on_event, stop), out, on_event) if report else ""
        _report_batch(result, out, page, on_event)
    if result.unwritten:
        raise typer.Exit(ExitCode.MACHINE)
    if len(result.failures):
        raise typer.Exit(ExitCode.SOME_FAILED)
    if len(result.flagged):
        raise typer.Exit(ExitCode.FLAGGED)


def _images(
    given: list[Path], listed: Path | None, chunk: int | None, on_event: OnEvent
) -> tuple[list[Path], dict[Path, str], int | None]:
    """Return what is predicted, the names that are known, and the number of this element of a job array, or None."""
    from beadseg.cli.jobs import element_of_array
    from beadseg.predict.batch import find_images

    if listed is None:
        return find_images(given, on_event), {}, None
    from beadseg.cluster.submit import ImageList

    frozen = ImageList.read(listed)
    if chunk is None:
        return [*frozen.names], frozen.names, None
    element = element_of_array() or 0
    return frozen.chunk(chunk, element), frozen.names, element


@contextmanager
def _workers(
    text: str | None,
    profile: Path | None,
    run: str,
    changes: list[str],
    device: str,
    threads: int | None,
    out: Path,
    on_event: OnEvent,
) -> Iterator[Elsewhere | None]:
    """Yield what predicts by the workers of a dask cluster; None without dask."""
    if text is None:
        yield None
        return
    from beadseg.cli.config_options import granted_cores
    from beadseg.cluster.over_dask import dask_client, over_dask
    from beadseg.config.site import SiteConfig

    site = None if profile is None else SiteConfig.from_file(profile)
    with dask_client(text, granted_cores(), site, out.absolute()) as (client, own):
        yield over_dask(client, run, changes, device, threads or own, on_event)


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


def memory_of(text: str | None) -> int:
    """Return a number of bytes such as ``4GB``; without one all that this machine, or the container, has.

    Raises
    ------
    ConfigError
        `text` is not such a number.
    """
    if text is None:
        import psutil

        from beadseg.cli.config_options import container_memory

        return min(int(psutil.virtual_memory().total), container_memory() or sys.maxsize)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise ConfigError(f"{text!r} is not an amount of memory.", "--memory", "Write, for example, 4GB or 500MB.")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2].upper() or " "))


def _report_batch(result: BatchResult, out: Path, page: str, on_event: OnEvent) -> None:
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
