"""`beadseg-batch status`, `logs` and `cancel`: look after the jobs of a folder."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.errors import InputError
from beadseg.events import log
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.cluster.record import JobStatus
    from beadseg.events import Event, StopFlag

POLL = 1.0
"""A followed log is looked at this often, s."""
ASK = 15.0
"""The batch system is asked this often whether the jobs are over, s."""
ENDING = 60.0
"""`cancel` waits so long for jobs to save what they have, s."""
SHOWN = 3
"""`status` shows so many reasons why images or trials failed."""

Follow = Annotated[
    bool,
    typer.Option("--follow", "-f", help="Go on until no job of the folder is queued or running."),
]
JobId = Annotated[
    str | None,
    typer.Option("--job", metavar="ID", help="Only this job; a number is enough, 12[3] or 12_3 for an element."),
]

JobsFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="The --out folder that was given to `submit`.", show_default=False),
]
"""A folder that jobs were sent for."""

JOB_VARIABLES = ("PBS_JOBID", "SLURM_JOB_ID")
"""Environment variables that tell a job its id."""

PREDECESSOR = "BEADSEG_AFTER"
"""Environment variable of job scripts: the job before this one, which has ended."""

ELEMENT = "BEADSEG_ELEMENT"
"""Environment variable of job scripts: number of an element of a job array, from 0; empty in other jobs."""


def status(folder: JobsFolder, json: options.Json = False) -> None:
    """Show the status of a folder's cluster jobs, and how far its training, sweep or prediction is."""
    from beadseg.cluster.record import status as look

    with reporter(json) as on_event:
        report = look(folder)
        for item in report.jobs:
            on_event(_job_event(item))
        if report.trouble:
            on_event(log(f"{report.trouble} What is said of the jobs is from their logs.", "warning"))
        progress = _progress(folder)
        on_event(progress)
        if not report.alive and progress.data.get("complete") is False:
            on_event(
                log("No job is left, and the work is not complete: send the same command again to go on.", "warning")
            )


def _job_event(item: JobStatus) -> Event:
    from beadseg.events import Event

    sent, job = item.sent, item.job
    data = {
        "job": sent.job, "kind": sent.kind, "part": sent.part, "sent": sent.sent, "text": item.text,
        "state": job.state if job else None, "exit_status": job.exit_status if job else None,
        "run_count": job.run_count if job else None, "alive": item.alive, "stuck": item.stuck,
    }  # fmt: skip
    text = f"{sent.job}  {sent.kind}, part {sent.part}: {item.text}"
    return Event("result", text, "warning" if item.stuck else "info", data)


def _progress(folder: Path) -> Event:
    """Return how far the training, the sweep or the prediction in a folder is, from its files."""
    from beadseg import files
    from beadseg.cluster.submit import list_path
    from beadseg.config import TrainConfig
    from beadseg.events import Event
    from beadseg.training.records import read_history

    if list_path(folder).exists():
        return _progress_of_prediction(folder)
    if (folder / files.SWEEP).exists():
        return _progress_of_sweep(folder)
    if not (folder / files.CONFIG).exists():
        return Event("progress-of-run", "", data={"epoch": None})
    epochs = TrainConfig.from_file(folder / files.CONFIG).epochs
    done = len(read_history(folder / files.HISTORY)) if (folder / files.HISTORY).exists() else 0
    finished = (folder / files.CRITERIA).exists()
    text = f"Training: {done} of {plural(epochs, 'epoch')}" + (", finished." if finished else ".")
    return Event("result", text, data={"epoch": done, "epochs": epochs, "complete": finished})


def _progress_of_prediction(folder: Path) -> Event:
    """Return how far a prediction in many jobs is."""
    from beadseg.cluster.submit import ImageList, list_path
    from beadseg.data.documents import read_unmerged
    from beadseg.events import Event

    images = ImageList.read(list_path(folder))
    errors = images.outcomes(folder)
    failures = [error for error in errors.values() if error]
    count, done = len(images.names), len(errors)
    complete = done == count and not read_unmerged(folder)
    data = {"images": count, "done": done, "failed": len(failures), "complete": complete}
    return Event("result", _with_reasons(f"Images: {done} of {count} done, {len(failures)} of them failed.", failures),
                 data=data)  # fmt: skip


def _with_reasons(text: str, reasons: list[str]) -> str:
    """Return a sentence with a line for each of the first reasons why something failed."""
    more = [f"and {len(reasons) - SHOWN} more; see failures.csv"] if len(reasons) > SHOWN else []
    return "\n".join([text, *(f"  failed: {reason}" for reason in reasons[:SHOWN]), *(f"  {line}" for line in more)])


def _progress_of_sweep(folder: Path) -> Event:
    from beadseg.events import Event
    from beadseg.sweep.plan import Sweep
    from beadseg.sweep.ranking import Standing

    standing = Standing.of(Sweep(folder))
    best = standing.finished[:1]
    data = {
        "finished": len(standing.finished), "failed": len(standing.failed), "trials": standing.expected,
        "complete": standing.complete, "best": best[0].trial.number if best else None,
    }  # fmt: skip
    told = f" Best so far: trial {best[0].trial.number}, {standing.sweep.metric} {best[0].score:.4f}." if best else ""
    reasons = [f"trial {one.trial.number}: {one.error}" for one in standing.failed]
    return Event("result", _with_reasons(f"Sweep: {standing.text()}.{told}", reasons), data=data)


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
    from beadseg.cluster.record import status

    return status(folder).alive


def _logs(folder: Path, job: str | None) -> list[Path]:
    from beadseg.cluster import record

    sent = record.sent_jobs(folder)
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


def cancel(folder: JobsFolder, json: options.Json = False) -> None:
    """Cancel a folder's cluster jobs and wait until they have ended. A training keeps every step."""
    from beadseg.cluster import record, scheduler
    from beadseg.events import Event

    with reporter(json) as on_event:
        ids = [item.job for item in record.sent_jobs(folder)]
        alive = [name for name, job in scheduler.jobs(ids).items() if not job.over]
        # The last one first: a successor must not begin when the one before it ends.
        ended = scheduler.delete(sorted(alive, key=ids.index, reverse=True))
        text = f"Ended: {', '.join(ended)}." if ended else "No job of this folder was queued or running."
        until = time.monotonic() + ENDING
        while any(not job.over for job in scheduler.jobs(ended).values()):
            if STOP or time.monotonic() > until:
                text += " A job is still saving what it has; wait for it before you submit again."
                break
            time.sleep(POLL)
        on_event(Event("result", text, data={"ended": ended}))


def element_of_array() -> int | None:
    """Return the number of the element of a job array that this process is, from 0; None where it is none."""
    number = os.environ.get(ELEMENT, "")
    return int(number) if number.isdecimal() else None


def refuse_while_jobs(folder: Path) -> None:
    """Raise `InputError` where jobs that were sent for a folder work in it, or will; what cannot be asked does not."""
    from beadseg.cluster.submit import refuse_second
    from beadseg.errors import MachineError

    if any(os.environ.get(name) for name in JOB_VARIABLES):
        return
    with suppress(MachineError):
        refuse_second(folder)


def has_ended(job: str) -> bool:
    """Return whether a job has certainly ended: an earlier start of this one, one before it, or as its server says."""
    if job in [os.environ.get(name) for name in (*JOB_VARIABLES, PREDECESSOR)]:
        return True
    from beadseg.cluster import scheduler

    return scheduler.has_ended(job)
