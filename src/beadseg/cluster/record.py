"""What a folder knows of the jobs that were sent for it, one row per job, and what became of them, in words."""

from __future__ import annotations

import csv
import re
import signal
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster import pbs, scheduler
from beadseg.cluster.job import COLLECT, DASK, MERGE, STATES, WALLTIME, Job, never_fits
from beadseg.errors import ExitCode, InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any


JOB_COLUMNS = ("job", "kind", "part", "sent")
"""As in ``jobs.csv``, which job scripts append to as well (``job.sh``)."""

_DONE = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)
"""Exit codes after which a chain of jobs ends because everything was done."""

_FAILURES = (ExitCode.BUG, ExitCode.INPUT, ExitCode.MACHINE)
"""Exit codes of a job whose log has the reason."""

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

_LAST_LINES = {
    r"INFO Finished\.": ExitCode.OK,
    r"WARNING Finished, but": ExitCode.SOME_FAILED,
    r"WARNING Ended with a result that is flagged": ExitCode.FLAGGED,
    r"INFO The job's time was up": ExitCode.OUT_OF_TIME,
    r"WARNING (Stopped by a signal|The job before this one was cancelled)": ExitCode.CANCELLED,
    r"ERROR Killed by signal (?P<signal>\d+)": None,
    r"ERROR Failed with exit code (?P<code>\d+)": None,
}
"""What a job script says last (``job.sh``), and its exit code."""


@dataclass(frozen=True)
class Sent:
    """A job that was sent.

    Attributes
    ----------
    job : str
        Its id.
    kind : str
        What it does: ``train``, ``predict`` …
    part : int
        Which job of a chain, from 1.
    sent : str
        When, UTC.
    """

    job: str
    kind: str
    part: int
    sent: str

    def logs(self, folder: Path) -> list[Path]:
        """Return the logs that the job has begun in its folder: one, or one per element of an array."""
        number, array, server = self.job.partition("[]")
        names = [path.name for path in (folder / files.JOBS).glob("*.log")]
        end = rf"\[\d+\]{re.escape(server)}" if array else r"(_\d+)?"  # PBS' elements 12[3].server, Slurm's 12_3
        pattern = rf"{re.escape(self.kind)}-{re.escape(number)}{end}"
        found = [name for name in names if re.fullmatch(pattern + r"\.log", name)]
        return [folder / files.JOBS / name for name in sorted(found, key=lambda name: (len(name), name))]


def append(folder: Path, job: str, kind: str, part: int = 1) -> None:
    """Record that a job was sent."""
    path = files.ensure_folder(folder / files.JOBS) / files.JOBS_TABLE
    begins = "" if path.exists() else ",".join(JOB_COLUMNS) + "\n"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(f"{begins}{job},{kind},{part},{now}\n")
    except OSError as error:
        raise files.machine_error(error, path) from error


def sent_jobs(folder: Path) -> list[Sent]:
    """Return the jobs that were sent for a folder, the first one first, each once.

    Raises
    ------
    InputError
        None was sent, or the table is damaged.
    """
    path = folder / files.JOBS / files.JOBS_TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row and tuple(row) != JOB_COLUMNS]
        found = [Sent(job, kind, int(part), when) for job, kind, part, when in rows]
    except FileNotFoundError:
        raise InputError("No job was sent for this folder.", folder,
                         "Give the --out folder of `beadseg-batch submit`.") from None  # fmt: skip
    except (OSError, ValueError, csv.Error):
        raise InputError("The table of jobs is damaged.", path, "Remove its broken line.") from None
    return list({item.job: item for item in found}.values())


NOT_NEEDED = "not needed: the job before it finished the work"
TAKEN_BACK = "taken back by the job before it"


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
    """Return the status of a folder's jobs; errors as of `record.sent`."""
    sent = sent_jobs(folder)
    try:
        known, trouble = scheduler.jobs([item.job for item in sent]), ""
    except MachineError as error:
        known, trouble = {}, str(error)
    waiting = any(job.state == "Q" and not scheduler.is_slurm(name) for name, job in known.items())
    nodes = _nodes() if waiting else {}
    jobs = {item.job: _with_logs(item, folder, known.get(item.job), asked=not trouble) for item in sent}
    found = []
    for item in sent:
        job, needless = jobs[item.job], _finished_before(item, sent, jobs)
        if job is not None:
            found.append(_judge(item, job, folder, nodes, needless))
        else:
            taken_back = TAKEN_BACK if item.part > 1 and not trouble and not item.logs(folder) else ""
            text = NOT_NEEDED if needless else taken_back or _from_files(item, folder, asked=not trouble)
            found.append(JobStatus(item, None, text))
    return Report(found, trouble)


