"""A job as every batch system describes it, whether a node can give what it asks for, and how commands are called."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.errors import MachineError
from beadseg.runtime.process import run_briefly

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SECONDS = 60
"""A command that takes longer has no server that answers, s."""

MERGE = "merge"
"""Kind of the job of a prediction that comes last."""
DASK = "dask"
"""Kind of the jobs that dask-jobqueue sends, one per worker; begins the names of their logs."""
COLLECT = "collect"
"""How the kind of the jobs of a sweep that rank begins."""

STATES = {
    "Q": "queued", "H": "held", "W": "waiting", "T": "moving", "R": "running", "B": "running", "E": "ending",
    "S": "suspended", "U": "suspended", "F": "finished", "X": "finished", "M": "moved",
}  # fmt: skip
"""PBS' letters in words; B is an array of which an element has begun, X an element that has ended."""

WALLTIME = -29
"""Exit status of a job that the batch system ended because its walltime was over."""

_NO_SERVER = (
    r"cannot connect|connection (refused|reset|timed out)|no route|communication failure|unknown host|unable to contact"
)
"""What commands say where the server is down, in place of a word about the job."""

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_NOT_OF_A_NODE = ("mpiprocs", "ompthreads", "place", "preempt_targets")


@dataclass(frozen=True)
class Job:
    """What the server says of a job.

    Attributes
    ----------
    id, state : str
        As it was submitted, and a letter of `STATES`.
    exit_status : int or None
        None while it has not ended. Above 256: ended by a signal; negative: by the batch system, see `WALLTIME`.
    run_count : int
        How often it was started.
    comment : str
        What the scheduler says, e.g. why it does not run.
    select, walltime, used : str
        What it asked for, and the time it has run.
    where : str
        The node that it runs on.
    cancelled : bool
        Whether somebody ended it.
    never : str
        Why it will never run, where the scheduler says so.
    elements : tuple of Job
        Those of an array, where the server knows them.
    """

    id: str
    state: str
    exit_status: int | None = None
    run_count: int = 0
    comment: str = ""
    select: str = ""
    walltime: str = ""
    used: str = ""
    where: str = ""
    cancelled: bool = False
    never: str = ""
    elements: tuple[Job, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in "FXM"


def call(words: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of the batch system.

    Raises
    ------
    MachineError
        There is no such command, or it gives no answer.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return run_briefly(words, SECONDS, cwd=cwd, env=environment)
    except FileNotFoundError:
        remedy = "Log in to the cluster's login node, or load the module of its batch system."
        raise MachineError(f"There is no {words[0]} on this machine.", "batch system", remedy) from None
    except subprocess.TimeoutExpired:
        raise MachineError(f"{words[0]} gives no answer for {SECONDS} s.", "batch system", "Try again later.") from None


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command complained about, in one line."""
    text = " ".join((done.stderr or done.stdout).split())
    return text.rstrip(".") or f"exit code {done.returncode}"


def is_down(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether a command failed since no server answers."""
    return done.returncode != 0 and re.search(_NO_SERVER, said(done), re.IGNORECASE) is not None


def no_answer(done: subprocess.CompletedProcess[str], command: str) -> MachineError:
    """Return the error that says that the batch system does not answer."""
    return MachineError(f"The batch system does not answer: {said(done)}.", command, "Try again later.")


def chunks(select: str) -> list[tuple[int, dict[str, str]]]:
    """Return the chunks of a select line: how many of each, and what each asks for."""
    found = []
    for chunk in select.split("+"):
        words = chunk.split(":")
        count = int(words.pop(0)) if words[0].isdigit() else 1
        found.append((count, dict(word.split("=", 1) for word in words if "=" in word)))
    return found


def never_fits(select: str, nodes: Mapping[str, Mapping[str, Any]]) -> str:
    """Return why no node can ever run one of the chunks of `select`, or ``""``.

    Parameters
    ----------
    select : str
        As after ``-l select=``.
    nodes : mapping
        Attributes of every node, see `beadseg.cluster.pbs.nodes`.
    """
    offers = {name: values.get("resources_available", {}) for name, values in nodes.items()}
    if not offers:
        return ""
    for _, wanted in chunks(select):
        asked = {name: value for name, value in wanted.items() if name not in _NOT_OF_A_NODE}
        if any(all(_has(offer, name, value) for name, value in asked.items()) for offer in offers.values()):
            continue
        for name, value in asked.items():
            if not any(_has(offer, name, value) for offer in offers.values()):
                most = max((offer for offer in offers.values() if name in offer), default=None,
                           key=lambda offer: amount(str(offer[name])) or 0)  # fmt: skip
                has = "none has any" if most is None else f"the most that one has is {most[name]}"
                return f"no node has {name}={value}: {has}"
        together = ", ".join(f"{name}={value}" for name, value in asked.items())
        return f"no single node has {together} together"
    return ""


def amount(text: str) -> float | None:
    """Return a number, or a size such as ``240gb`` in bytes; None for a word."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtp]?)([bw]?)", text.lower())
    if match is None:
        return None
    return float(match[1]) * float(1024 ** _UNITS[match[2]]) * (8 if match[3] == "w" else 1)


def _has(offer: Mapping[str, Any], name: str, value: str) -> bool:
    """Return whether a node offers a resource: as much of it, or this word among its words."""
    if name not in offer:
        return False
    there, wanted = str(offer[name]), amount(value)
    if wanted is None or amount(there) is None:
        return value in there.split(",")
    return (amount(there) or 0) >= wanted


@dataclass(frozen=True)
class Array:
    """A job array: the elements 0 to ``size - 1``, at most `running` of them at a time (None: no limit)."""

    size: int
    running: int | None = None

    def __str__(self) -> str:
        return f"0-{self.size - 1}" + (f"%{self.running}" if self.running else "")


@dataclass(frozen=True)
class JobScript:
    """What a job does.

    Attributes
    ----------
    kind : str
        Names the job's files in the folder: ``train``, ``predict`` …
    words : tuple of str
        What follows ``beadseg-batch``.
    folder : pathlib.Path
        The folder that it works for, absolute: its jobs are recorded there.
    directory : pathlib.Path
        Where relative paths among `words` begin, absolute.
    jobs : int
        Most jobs one after the other; each sends its successor until the work is finished.
    array : Array, optional
        Runs `words` once per element, which finds its number in ``BEADSEG_ELEMENT``. One element is a plain job.
    dataset : int, optional
        Which of `words` is the folder that may be copied to scratch.
    umask : int
        Of the files that the job writes; PBS' own lets nobody else read them.
    restarts : int
        How often the program is begun again in the job when it was killed by a signal that did not mean the job.
    """

    kind: str
    words: tuple[str, ...]
    folder: Path
    directory: Path
    jobs: int = 1
    array: Array | None = None
    dataset: int | None = None
    umask: int = 0o022
    restarts: int = 0

    @property
    def name(self) -> str:
        """The job's name: the folder's, as far as PBS takes it."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{self.kind}-{self.folder.name}")[:15].rstrip("_.-")

    @property
    def path(self) -> Path:
        """Where the script lies."""
        return self.folder / files.JOBS / f"{self.kind}.sh"
