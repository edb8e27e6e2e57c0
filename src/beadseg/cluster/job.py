"""A job as every batch system describes it, and how their commands are called."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass

from beadseg.errors import MachineError

SECONDS = 60
"""A command that takes longer has no server that answers, s."""

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
        return subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
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
