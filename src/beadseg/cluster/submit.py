"""Write a job's script into the folder that it works for, send it, and record it there.

The text of a script is a pure function of what is to be run and of the site. A sweep sends, per round, an array with a
trial per element, and a job that ranks and plans the next round. A prediction sends an array of chunks of images, each
with results and a journal of its own (`beadseg.predict.tables`), and a job that begins when all elements have ended,
however they ended: a plain prediction of all images, which takes over what is in the journals.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster import record, scheduler, slurm
from beadseg.cluster.job import COLLECT, MERGE, Array, JobScript
from beadseg.config.site import walltime_seconds
from beadseg.config.sweep import TpeConfig
from beadseg.data.documents import names_of, read_document, read_failures, read_results, read_sources, read_unmerged
from beadseg.errors import BeadsegError, ConfigError, InputError, RunError
from beadseg.files import ensure_folder, write_atomically
from beadseg.runtime.locking import locked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.cluster.job import JobScript
    from beadseg.config.site import SiteConfig
    from beadseg.config.sweep import SweepConfig
    from beadseg.sweep.plan import Round

_SUBMIT = {"pbs": "qsub", "slurm": "sbatch"}

Rounds = list[tuple[int, list[int]]]
"""Numbers of rounds, and of the trials of each that are still to be run."""


def submit(job: JobScript, site: SiteConfig, after: str | None = None, part: int = 1) -> str:
    """Send a job; return its id.

    Parameters
    ----------
    job : JobScript
        What it does, and for which folder.
    site : SiteConfig
        Where.
    after : str, optional
        Id of a job that must have ended before, however it ended.
    part : int
        Which job of several that follow each other, from 1.

    Raises
    ------
    InputError
        A job for the folder is still queued or running, or the server refuses this one.
    MachineError
        There is no batch system here, or the folder cannot be written to.
    """
    check(job, site)
    if after is None:
        refuse_second(job.folder)
    ensure_folder(job.path.parent)
    write_atomically(job.path, render(job, site))
    name = scheduler.submit(job.path, site, after)
    record.append(job.folder, name, job.kind, part)
    return name


def send(jobs: Sequence[JobScript], site: SiteConfig) -> list[str]:
    """Send jobs so that each begins when the one before it has ended; return their ids. All are sent, or none.

    Raises
    ------
    InputError, MachineError
        As of `submit`; what was sent before is taken back.
    """
    sent: list[str] = []
    parts: Counter[str] = Counter()
    try:
        for job in jobs:
            parts[job.kind] += 1
            sent.append(submit(job, site, sent[-1] if sent else None, parts[job.kind]))
    except BeadsegError:
        scheduler.delete(list(reversed(sent)))
        raise
    return sent


def check(job: JobScript, site: SiteConfig) -> None:
    """Raise `ConfigError` for what can be seen to be wrong before anything is sent."""
    for path in (str(job.folder), str(job.directory), *job.words):
        if "\n" in path or "\r" in path:
            raise ConfigError("A path or option with a line break cannot be sent.", path, "Rename it.")
    if site.margin * 2 > walltime_seconds(site.walltime):
        raise ConfigError(
            f"The margin of {site.margin:g} s takes more than half of the walltime {site.walltime}.", "margin",
            "Ask for a longer walltime, or set a smaller margin.",
        )  # fmt: skip


def refuse_second(folder: Path) -> None:
    """Raise `InputError` where a job that was sent for the folder is not over."""
    if not (folder / files.JOBS / files.JOBS_TABLE).exists():
        return
    found = scheduler.jobs([item.job for item in record.sent_jobs(folder)])
    alive = [name for name, job in found.items() if not job.over]
    if alive:
        raise InputError(f"Job {alive[0]} for this folder is not over.", folder,
                         "Wait for it, or end it: beadseg-batch cancel FOLDER")  # fmt: skip


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


def rounds_to_come(space: SweepConfig, planned: Sequence[Round], ended: Sequence[int] = ()) -> Rounds:
    """Return the rounds of which a trial has not ended, planned or not; the last one that is planned in any case."""
    trials = {item.round: [trial.number for trial in item.trials] for item in planned}
    for number in range(len(trials) + 1, space.rounds + 1):
        size = space.method.trials if isinstance(space.method, TpeConfig) else 0
        trials[number] = list(range((number - 1) * size + 1, number * size + 1))
    left = {number: [one for one in numbers if one not in set(ended)] for number, numbers in trials.items()}
    return [(number, one) for number, one in left.items() if one or number == len(planned)]


def sweep_jobs(
    make: Callable[[str, tuple[str, ...], Array | None], JobScript],
    rounds: Rounds,
    last: int,
    running: int | None = None,
    times: int = 1,
) -> list[JobScript]:
    """Return the jobs of a sweep in the order in which they run.

    Parameters
    ----------
    make : callable
        Returns the job of this kind with these further words and array.
    rounds : list
        See `rounds_to_come`.
    last : int
        Number of the last round.
    running : int, optional
        Most trials at a time.
    times : int
        How often a round's array is sent, for trials that are longer than a walltime; elements whose trial has ended
        end at once.
    """
    jobs = []
    for number, trials in rounds:
        if trials:
            words = ("--trials", as_list(trials))
            jobs += [make(f"sweep-{number}", words, Array(len(trials), running))] * times
        after = ("--plan-round", str(number + 1)) if number < last else ()
        jobs.append(make(f"{COLLECT}-{number}", ("--collect", *after), None))
    return jobs


def as_list(numbers: Sequence[int]) -> str:
    """Return numbers in ascending order as ``3,8-12``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


