"""Slurm's commands, and what a profile is in its options.

Answers are read as columns (``--format``), which are the same in all versions: the JSON of ``squeue`` changed with
nearly every one, and in 22.05 it holds the jobs of all users whatever is asked for.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from beadseg.cluster.job import WALLTIME, Job, call, chunks, is_down, no_answer, said
from beadseg.errors import ConfigError, InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from beadseg.cluster.job import JobScript
    from beadseg.config.site import SiteConfig

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
"""What a login node has."""

_COLUMNS = ("JobArrayId", "State", "exit_code", "Reason", "RestartCnt", "TimeUsed", "TimeLimit", "NodeList")
_STATES = {
    "PENDING": "Q", "REQUEUED": "Q", "REQUEUE_HOLD": "H", "SPECIAL_EXIT": "H", "CONFIGURING": "T", "RUNNING": "R",
    "COMPLETING": "E", "STAGE_OUT": "E", "SIGNALING": "R", "RESIZING": "R", "SUSPENDED": "S", "STOPPED": "S",
}  # fmt: skip
"""Slurm's states in PBS' letters; all others are those of jobs that are over."""
_NEVER = {
    "BadConstraints": "no node has what it asks for",
    "PartitionNodeLimit": "the partition has not so many nodes, or none that are up",
    "PartitionTimeLimit": "the partition does not allow so long a walltime",
    "DependencyNeverSatisfied": "the job that it waits for cannot end",
    "InvalidAccount": "the account is not valid",
    "InvalidQOS": "the quality of service is not valid",
    "JobHeldAdmin": "an administrator holds it",
}
"""Reasons for waiting that do not go away by waiting."""
_MAIL = {"a": "FAIL", "b": "BEGIN", "e": "END"}


def available() -> bool:
    """Return whether this machine has Slurm's commands."""
    return all(shutil.which(name) is not None for name in COMMANDS[:2])


def submit(script: Path, after: str | None = None) -> str:
    """Send a script; return the job's id.

    Raises
    ------
    MachineError
        This machine has no ``sbatch``, or no server answers.
    InputError
        The server refuses the job.
    """
    words = ["--parsable", *([f"--dependency=afterany:{after}"] if after else [])]
    done = call(["sbatch", *words, str(script)], cwd="/")
    if is_down(done):
        raise MachineError(f"The batch system does not answer: {said(done)}.", "sbatch",
                           "Try again later; nothing was sent.")  # fmt: skip
    if done.returncode != 0:
        raise InputError(f"The batch system refuses the job: {said(done)}.", script,
                         "Change the profile or the options; see `beadseg-batch doctor --cluster`.")  # fmt: skip
    return done.stdout.strip().splitlines()[-1].split(";")[0]


def trial(script: Path) -> str:
    """Return why the server would refuse a script, or ``""``; nothing is sent."""
    done = call(["sbatch", "--test-only", str(script)], cwd="/")
    if is_down(done):
        raise no_answer(done, "sbatch")
    return said(done).replace("sbatch: error: ", "") if done.returncode != 0 else ""


def jobs(ids: Sequence[str]) -> dict[str, Job]:
    """Return what the server knows of jobs, finished ones too; those that it has forgotten are missing."""
    found: dict[str, list[Job]] = {}
    for name in ids:  # one by one: a single job that is forgotten makes squeue refuse all
        rows = _squeue(name) or _sacct(name)
        if rows:
            found[name] = rows
    return {name: _whole(name, rows) for name, rows in found.items()}


def delete(ids: Sequence[str]) -> list[str]:
    """End jobs, queued or running; return those that were there to end."""
    ended = []
    for name in ids:
        done = call(["scancel", name])
        if done.returncode == 0:
            ended.append(name)
        elif is_down(done):
            raise no_answer(done, "scancel")
    return ended


def partitions() -> dict[str, dict[str, str]]:
    """Return the partitions by name: ``up`` or the state, longest time (``infinite`` for none), whether the default."""
    done = call(["sinfo", "--noheader", "--format=%P|%a|%l|%D"])
    if done.returncode != 0:
        raise no_answer(done, "sinfo")
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 3]
    return {name.rstrip("*"): {"state": state, "longest": longest, "nodes": nodes, "default": "*" * name.endswith("*")}
            for name, state, longest, nodes in rows}  # fmt: skip


def longest_seconds(text: str) -> float:
    """Return the longest time of a partition in s: ``D-HH:MM:SS`` or less of it, or infinity for a word."""
    days, _, rest = text.rpartition("-")
    numbers = rest.split(":")
    if not all(part.isdecimal() for part in (days or "0", *numbers)):
        return float("inf")
    return int(days or 0) * 86400 + sum(
        int(part) * unit for part, unit in zip(reversed(numbers), (1, 60, 3600), strict=False)
    )


def keeps_history() -> bool:
    """Return whether ``sacct`` knows finished jobs; ``squeue`` forgets them after some minutes."""
    return shutil.which("sacct") is not None and call(["sacct", "--noheader", "--jobs=1"]).returncode == 0


def _squeue(name: str) -> list[Job]:
    columns = ",".join(f"{column}:|" for column in _COLUMNS)
    done = call(["squeue", "--noheader", "--array", "--states=all", f"--jobs={name}", f"--Format={columns}"])
    if "Invalid job id" in done.stderr:
        return []
    if done.returncode != 0:
        raise no_answer(done, "squeue")
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") >= len(_COLUMNS)]
    return [_job(*(cell.strip() for cell in row[: len(_COLUMNS)])) for row in rows]


