"""What became of the jobs of a folder, in words."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.cluster import pbs, record
from beadseg.cluster.capacity import never_fits
from beadseg.errors import ExitCode, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from beadseg.cluster.pbs import Job
    from beadseg.cluster.record import Sent

WALLTIME = -29
"""Exit status of a job that PBS ended because its walltime was over."""

_DONE = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)
"""Exit codes after which a chain of jobs ends because everything was done."""

_ARRAY_ENDS = {
    0: "finished",
    1: "over; not every element finished well, see the logs",
    2: "ended by an error of PBS, see the logs",
}
"""PBS' exit statuses of a job array."""
_ENDS = {
    ExitCode.OK: "finished",
    ExitCode.BUG: "failed: a bug, see its log",
    ExitCode.INPUT: "failed: a wrong input, see its log",
    ExitCode.SOME_FAILED: "finished, some items failed",
    ExitCode.MACHINE: "failed: the machine, see its log",
    ExitCode.FLAGGED: "ended, its result is flagged",
    ExitCode.OUT_OF_TIME: "its time was up, all is kept",
    ExitCode.CANCELLED: "stopped by a signal, all is kept",
}


@dataclass(frozen=True)
class JobStatus:
    """A job of a folder.

    Attributes
    ----------
    sent : Sent
        What the folder knows of it.
    job : Job or None
        What the server knows; None when it has forgotten the job.
    text : str
        Both in words.
    stuck : bool
        Whether it will never run unless somebody does something.
    """

    sent: Sent
    job: Job | None
    text: str
    stuck: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is queued or running."""
        return self.job is not None and not self.job.over


def status(folder: Path) -> list[JobStatus]:
    """Return what became of the jobs of a folder, the first one first; errors as of `pbs.jobs` and `record.sent`."""
    sent = record.sent(folder)
    known = pbs.jobs([item.job for item in sent])
    waiting = any(job.state == "Q" for job in known.values())
    nodes = _nodes() if waiting else {}
    return [_judge(item, known.get(item.job), nodes, _finished_before(item, sent, known)) for item in sent]


def _finished_before(item: Sent, sent: list[Sent], known: Mapping[str, Job]) -> bool:
    """Return whether an earlier job of the same chain has finished the work, so that this one was taken back."""
    earlier = [known.get(other.job) for other in sent if other.kind == item.kind and other.part < item.part]
    return any(job is not None and job.over and job.exit_status in _DONE for job in earlier)


def _nodes() -> Mapping[str, Mapping[str, Any]]:
    """Return the nodes; none where this user may not see them."""
    try:
        return pbs.nodes()
    except MachineError:
        return {}


def _judge(sent: Sent, job: Job | None, nodes: Mapping[str, Mapping[str, Any]], needless: bool = False) -> JobStatus:
    if job is None:
        return JobStatus(sent, None, "over; the batch system has forgotten it, see its log")
    if job.over and needless and job.exit_status is None:
        return JobStatus(sent, job, "not needed: the job before it finished the work")
    if job.over:
        return JobStatus(sent, job, _end(job))
    if job.state == "Q":
        reason = _never(job, nodes)
        if reason:
            return JobStatus(sent, job, f"queued, but can never run: {reason}", stuck=True)
        return JobStatus(sent, job, "queued" + (f" ({job.comment})" if job.comment else ""))
    if job.state == "H":
        return JobStatus(sent, job, "held until the job before it has ended" if sent.part > 1 else "held")
    again = f", start {job.run_count}" if job.run_count > 1 else ""
    time = f", {job.used or '00:00:00'} of {job.walltime}" if job.walltime else ""
    return JobStatus(sent, job, f"{pbs.STATES.get(job.state, job.state)}{again}{time}")


def _never(job: Job, nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why a queued job can never run, as the scheduler or the nodes say; ``""`` when it can."""
    before, found, after = job.comment.partition("Can Never Run")
    if found and not before.strip():
        return after.strip(" :") or "so says the scheduler"
    return never_fits(job.select, nodes)


def _end(job: Job) -> str:
    """Return how a job ended."""
    code = job.exit_status
    if code is None:
        return "ended without ever running" + (f" ({job.comment})" if job.comment else "")
    if "and terminated by" in job.comment:  # status 0 where PBS does not look after the job's processes, as root's
        return "ended by qdel"
    if "[]" in job.id and code in _ARRAY_ENDS:
        return _ARRAY_ENDS[code]
    if code == WALLTIME:
        return "ended by PBS at its walltime; what was saved is kept"
    if code < 0:
        return f"ended by PBS (status {code}): {job.comment or 'see its log'}"
    if code in _ENDS:
        return _ENDS[ExitCode(code)]
    number = code - 256 if code > 256 else code - 128
    if number == signal.SIGTERM:
        return "ended by qdel"
    if number > 0:
        return f"killed by signal {number}; what was saved is kept"
    return f"failed with exit code {code}, see its log"
