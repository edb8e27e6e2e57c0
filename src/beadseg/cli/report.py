"""`beadseg-batch report`: make the page of a run, evaluation, prediction, crossval or density folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli.console import STOP, reporter
from beadseg.cli.options import Json, Quiet, Threads
from beadseg.errors import ExitCode

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder that train, sweep, evaluate, predict, crossval or density wrote.",
        show_default=False,
    ),
]

MovedDataset = Annotated[
    Path | None,
    typer.Option("--dataset", metavar="DIR", help="Where the images of a run or an evaluation are now: a dataset."),
]


def report(
    folder: Folder,
    dataset: MovedDataset = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make report.html of a run, evaluation, prediction, crossval or density folder: one page that holds everything.

    The commands that write these folders make the page too; this makes it again, also in a folder that was moved. A
    page that has more pictures than can be made now is kept. Missing pictures are named and give exit code 3.
    """
    from beadseg.cli.config_options import use_threads
    from beadseg.events import Event
    from beadseg.report.pages import kind_of, write_page

    with reporter(json, quiet) as on_event:
        kind = kind_of(folder)
        use_threads(threads)
        missing: list[Event] = []

        def listen(event: Event) -> None:
            missing.extend([event] if event.kind == "missing-pictures" else [])
            on_event(event)

        path = write_page(folder, listen, STOP, dataset)
        size = path.stat().st_size / 1e6
        on_event(Event("result", f"Report of the {kind}: {path} ({size:.1f} MB)", data={"report": str(path)}))
    if missing:
        raise typer.Exit(ExitCode.SOME_FAILED)
