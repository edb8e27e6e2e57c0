"""The text of a job script: a pure function of what is to be run and of the site."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster import slurm
from beadseg.config.site import walltime_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.config.site import SiteConfig

_SUBMIT = {"pbs": "qsub", "slurm": "sbatch"}


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


def render(job: JobScript, site: SiteConfig) -> str:
    """Return the text of a job script.

    It works from any directory, quotes every path, and writes its own log into the folder of the jobs.
    """
    inside = resources.files("beadseg.cluster")
    head, body = (inside.joinpath(name).read_text(encoding="utf-8") for name in (f"{site.scheduler}.sh", "job.sh"))
    directives = slurm.directives(job, site) if site.scheduler == "slurm" else _directives(job, site)
    return "\n".join(["#!/bin/bash", *directives, "", *_settings(job, site), "", head, body])


def _directives(job: JobScript, site: SiteConfig) -> list[str]:
    lines = [f"-N {job.name}"]
    lines += [f"-q {site.queue}"] if site.queue else []
    lines += [f"-P {site.project}"] if site.project else []
    lines += [f"-l select={site.select}"]
    lines += [f"-l place={site.place}"] if site.place else []
    lines += [f"-l walltime={site.walltime}"]
    lines += [f"-J {job.array}"] if job.array is not None and job.array.size > 1 else []
    # The script writes its log itself, at once and to any path; PBS' own copy would come late, or get lost.
    lines += ["-j oe", "-o /dev/null", "-r y", "-S /bin/bash", f"-m {site.mail.events}"]
    lines += [f"-M {','.join(site.mail.to)}"] if site.mail.to else []
    return [f"#PBS {line}" for line in (*lines, *site.directives)]


def _settings(job: JobScript, site: SiteConfig) -> list[str]:
    """Return the variables that the body of the script reads."""
    words = [*_program(site), *job.words]
    values = {
        "kind": job.kind,
        "folder": str(job.folder),
        "directory": str(job.directory),
        "most_jobs": str(job.jobs),
        "restarts": str(job.restarts),
        "walltime": str(walltime_seconds(site.walltime)),
        "mask": f"{job.umask:04o}",
        "variables": _variables(site),
        "margin": str(round(site.margin)),
        "several": "yes" if "--processes" in job.words else "",
        "dataset": "" if job.dataset is None or not site.stage else str(len(_program(site)) + job.dataset),
    }
    return [
        f"# Written by beadseg-batch submit. It may be sent again as it is: {_SUBMIT[site.scheduler]} THIS_FILE.",
        *(f"{name}={shlex.quote(value)}" for name, value in values.items()),
        f"scratch={_scratch(site)}",
        f"modules=({shlex.join(site.modules)})",
        f"program=({shlex.join(words)})",
        "prepare() {",
        "  :",
        *(f"  export {name}={shlex.quote(value)}" for name, value in site.environment.items()),
        *(f"  {line}" for line in site.setup),
        "}",
    ]


def _variables(site: SiteConfig) -> str:
    """Return what the profile's own ``-v`` sets: qsub's -v for the next job of a chain would replace it."""
    given = [line.removeprefix("-v").strip() for line in site.directives if line.startswith("-v")]
    return ",".join(item for item in given if item)


def _scratch(site: SiteConfig) -> str:
    """Return the scratch folder as the shell reads it: a variable at its beginning is the node's to fill in."""
    text = site.scratch or "${TMPDIR:-/tmp}"
    return f'"{text}"' if text.startswith("$") else shlex.quote(text)


def _program(site: SiteConfig) -> list[str]:
    if site.container is None:
        return list(site.command)
    box = site.container
    binds = ["--bind", ",".join(box.binds)] if box.binds else []
    return [box.program, "exec", *box.options, *binds, str(box.image), *site.command]