def _sacct(name: str) -> list[Job]:
    """Return a job from the accounting, where there is one: of a finished job that squeue has forgotten."""
    if shutil.which("sacct") is None:
        return []
    fields = "--format=JobID,State,ExitCode,Elapsed,Timelimit"
    done = call(["sacct", "--noheader", "--allocations", "--parsable2", f"--jobs={name}", fields])
    if done.returncode != 0:  # "Slurm accounting storage is disabled"
        return []
    rows = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 4]
    return [_job(id_, state, _status(code), "", "0", used, limit) for id_, state, code, used, limit in rows]


def _status(text: str) -> str:
    """Return the wait status for sacct's CODE:SIGNAL."""
    code, _, number = text.partition(":")
    return str(int(code or 0) << 8 | int(number or 0))


def _job(name: str, state: str, status: str, reason: str, restarts: str, used: str, limit: str, where: str = "") -> Job:
    """Return a job from the columns of a row."""
    word = state.split()[0].rstrip("+")
    letter = _STATES.get(word, "F")
    if letter == "Q" and (reason == "Dependency" or reason.startswith("JobHeld")):
        letter = "H"
    count = int(restarts) if restarts.isdecimal() else 0
    started = letter not in "QH" and not (word == "CANCELLED" and used in ("0:00", "00:00:00"))
    reason = "" if reason == "None" else reason
    code = _exit_status(word, int(status or 0)) if letter == "F" and started else None
    return Job(
        name, letter, code, count + int(started), reason, walltime=limit, used=used if started else "", where=where,
        cancelled=word == "CANCELLED", never=_NEVER.get(reason, "") if letter in "QH" else "",
    )  # fmt: skip


def _exit_status(word: str, status: int) -> int:
    """Return how a job ended, as in `Job`; `status` is that of ``wait``."""
    ends = {"COMPLETED": 0, "TIMEOUT": WALLTIME, "CANCELLED": 256 + 15, "OUT_OF_MEMORY": 256 + 9}
    if word in ends:
        return ends[word]
    if word == "FAILED":
        return 256 + (status & 127) if status & 127 else status >> 8
    return -1  # NODE_FAIL, BOOT_FAIL, PREEMPTED …: by the batch system


def _whole(name: str, rows: list[Job]) -> Job:
    """Return a job, or an array with its elements."""
    if not any("_" in row.id for row in rows):
        return rows[0]
    rows = sorted(rows, key=lambda row: int(re.sub(r"\D.*", "", row.id.partition("_")[2]) or 0))
    states = {row.state for row in rows}
    state = "F" if states <= set("FXM") else "B" if states - set("QH") else min(states)
    codes = [row.exit_status for row in rows if row.exit_status is not None]
    code = None if state != "F" or not codes else int(any(codes))
    first = rows[0]
    return Job(name, state, code, comment=first.comment, walltime=first.walltime, never=first.never,
               cancelled=all(row.cancelled for row in rows), elements=tuple(rows))  # fmt: skip


def directives(job: JobScript, site: SiteConfig) -> list[str]:
    """Return the ``#SBATCH`` lines of a job.

    Raises
    ------
    ConfigError
        The profile asks for what has no counterpart in Slurm.
    """
    lines = [f"--job-name={job.name}"]
    lines += [f"--partition={site.queue}"] if site.queue else []
    lines += [f"--account={site.project}"] if site.project else []
    lines += [*resources(site), f"--time={site.walltime}"]
    lines += [f"--array={job.array}"] if job.array is not None and job.array.size > 1 else []
    # The script writes its log itself. The signal reaches the script; the program knows the time that is left.
    lines += ["--output=/dev/null", "--requeue", "--chdir=/", f"--signal=B:TERM@{round(site.margin)}"]
    kinds = [kind for letter, kind in _MAIL.items() if letter in site.mail.events]
    lines += [f"--mail-type={','.join(kinds)}"] if kinds else []
    lines += [f"--mail-user={','.join(site.mail.to)}"] if kinds and site.mail.to else []
    return [f"#SBATCH {line}" for line in (*lines, *site.directives)]


def resources(site: SiteConfig) -> Iterable[str]:
    """Return what `SiteConfig.select` and `SiteConfig.place` are in Slurm's options."""
    wanted = chunks(site.select)
    if len(wanted) != 1:
        raise ConfigError(
            "Slurm takes nodes of one kind only.", f"select: {site.select}", "Leave out what follows the +."
        )
    count, asked = wanted[0]
    lines = [f"--nodes={count}", "--ntasks-per-node=1"]
    for name, value in asked.items():
        if name == "ncpus":
            lines.append(f"--cpus-per-task={value}")
        elif name == "ngpus":
            lines.append(f"--gres=gpu:{value}")
        elif name == "mem":
            lines.append(f"--mem={re.sub('b$', '', value.lower()).upper()}")
        elif name not in ("mpiprocs", "ompthreads"):
            text = f"Slurm does not know {name}={value}."
            raise ConfigError(text, "select", "Leave it out, and write the option of sbatch in directives.")
    if site.place not in (None, "scatter", "excl", "scatter:excl"):
        raise ConfigError(f"Slurm does not know place={site.place}.", "place", "Use scatter or excl, or leave it out.")
    return [*lines, *(["--exclusive"] if "excl" in (site.place or "") else [])]
