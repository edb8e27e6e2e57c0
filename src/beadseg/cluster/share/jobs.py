"""The jobs of a shared batch: an array of processes that predict, and one that comes after them and merges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from beadseg.cluster.script import Array

if TYPE_CHECKING:
    from beadseg.cluster.script import JobScript

MERGE = "merge"
"""Kind of the job that comes last."""


def share_jobs(job: JobScript, images: int, elements: int, running: int | None = None) -> list[JobScript]:
    """Return the jobs of a batch of `images` in the order in which they run.

    All do the same, so that the last one, which waits until the others have ended however they ended, predicts what
    they left, if anything, and merges.

    Parameters
    ----------
    job : JobScript
        What one process does.
    images : int
        How many there are; there are no more elements than that.
    elements : int
        How many processes share the images.
    running : int, optional
        Most of them at a time.
    """
    return [replace(job, array=Array(min(elements, images), running)), replace(job, kind=MERGE)]
