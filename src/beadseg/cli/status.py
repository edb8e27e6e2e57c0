"""`beadseg-batch status`: what became of the jobs of a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.jobs import JobsFolder
from beadseg.events import log
from beadseg.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.cluster.status import JobStatus
    from beadseg.events import Event


def status(folder: JobsFolder, json: options.Json = False) -> None:
    """Show the status of a folder's cluster jobs, and how far its training, sweep or prediction is."""
    from beadseg.cluster.status import status as look

    with reporter(json) as on_event:
        report = look(folder)
        for item in report.jobs:
            on_event(_told(item))
        if report.trouble:
            on_event(log(f"{report.trouble} What is said of the jobs is from their logs.", "warning"))
        on_event(_progress(folder))


def _told(item: JobStatus) -> Event:
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
    from beadseg.cluster.prediction import list_path
    from beadseg.config import TrainConfig
    from beadseg.events import Event
    from beadseg.training.history import read_history

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
    return Event("result", text, data={"epoch": done, "epochs": epochs, "finished": finished})


def _progress_of_prediction(folder: Path) -> Event:
    """Return how far a prediction in many jobs is."""
    from beadseg.cluster.prediction import ImageList, list_path
    from beadseg.events import Event

    images = ImageList.read(list_path(folder))
    done, failed = images.progress(folder)
    data = {"images": len(images.names), "done": done, "failed": failed}
    return Event("result", f"Images: {done} of {len(images.names)} done, {failed} of them failed.", data=data)


def _progress_of_sweep(folder: Path) -> Event:
    from beadseg.events import Event
    from beadseg.sweep.collect import Standing
    from beadseg.sweep.plan import Sweep

    standing = Standing.of(Sweep(folder))
    best = standing.finished[:1]
    data = {
        "finished": len(standing.finished), "failed": len(standing.failed), "trials": standing.expected,
        "complete": standing.complete, "best": best[0].trial.number if best else None,
    }  # fmt: skip
    told = f" Best so far: trial {best[0].trial.number}, {standing.sweep.metric} {best[0].score:.4f}." if best else ""
    return Event("result", f"Sweep: {standing.text()}.{told}", data=data)