FEWEST, MOST = 20, 50
"""Fewest and most images of an element: fewer would load the model too often, more would divide the work unevenly."""
MOST_ELEMENTS = 1000
"""Batch systems take no larger arrays without being set up for it (Slurm's default of ``MaxArraySize`` is 1001)."""
RESTARTS = 20
"""The program of a job is begun again when it was killed, at most so often."""


def chunk_of(images: int, running: int) -> int:
    """Return how many images each element predicts.

    Parameters
    ----------
    images : int
        How many there are.
    running : int
        Elements that run at a time. Few images are divided among them; of many there are about four chunks for each.
    """
    each = -(-images // running)
    if each > FEWEST:
        each = min(MOST, max(FEWEST, -(-images // (4 * running))))
    return max(each, -(-images // MOST_ELEMENTS))


def prediction_jobs(job: JobScript, images: int, running: int, times: int) -> list[JobScript]:
    """Return the jobs of a prediction in the order in which they run: the array, and the one that merges.

    Parameters
    ----------
    job : JobScript
        What the job that merges does.
    images : int
        How many there are.
    running : int
        Maximum number of elements at a time.
    times : int
        Maximum number of jobs, one after the other, that merge.
    """
    chunk = chunk_of(images, running)
    size = -(-images // chunk)
    array = Array(size, running if running < size else None)
    element = replace(job, words=(*job.words, "--chunk", str(chunk)), array=array, restarts=RESTARTS)
    return [element, replace(job, kind=MERGE, jobs=times, restarts=RESTARTS)]


@dataclass(frozen=True)
class ImageList:
    """The images of a prediction in many jobs, and the names of their results; frozen when the jobs are sent.

    Attributes
    ----------
    names : dict of path to str
        The name of every image, by its absolute path, in order.
    """

    names: dict[Path, str]

    @classmethod
    def read(cls, path: Path) -> ImageList:
        """Return what was frozen; raise `RunError` where the file is missing or damaged."""
        rows = read_document(path, "images")["images"]
        try:
            return cls({Path(row["path"]): str(row["name"]) for row in rows})
        except (TypeError, KeyError):
            raise RunError("Is not a list of images.", path, "Submit the prediction again.") from None

    def chunk(self, size: int, element: int) -> list[Path]:
        """Return the images of an element."""
        return [*self.names][size * element : size * (element + 1)]

    def outcomes(self, folder: Path) -> dict[str, str]:
        """Return the images that have an outcome by name: why they failed, ``""`` for those with results."""
        sources, failures = read_sources(folder), read_failures(folder)
        outcomes = dict.fromkeys(read_results(folder), "")
        outcomes |= {name: failures[source] for name, source in sources.items() if source in failures}
        outcomes |= {entry["image"]: str(entry.get("error", "")) for entry in read_unmerged(folder)}
        return {name: outcomes[name] for name in self.names.values() if name in outcomes}


def list_path(folder: Path) -> Path:
    """Return where the list of images of a prediction folder lies."""
    return folder / files.JOBS / files.IMAGE_LIST


def freeze(folder: Path, images: Sequence[Path], *, again: bool = False) -> None:
    """Write which images the jobs of a prediction folder predict, and under which names.

    What killed processes have left unmerged is merged before.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    images : sequence of path
        See `beadseg.predict.batch.find_images`.
    again : bool
        Predict also what has results: they stay until their new ones are complete.

    Raises
    ------
    BusyError
        A process predicts into the folder.
    """
    from beadseg.predict.tables import PredictionIndex

    with locked(ensure_folder(folder)):
        names = names_of([path.absolute() for path in images], read_sources(folder))
        if (folder / files.PREDICTION).exists():
            index = PredictionIndex(folder)
            for name in names.values() if again else ():
                index.results.get(name, {})["made_with"] = ""  # never what is wanted
            index.close()
        rows = [{"name": name, "path": str(path)} for path, name in names.items()]
        document = {"schema_version": 1, "images": rows}
        ensure_folder(list_path(folder).parent)
        write_atomically(list_path(folder), json.dumps(document, indent=1))
