"""`beadseg-batch report` and `compare`: the page of a folder made again, and runs or presets side by side."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli.console import STOP, HeldLater, reporter
from beadseg.cli.options import Json, Quiet, Threads, writable_folder
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


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Run folders, folders that hold several runs, or presets.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for comparison.md, comparison.csv and comparison.png.",
            callback=writable_folder,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show runs or presets side by side: hyperparameters, marked where they differ, and what was measured.

    The form is that of the laboratory's hyperparameter table. With --out the table is written, too, and a figure of all
    validation curves over the laboratory's expected band. What cannot be read is named and gives exit code 3.
    """
    from beadseg.events import Event
    from beadseg.report.compare import compare as read

    width = _terminal_width(json)
    with reporter(json, quiet) as on_event:
        comparison = read(runs)
        for reason in comparison.failures:
            on_event(Event("failure", f"Left out: {reason}", "warning"))
        text = comparison.text(width)
        written = "" if out is None else f"\nWritten to {out}"
        held = HeldLater()
        if out is not None:
            from beadseg.report.compare import COMPARISON_PNG, draw_comparison

            with held():
                comparison.write(out)
            if any(column.curve for column in comparison.columns):
                draw_comparison(comparison, out / COMPARISON_PNG)
            else:
                (out / COMPARISON_PNG).unlink(missing_ok=True)
        on_event(Event("result", text + written, data=comparison.model_dump()))
        held.tell()
    if comparison.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _terminal_width(json: bool) -> int | None:
    """Return the letters in a line where box-drawing characters can be shown; None in logs and on old consoles.

    To be asked before there is a progress bar, which stands in for the standard output.
    """
    drawable = sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower().replace("-", "")
    return shutil.get_terminal_size().columns if drawable and not json else None
