"""`beadseg-batch report`: make the page of a run, evaluation, prediction, crossval or density folder again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli.console import reporter
from beadseg.cli.options import Json, Quiet, Threads
from beadseg.cli.stop import STOP

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder that train, sweep, evaluate, predict, crossval or density wrote.",
        show_default=False,
    ),
]


def report(folder: Folder, threads: Threads = None, json: Json = False, quiet: Quiet = False) -> None:
    """Make report.html of a run, evaluation, prediction, crossval or density folder: one page that holds everything.

    The commands that write these folders make it by themselves; this makes it again, also in a folder that was moved.
    """
    from beadseg.cli.inputs import use_threads
    from beadseg.events import Event
    from beadseg.report.pages import kind_of, write_page

    with reporter(json, quiet) as on_event:
        kind = kind_of(folder)
        use_threads(threads)
        path = write_page(folder, on_event, STOP)
        size = path.stat().st_size / 1e6
        on_event(Event("result", f"Report of the {kind}: {path} ({size:.1f} MB)", data={"report": str(path)}))
