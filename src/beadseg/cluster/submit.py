"""Write a job's script into the folder that it works for, send it, and record it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster import pbs, record
from beadseg.cluster.script import JobScript, render
from beadseg.config.site import walltime_seconds
from beadseg.errors import ConfigError, InputError
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from beadseg.config.site import SiteConfig


def submit(job: JobScript, site: SiteConfig, after: str | None = None) -> str:
    """Send a job; return its id.

    Parameters
    ----------
    job : JobScript
        What it does, and for which folder.
    site : SiteConfig
        Where.
    after : str, optional
        Id of a job that must have ended before, however it ended.

    Raises
    ------
    InputError
        A job for the folder is still queued or running, or the server refuses this one.
    MachineError
        There is no batch system here, or the folder cannot be written to.
    """
    check(job, site)
    if after is None:
        _refuse_second(job)
    ensure_folder(job.path.parent)
    write_atomically(job.path, render(job, site))
    name = pbs.submit(job.path, after)
    record.append(job.folder, name, job.kind)
    return name


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


def _refuse_second(job: JobScript) -> None:
    """Raise `InputError` where a job of the same kind for the folder is not over."""
    if not (job.folder / files.JOBS / files.JOBS_TABLE).exists():
        return
    ids = [item.job for item in record.sent(job.folder) if item.kind == job.kind]
    alive = [name for name, found in pbs.jobs(ids).items() if not found.over]
    if alive:
        raise InputError(f"Job {alive[0]} for this folder is not over.", job.folder,
                         "Wait for it, or end it: beadseg-batch cancel FOLDER")  # fmt: skip
