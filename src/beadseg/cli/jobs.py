"""What commands share that run as PBS jobs, or look after them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

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
