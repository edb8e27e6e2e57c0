"""`beadseg-batch demo`: the whole way, from simulated images to counted predictions, in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter

OutFolder = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.", callback=options.writable_folder)
]


def demo(out: OutFolder = Path("demo"), json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Simulate images, train, predict, count and evaluate, in a few minutes; continues when repeated."""
    from beadseg.cli.config_options import use_threads
    from beadseg.cli.tutorial import run_demo

    with reporter(json, quiet) as on_event:
        use_threads(None)
        run_demo(out, on_event, STOP)
