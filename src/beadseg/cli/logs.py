"""`beadseg-batch logs`: what the jobs of a folder print."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli.jobs import JobsFolder
from beadseg.cli.stop import STOP
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.events import StopFlag

POLL = 1.0
"""A followed log is looked at this often, s."""
ASK = 15.0
"""The batch system is asked this often whether the jobs are over, s."""

Follow = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Go on until no job of the folder is queued or running."),
]
JobId = Annotated[
    str | None,
    typer.Option("--job", metavar="ID", help="Only this job; a number is enough, 12[3] or 12_3 for an element."),
]


def logs(folder: JobsFolder, follow: Follow = False, job: JobId = None) -> None:
    """Print the logs of the jobs that were sent for a folder, the first one first."""
    for text in lines(folder, follow, job, STOP):
        typer.echo(text, nl=False)
        if getattr(sys.stdout, "gone", False):  # nobody reads any more
            break


def lines(folder: Path, follow: bool, job: str | None, stop: StopFlag) -> Iterator[str]:
    """Yield what the logs hold, piece by piece; with `follow` until no job is left, or `stop` is set."""
    read: dict[Path, int] = {}
    alive, asked = follow and _alive(folder), time.monotonic()
    while True:
        for path in _logs(folder, job):
            yield from _rest(path, read)
        if not alive or stop:
            break
        time.sleep(POLL)
        if time.monotonic() - asked >= ASK:
            alive, asked = _alive(folder), time.monotonic()
    if not read:
        raise InputError("No job of this folder has written a log yet.", folder, "See: beadseg-batch status FOLDER")


def _alive(folder: Path) -> bool:
    from beadseg.cluster.status import status

    return status(folder).alive


def _logs(folder: Path, job: str | None) -> list[Path]:
    from beadseg.cluster import record

    sent = record.sent(folder)
    element = re.fullmatch(r"(\d+)(?:\[(\d+)\](?:\..+)?|_(\d+))", job or "")
    wanted = {f"{element[1]}[]", element[1]} if element else {job}
    chosen = [item for item in sent if job is None or wanted & {item.job, item.job.split(".")[0]}]
    if element:
        mark = f"-{element[1]}[{element[2]}]" if element[2] else f"-{element[1]}_{element[3]}.log"
        return [path for item in chosen for path in item.logs(folder) if mark in path.name]
    if not chosen:
        known = ", ".join(item.job for item in sent)
        raise InputError(f"There is no job {job!r} here.", folder, f"Known: {known}.")
    return [path for item in chosen for path in item.logs(folder)]


def _rest(path: Path, read: dict[Path, int]) -> Iterator[str]:
    """Yield what was written to a log since the last time."""
    with path.open("rb") as file:
        file.seek(read.get(path, 0))
        content = file.read()
    read[path] = read.get(path, 0) + len(content)
    if content:
        yield content.decode("utf-8", errors="replace")
