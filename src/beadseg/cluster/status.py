"""What became of the jobs of a folder, in words."""

from __future__ import annotations

import signal
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.cluster import pbs, record, scheduler
from beadseg.cluster.capacity import never_fits
from beadseg.cluster.job import STATES, WALLTIME
from beadseg.errors import ExitCode, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from beadseg.cluster.job import Job
    from beadseg.cluster.record import Sent

_DONE = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)
"""Exit codes after which a chain of jobs ends because everything was done."""

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


@dataclass(frozen=True)
class Report:
    """What is known of the jobs of a folder.

    Attributes
    ----------
    jobs : list of JobStatus
        The first one first.
    trouble : str
        Why the batch system could not be asked, so that all is known from the folder alone; ``""`` where it answered.
    """

    jobs: list[JobStatus]
    trouble: str = ""

    @property
    def alive(self) -> bool:
        """Whether a job is queued or running, or that is not known."""
        return bool(self.trouble) or any(item.alive for item in self.jobs)


def status(folder: Path) -> Report:
    """Return what became of the jobs of a folder; errors as of `record.sent`."""
    sent = record.sent(folder)
    try:
        known, trouble = scheduler.jobs([item.job for item in sent]), ""
    except MachineError as error:
        known, trouble = {}, str(error)
    waiting = any(job.state == "Q" and not scheduler.is_slurm(name) for name, job in known.items())
    nodes = _nodes() if waiting else {}
    found = []
    for item in sent:
        job = known.get(item.job)
        if job is None:
            found.append(JobStatus(item, None, _from_files(item, folder, asked=not trouble)))
        else:
            found.append(_judge(item, job, nodes, _finished_before(item, sent, known)))
    return Report(found, trouble)


def _from_files(sent: Sent, folder: Path, *, asked: bool) -> str:
    """Return what the log of a job says of it, which the batch system does not know, or could not be asked for."""
    unknown = "over; the batch system has forgotten it" if asked else "not known"
    logs = sent.logs(folder)
    if not logs:
        return f"{unknown}, and it has not written a log"
    if len(logs) > 1:
        return f"{unknown}; its {len(logs)} elements have written logs"
    lines = logs[0].read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{unknown}; the last line of its log: {lines[-1] if lines else '(empty)'}"


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


def _judge(sent: Sent, job: Job, nodes: Mapping[str, Mapping[str, Any]], needless: bool = False) -> JobStatus:
    if job.over and needless and job.exit_status is None:
        return JobStatus(sent, job, "not needed: the job before it finished the work")
    reason = (job.never or never_fits(job.select, nodes)) if job.state in "QH" else ""
    if reason:
        return JobStatus(sent, job, f"queued, but can never run: {reason}", stuck=True)
    if job.elements:
        return JobStatus(sent, job, _of_elements(job))
    return JobStatus(sent, job, _state(job, sent.part))


def _of_elements(job: Job) -> str:
    """Return what became of the elements of an array, alike ones together; those that did not end well by number."""
    groups: dict[str, list[Job]] = defaultdict(list)
    for element in job.elements:
        groups[_state(element, detailed=False)].append(element)
    parts = []
    for text, elements in groups.items():
        bad = elements[0].over and elements[0].exit_status not in _DONE
        names = [element.id.split(".")[0] for element in elements[:5]] if bad else []
        more = [f"{len(elements) - 5} more"] if bad and len(elements) > 5 else []
        parts.append(f"{len(elements)} {text}" + (f" ({', '.join(names + more)})" if names else ""))
    return f"array of {len(job.elements)}: {'; '.join(parts)}"


def _state(job: Job, part: int = 1, *, detailed: bool = True) -> str:
    """Return the state of a job in words; `detailed` with the times and comments that differ between elements."""
    if job.over:
        return _end(job)
    if job.state == "Q":
        return "queued" + (f" ({job.comment})" if job.comment and detailed else "")
    if job.state == "H":
        return "held until the job before it has ended" if part > 1 else "held"
    again = f", start {job.run_count}" if job.run_count > 1 else ""
    time = f", {job.used or '00:00:00'} of {job.walltime}" if job.walltime and detailed else ""
    where = f" on {job.where}" if job.where and detailed else ""
    return f"{STATES.get(job.state, job.state)}{where}{again}{time}"


def _end(job: Job) -> str:
    """Return how a job ended."""
    code = job.exit_status
    if "[]" in job.id and code == 1:  # PBS' status of an array whose elements it does not show
        return "over; not every element finished well, see the logs"
    if code is None:
        return "ended without ever running" + (f" ({job.comment})" if job.comment else "")
    if job.cancelled:  # status 0 where PBS does not look after the job's processes, as root's
        return "cancelled"
    if code == WALLTIME:
        return "ended by the batch system at its walltime; what was saved is kept"
    if code < 0:
        return f"ended by the batch system (status {code}): {job.comment or 'see its log'}"
    if code in _ENDS:
        return _ENDS[ExitCode(code)]
    number = code - 256 if code > 256 else code - 128
    if number == signal.SIGTERM:
        return "cancelled"
    if number > 0:
        return f"killed by signal {number}; what was saved is kept"
    return f"failed with exit code {code}, see its log"
