"""The batch system's commands: send, look, end. Everything that is read comes as JSON."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beadseg.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SECONDS = 60
"""A command that takes longer has no server that answers, s."""

STATES = {
    "Q": "queued", "H": "held", "W": "waiting", "T": "moving", "R": "running", "B": "running", "E": "ending",
    "S": "suspended", "U": "suspended", "F": "finished", "X": "finished", "M": "moved",
}  # fmt: skip
"""PBS' letters in words; B is an array of which an element has begun, X an element that has ended."""

UNKNOWN_JOB, FINISHED_JOB = 153, 35
"""Exit codes of ``qstat`` and ``qdel`` for a job that the server does not know (any more), and for one that is over."""


_NO_SERVER = r"cannot connect|connection (refused|reset|timed out)|no route|communication failure|unknown host"
"""What ``qsub`` says where the server is down, in place of a word about the job."""


@dataclass(frozen=True)
class Job:
    """What the server says of a job.

    Attributes
    ----------
    id, state : str
        ``12.server`` and a letter of `STATES`.
    exit_status : int or None
        None while it has not ended. Above 256: ended by a signal; negative: by PBS, -29 at the walltime.
    run_count : int
        How often it was started.
    comment : str
        What the scheduler says, e.g. why it does not run.
    select, walltime, used : str
        What it asked for, and the time it has run.
    """

    id: str
    state: str
    exit_status: int | None = None
    run_count: int = 0
    comment: str = ""
    select: str = ""
    walltime: str = ""
    used: str = ""

    @property
    def over(self) -> bool:
        """Whether it has ended for good."""
        return self.state in "FXM"

    @classmethod
    def read(cls, name: str, values: Mapping[str, Any]) -> Job:
        """Return a job from its part of ``qstat -f -F json``."""
        asked, used = values.get("Resource_List", {}), values.get("resources_used", {})
        status = values.get("Exit_status")
        return cls(
            name, str(values.get("job_state", "?")), None if status is None else int(status),
            int(values.get("run_count", 0)), str(values.get("comment", "")), str(asked.get("select", "")),
            str(asked.get("walltime", "")), str(used.get("walltime", "")),
        )  # fmt: skip


def available() -> bool:
    """Return whether this machine has the commands of a batch system."""
    return shutil.which("qsub") is not None and shutil.which("qstat") is not None


def submit(script: Path, after: str | None = None) -> str:
    """Send a script; return the job's id.

    Raises
    ------
    MachineError
        This machine has no ``qsub``, or no server answers.
    InputError
        The server refuses the job.
    """
    # Not from the present folder: its name would become part of the job, and PBS cannot say every name as JSON.
    words = ["-W", f"depend=afterany:{after}"] if after else []
    done = _call(["qsub", *words, str(script)], cwd="/")
    if done.returncode != 0 and re.search(_NO_SERVER, _said(done), re.IGNORECASE):
        raise MachineError(
            f"The batch system does not answer: {_said(done)}.", "qsub", "Try again later; nothing was sent."
        )
    if done.returncode != 0:
        raise InputError(f"The batch system refuses the job: {_said(done)}.", script,
                         "Change the profile or the options; see `beadseg-batch doctor --cluster`.")  # fmt: skip
    return done.stdout.strip().splitlines()[-1].strip()


def jobs(ids: Sequence[str]) -> dict[str, Job]:
    """Return what the server knows of jobs, finished ones too; those that it has forgotten are missing."""
    found: dict[str, Job] = {}
    for name in ids:  # one by one: of several, OpenPBS 23.06 shows only the first as JSON
        # A server without job history (OpenPBS' default) answers -x with exit code 0 and no job, a running one too.
        found |= _qstat(["-x"], name) or _qstat([], name)
    return found


def _qstat(options: list[str], name: str) -> dict[str, Job]:
    """Return one job by its id; nothing when the server does not know it, or shows none with these options."""
    done = _call(["qstat", *options, "-f", "-F", "json", name])
    if done.returncode in (UNKNOWN_JOB, FINISHED_JOB):
        return {}
    if done.returncode != 0:
        raise MachineError(f"The batch system does not answer: {_said(done)}.", "qstat", "Try again later.")
    answer = _json(done.stdout) if done.stdout.strip() else {}
    return {key: Job.read(key, values) for key, values in answer.get("Jobs", {}).items()}


def delete(ids: Sequence[str]) -> list[str]:
    """End jobs, queued or running; return those that were there to end."""
    ended = []
    for name in ids:
        done = _call(["qdel", name])
        if done.returncode == 0:
            ended.append(name)
        elif done.returncode not in (UNKNOWN_JOB, FINISHED_JOB):
            raise MachineError(f"Job {name} could not be ended: {_said(done)}.", "qdel", f"Try: qdel -W force {name}")
    return ended


def has_ended(job: str) -> bool:
    """Return whether a job has certainly ended; False where nobody can say."""
    if not available():
        return False
    try:
        found = jobs([job])
    except MachineError:
        return False
    return all(item.over for item in found.values())


def server() -> dict[str, Any]:
    """Return the server's attributes, and its name as ``name``."""
    return _first(_ask(["qstat", "-B", "-f", "-F", "json"]).get("Server", {}))


def queues() -> dict[str, dict[str, Any]]:
    """Return every queue's attributes."""
    found: dict[str, dict[str, Any]] = _ask(["qstat", "-Q", "-f", "-F", "json"]).get("Queue", {})
    return found


def nodes() -> dict[str, dict[str, Any]]:
    """Return the attributes of every node."""
    found: dict[str, dict[str, Any]] = _ask(["pbsnodes", "-a", "-F", "json"]).get("nodes", {})
    return found


def _first(named: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return next(({"name": name, **values} for name, values in named.items()), {})


def _ask(words: list[str]) -> dict[str, Any]:
    done = _call(words)
    if done.returncode != 0:
        raise MachineError(f"The batch system does not answer: {_said(done)}.", words[0], "Try again later.")
    return _json(done.stdout)


def _call(words: list[str], cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(
            words, cwd=cwd, env=environment, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise MachineError(f"There is no {words[0]} on this machine.", "PBS",
                           "Log in to the cluster's login node, or load its PBS module.") from None  # fmt: skip
    except subprocess.TimeoutExpired:
        raise MachineError(f"{words[0]} gives no answer for {SECONDS} s.", "PBS", "Try again later.") from None


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command complained about, in one line."""
    text = " ".join((done.stderr or done.stdout).split())
    return text.rstrip(".") or f"exit code {done.returncode}"


def _json(text: str) -> dict[str, Any]:
    """Read PBS' JSON; it leaves control characters and some backslashes of names as they are."""
    for candidate in (text, re.sub(r'\\(?!["\\/bfnrtu])', r"\\\\", text)):
        try:
            values: dict[str, Any] = json.loads(candidate, strict=False)
        except ValueError:
            continue
        return values
    raise MachineError("The batch system's answer is not JSON.", "qstat", "Needs OpenPBS or PBS Pro 18 or newer.")
