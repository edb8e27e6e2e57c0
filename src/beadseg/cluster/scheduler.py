"""Which batch system a job is of, and what all of them are asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.cluster import pbs, slurm
from beadseg.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.cluster.job import Job
    from beadseg.config.site import SiteConfig


def submit(script: Path, site: SiteConfig, after: str | None = None) -> str:
    """Send a script; see `pbs.submit`."""
    return slurm.submit(script, after) if site.scheduler == "slurm" else pbs.submit(script, after)


def trial(script: Path, site: SiteConfig) -> str:
    """Return why the server of a profile would refuse a script, or ``""``."""
    return slurm.trial(script) if site.scheduler == "slurm" else pbs.trial(script)


def is_slurm(job: str) -> bool:
    """Return whether an id is one of Slurm's: PBS' end with the name of the server."""
    return job.replace("_", "").isdecimal()


def jobs(ids: Sequence[str]) -> dict[str, Job]:
    """Return what the servers know of jobs, finished ones too; those that were forgotten are missing."""
    return pbs.jobs([name for name in ids if not is_slurm(name)]) | slurm.jobs([name for name in ids if is_slurm(name)])


def delete(ids: Sequence[str]) -> list[str]:
    """Cancel jobs in this order; return those that were there to cancel."""
    return [name for one in ids for name in (slurm if is_slurm(one) else pbs).delete([one])]


def has_ended(job: str) -> bool:
    """Return whether a job has certainly ended; False where nobody can say."""
    if not (slurm if is_slurm(job) else pbs).available():
        return False
    try:
        found = jobs([job])
    except MachineError:
        return False
    return all(item.over for item in found.values())