def _with_logs(sent: Sent, folder: Path, job: Job | None, *, asked: bool) -> Job | None:
    """Return a job as the batch system describes it; how it ended from its logs where it does not say so.

    None where neither knows anything. A server without job history forgets how jobs ended, and at first those of an
    array.
    """
    logs = {path.name.removeprefix(f"{sent.kind}-").removesuffix(".log"): path for path in sent.logs(folder)}
    if job is not None:
        known = [replace(one, exit_status=_last_word(logs[one.id])) if _is_silent(one) and one.id in logs else one
                 for one in (job, *job.elements)]  # fmt: skip
        return replace(known[0], elements=tuple(known[1:]))
    ended = {name: _last_word(path) for name, path in logs.items()}
    if not logs or (not asked and None in ended.values()):
        return None
    jobs = [Job(name, "F", code, run_count=1) for name, code in ended.items()]
    return jobs[0] if sent.job in logs else Job(sent.job, "F", elements=tuple(jobs))


def _is_silent(job: Job) -> bool:
    return job.over and job.exit_status is None and not job.elements


def _last_word(log: Path) -> int | None:
    """Return the exit code that the end of a job's log stands for; None where it says nothing of its end."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    for pattern, code in _LAST_LINES.items():
        if match := re.search(rf"^[\d-]+ [\d:]+ {pattern}", lines[-1] if lines else ""):
            number = match.groupdict()
            if "signal" in number:
                return 256 + int(number["signal"])
            return int(number["code"]) if code is None else int(code)
    return None


def _from_files(sent: Sent, folder: Path, *, asked: bool) -> str:
    """Return what is known of a job that has not ended by its log, and that the batch system does not know."""
    unknown = "over; the batch system has forgotten it" if asked else "not known"
    logs = sent.logs(folder)
    if not logs:
        return f"{unknown}, and it has not written a log"
    if len(logs) > 1:
        return f"{unknown}; its {len(logs)} elements have written logs"
    lines = logs[0].read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return f"{unknown}; the last line of its log: {lines[-1] if lines else '(empty)'}"


def _finished_before(item: Sent, sent: list[Sent], known: Mapping[str, Job | None]) -> bool:
    """Return whether an earlier job of the same chain has finished the work, so that this one was taken back."""
    for other in reversed(sent[: sent.index(item)]):
        job = known.get(other.job) if other.kind == item.kind else None
        if job is not None and job.over and job.exit_status in _DONE:
            return True
        if other.kind == item.kind and other.part == 1:  # what was before is of an earlier submission
            break
    return False


def _nodes() -> Mapping[str, Mapping[str, Any]]:
    """Return the nodes; none where this user may not see them."""
    try:
        return pbs.nodes()
    except MachineError:
        return {}


def _judge(sent: Sent, job: Job, folder: Path, nodes: Mapping[str, Mapping[str, Any]], needless: bool) -> JobStatus:
    if job.over and needless and job.exit_status is None:
        return JobStatus(sent, job, NOT_NEEDED)
    reason = (job.never or never_fits(job.select, nodes)) if job.state in "QH" else ""
    if reason:
        return JobStatus(sent, job, f"queued, but can never run: {reason}", stuck=True)
    if job.elements:
        return JobStatus(sent, job, _of_elements(job))
    if job.over and job.exit_status is None and job.run_count == 0 and sent.part > 1:
        return JobStatus(sent, job, TAKEN_BACK)
    if sent.kind == DASK and job.cancelled:
        return JobStatus(sent, job, "ended with the command that sent it")
    text = _state(job, follows=sent.part > 1 or sent.kind.startswith((MERGE, COLLECT)))
    reason = _reason(sent.logs(folder)) if job.over and job.exit_status in _FAILURES else ""
    return JobStatus(sent, job, f"{text}: {reason}" if reason else text)


def _reason(logs: list[Path]) -> str:
    """Return what a job that failed said last of why, without the line of its script that follows."""
    lines = logs[-1].read_text(encoding="utf-8", errors="replace").strip().splitlines() if logs else []
    found = [line for line in lines[:-1] if line.startswith("beadseg-batch: ") or " ERROR " in line]
    return re.sub(r"^(beadseg-batch: |.* ERROR )", "", found[-1]) if found else ""


def _of_elements(job: Job) -> str:
    """Return the status of the elements of an array, alike ones together; those that did not end well by number."""
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


def _state(job: Job, *, follows: bool = False, detailed: bool = True) -> str:
    """Return the state of a job in words; `detailed` with the times and comments that differ between elements.

    One that `follows` others is held until they have ended.
    """
    if job.over:
        return _end(job)
    if job.state == "Q":
        return "queued" + (f" ({job.comment})" if job.comment and detailed else "")
    if job.state == "H":
        return "held until the job before it has ended" if follows else "held"
    again = f", start {job.run_count}" if job.run_count > 1 else ""
    time = f", {job.used or '00:00:00'} of {job.walltime}" if job.walltime and detailed else ""
    where = f" on {job.where}" if job.where and detailed else ""
    return f"{STATES.get(job.state, job.state)}{where}{again}{time}"


def _end(job: Job) -> str:
    """Return how a job ended."""
    code = job.exit_status
    if "[]" in job.id and code == 1:  # PBS' status of an array whose elements it does not show
        return "over; not every element finished well, see the logs"
    if code is None and job.run_count > 0:
        return "ended without a last line in its log: it was probably killed"
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
