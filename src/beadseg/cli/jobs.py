"""What commands share that run as PBS jobs, or look after them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

JobsFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="The --out folder that was given to `submit`.", show_default=False),
]
"""A folder that jobs were sent for."""

PREDECESSOR = "BEADSEG_AFTER"
"""Environment variable of job scripts: the job before this one, which PBS says has ended."""


def has_ended(job: str) -> bool:
    """Return whether a PBS job has certainly ended: an earlier start of this one, the one before it, or as PBS says."""
    if job in (os.environ.get("PBS_JOBID"), os.environ.get(PREDECESSOR)):
        return True
    from beadseg.cluster import pbs

    return pbs.has_ended(job)
