"""PBS' commands: submit, look, cancel. Everything that is read comes as JSON."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

from beadseg.cluster.job import Job, call, is_down, no_answer, said
from beadseg.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


UNKNOWN_JOB, FINISHED_JOB = 153, 35
"""Exit codes of ``qstat`` and ``qdel`` for a job that the server does not know (any more), and for one that is over."""

_NEVER = "Can Never Run"
"""How the scheduler's comment of such a job begins."""


def read(name: str, values: Mapping[str, Any], elements: Sequence[Job] = ()) -> Job:
    """Return a job from its part of ``qstat -f -F json``."""
    asked, used = values.get("Resource_List", {}), values.get("resources_used", {})
    status, comment = values.get("Exit_status"), str(values.get("comment", ""))
    runs = int(values.get("run_count", 0))
    if values.get("job_state") == "X" and comment == "Subjob finished" and not runs:
        status, runs = None, 1  # a server without history forgets it, and shows that of the array
    before, found, after = comment.partition(_NEVER)
    never = (after.strip(" :") or "so says the scheduler") if found and not before.strip() else ""
    return Job(
        name, str(values.get("job_state", "?")), None if status is None else int(status),
        runs, comment, str(asked.get("select", "")), str(asked.get("walltime", "")),
        str(used.get("walltime", "")), where=str(values.get("exec_host", "")).split("/")[0],
        cancelled="and terminated by" in comment, never=never, elements=tuple(elements),
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
    done = call(["qsub", *words, str(script)], cwd="/")
    if is_down(done):
        raise MachineError(
            f"The batch system does not answer: {said(done)}.", "qsub", "Try again later; nothing was sent."
        )
    if done.returncode != 0:
        raise InputError(f"The batch system refuses the job: {said(done)}.", script,
                         "Change the profile or the options; see `beadseg-batch doctor --cluster`.")  # fmt: skip
    return done.stdout.strip().splitlines()[-1].strip()


def trial(script: Path) -> str:
    """Return why the server refuses a script, or ``""``: it is sent as a held job, and deleted at once."""
    done = call(["qsub", "-h", str(script)], cwd="/")
    if is_down(done):
        raise no_answer(done, "qsub")
    if done.returncode != 0:
        return said(done)
    call(["qdel", done.stdout.strip().splitlines()[-1].strip()])
    return ""


def jobs(ids: Sequence[str]) -> dict[str, Job]:
    """Return what the server knows of jobs, finished ones too; those that it has forgotten are missing."""
    found: dict[str, Job] = {}
    for name in ids:  # one by one: of several, OpenPBS 23.06 shows only the first as JSON
        # A server without job history (OpenPBS' default) answers -x with exit code 0 and no job, a running one too.
        found |= _qstat(["-x"], name) or _qstat([], name)
    return found


def _qstat(options: list[str], name: str) -> dict[str, Job]:
    """Return one job by its id, of an array with its elements; nothing where the server does not show it so."""
    array = "[]" in name
    done = call(["qstat", *options, *(["-t"] if array else []), "-f", "-F", "json", name])
    if done.returncode in (UNKNOWN_JOB, FINISHED_JOB):
        return {}
    if done.returncode != 0:
        raise no_answer(done, "qstat")
    answer = _json(done.stdout) if done.stdout.strip() else {}
    every: dict[str, Any] = answer.get("Jobs", {})
    elements = [read(key, values) for key, values in every.items() if re.search(r"\[\d+\]", key)]
    return {key: read(key, values, elements) for key, values in every.items() if not re.search(r"\[\d+\]", key)}


def delete(ids: Sequence[str]) -> list[str]:
    """End jobs, queued or running; return those that were there to end."""
    ended = []
    for name in ids:
        done = call(["qdel", name])
        if done.returncode == 0:
            ended.append(name)
        elif done.returncode not in (UNKNOWN_JOB, FINISHED_JOB):
            raise MachineError(f"Job {name} could not be ended: {said(done)}.", "qdel", f"Try: qdel -W force {name}")
    return ended


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
    done = call(words)
    if done.returncode != 0:
        raise no_answer(done, words[0])
    return _json(done.stdout)


def _json(text: str) -> dict[str, Any]:
    """Read PBS' JSON; it leaves control characters and some backslashes of names as they are."""
    for candidate in (text, re.sub(r'\\(?!["\\/bfnrtu])', r"\\\\", text)):
        try:
            values: dict[str, Any] = json.loads(candidate, strict=False)
        except ValueError:
            continue
        return values
    raise MachineError("The batch system's answer is not JSON.", "qstat", "Needs OpenPBS or PBS Pro 18 or newer.")
