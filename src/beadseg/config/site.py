"""A cluster as beadseg sees it: one YAML file per site, the same for every job that is sent there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from beadseg.config.base import Config

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

Word = Annotated[str, Field(pattern=r"^[\w.@:+/-]+$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*$")]


def walltime_seconds(text: str) -> int:
    """Return a walltime ``HH:MM:SS`` (or ``MM:SS``, or ``SS``) in s."""
    seconds = 0
    for part in text.split(":"):
        seconds = seconds * 60 + int(part)
    return seconds


def as_walltime(value: Any) -> Any:
    """Return a walltime as ``HH:MM:SS``; YAML reads an unquoted 12:00:00 as a number of seconds."""
    if isinstance(value, str):
        value = value.strip()
        if re.fullmatch(r"(\d+:){1,2}\d+", value):
            value = walltime_seconds(value)
        elif re.fullmatch(r"(?=.)(\d+d)?(\d+h)?(\d+m)?(\d+s)?", value):
            value = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", value))
        else:
            raise ValueError(f"{value!r} is not a time: write it as HH:MM:SS, or as 12h, 90m or 1d12h")
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value // 3600:02d}:{value // 60 % 60:02d}:{value % 60:02d}"
    return value


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise ValueError("must be one line")
    return text


def _without_keyword(value: Any) -> Any:
    return value.removeprefix("select=") if isinstance(value, str) else value


Line = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]
Walltime = Annotated[str, BeforeValidator(as_walltime), Field(pattern=r"^\d{2,}:\d{2}:\d{2}$")]
Select = Annotated[str, BeforeValidator(_without_keyword), Field(pattern=r"^[\w.:=+-]+$")]


class ContainerConfig(Config):
    """A Singularity or Apptainer image that holds beadseg."""

    image: Path
    """The image file, an absolute path that every node sees."""
    program: Literal["singularity", "apptainer"] = "singularity"
    """What runs it."""
    options: tuple[Line, ...] = ("--nv",)
    """Options of ``exec``; --nv shows the GPUs inside."""
    binds: tuple[Annotated[str, Field(pattern=r"^/[^,\n]*$")], ...] = ()
    """Folders that are visible inside, beside home, /tmp and the folder that the job is sent from."""


class MailConfig(Config):
    """When the batch system writes an e-mail, and to whom."""

    events: Annotated[str, Field(pattern=r"^(n|[abe]{1,3})$")] = "n"
    """a: aborted, b: begins, e: ends, together as in abe; n: never."""
    to: tuple[Annotated[str, Field(pattern=r"^[^\s,@]+@[^\s,@]+$")], ...] = ()
    """Addresses; when empty the batch system's own."""


class SiteConfig(Config):
    """How jobs are sent to one cluster."""

    scheduler: Literal["pbs", "slurm"] = "pbs"
    """Batch system: PBS (OpenPBS, PBS Pro) or Slurm."""
    queue: Word | None = None
    """Queue; in Slurm the partition. None: the server's default."""
    project: Word | None = None
    """Project that the time is accounted to; in Slurm the account."""
    select: Select = "1:ncpus=4:mem=16gb"
    """What a job needs, as after PBS' ``-l select=``. For Slurm ``ncpus``, ``ngpus`` and ``mem`` become its options."""
    place: Word | None = None
    """As after PBS' ``-l place=``; for Slurm ``scatter`` or ``excl``."""
    walltime: Walltime = "12:00:00"
    """Longest time of one job; longer training goes on in the next."""
    longest_walltime: Walltime | None = None
    """The most that the queue allows; a longer one is refused before anything is sent."""
    margin: Annotated[float, Field(ge=1.0)] = 120.0
    """Time before the end of the walltime at which work ends in a checkpoint, s."""
    jobs: Annotated[int, Field(ge=1, le=1000)] = 10
    """Maximum number of jobs, one after the other, that a training is continued in."""
    processes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Processes that train one network on each node, usually one per GPU that `select` asks for. None: one."""
    modules: tuple[Word, ...] = ()
    """Environment modules to load."""
    setup: tuple[Line, ...] = ()
    """Shell lines that are run before, e.g. ``source /project/venv/bin/activate``."""
    command: tuple[Line, ...] = ("beadseg-batch",)
    """The program and its first words, inside the container where there is one."""
    container: ContainerConfig | None = None
    """The container that the program runs in. None: none."""
    environment: dict[Variable, Line] = Field(default={})
    """Variables that are set for the program."""
    scratch: Annotated[str, Field(pattern=r"^(\$[A-Za-z_]\w*|/)[^\n\"`\\]*$")] | None = None
    """Fast folder of a node, e.g. /scratch or ``$TMPDIR``, for temporary files. None: the system's."""
    stage: bool = False
    """Copy the dataset to `scratch` when a job begins, and read it there."""
    mail: MailConfig = MailConfig()
    """E-mail."""
    directives: tuple[Annotated[str, Field(pattern=r"^-[^\n]*$")], ...] = ()
    """Further options of qsub or sbatch, one a line, e.g. ``-W group_list=beads`` or ``-q long``."""

    @model_validator(mode="after")
    def _times_fit(self) -> SiteConfig:
        longest = self.longest_walltime
        if longest is not None and walltime_seconds(self.walltime) > walltime_seconds(longest):
            raise ValueError(f"walltime {self.walltime} is longer than longest_walltime {longest}")
        if self.stage and self.scratch is None:
            raise ValueError("stage needs scratch: say where the dataset is copied to")
        return self
