"""Write a job's script into the folder that it works for, send it, and record it there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster import record, scheduler
from beadseg.cluster.script import JobScript, render
from beadseg.config.site import walltime_seconds
from beadseg.errors import BeadsegError, ConfigError, InputError
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.config.site import SiteConfig


def submit(job: JobScript, site: SiteConfig, after: str | None = None, part: int = 1) -> str:
    """Send a job; return its id.

    Parameters
    ----------
    job : JobScript
        What it does, and for which folder.
    site : SiteConfig
        Where.
    after : str, optional
        Id of a job that must have ended before, however it ended.
    part : int
        Which job of several that follow each other, from 1.

    Raises
    ------
    InputError
        A job for the folder is still queued or running, or the server refuses this one.
    MachineError
        There is no batch system here, or the folder cannot be written to.
    """
    check(job, site)
    if after is None:
        refuse_second(job.folder)
    ensure_folder(job.path.parent)
    write_atomically(job.path, render(job, site))
    name = scheduler.submit(job.path, site, after)
    record.append(job.folder, name, job.kind, part)
    return name


def send(jobs: Sequence[JobScript], site: SiteConfig) -> list[str]:
    """Send jobs so that each begins when the one before it has ended; return their ids. All are sent, or none.

    Raises
    ------
    InputError, MachineError
        As of `submit`; what was sent before is taken back.
    """
    sent: list[str] = []
    parts: Counter[str] = Counter()
    try:
        for job in jobs:
            parts[job.kind] += 1
            sent.append(submit(job, site, sent[-1] if sent else None, parts[job.kind]))
    except BeadsegError:
        scheduler.delete(list(reversed(sent)))
        raise
    return sent


def check(job: JobScript, site: SiteConfig) -> None:
    """Raise `ConfigError` for what can be seen to be wrong before anything is sent."""
    for path in (str(job.folder), str(job.directory), *job.words):
        if "\n" in path or "\r" in path:
            raise ConfigError("A path or option with a line break cannot be sent.", path, "Rename it.")
    if site.margin * 2 > walltime_seconds(site.walltime):
        raise ConfigError(
            f"The margin of {site.margin:g} s takes more than half of the walltime {site.walltime}.", "margin",
            "Ask for a longer walltime, or set a smaller margin.",
        )  # fmt: skip


def refuse_second(folder: Path) -> None:
    """Raise `InputError` where a job that was sent for the folder is not over."""
    if not (folder / files.JOBS / files.JOBS_TABLE).exists():
        return
    found = scheduler.jobs([item.job for item in record.sent(folder)])
    alive = [name for name, job in found.items() if not job.over]
    if alive:
        raise InputError(f"Job {alive[0]} for this folder is not over.", folder,
                         "Wait for it, or end it: beadseg-batch cancel FOLDER")  # fmt: skip
