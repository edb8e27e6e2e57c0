"""Every error that beadseg raises on purpose, and the exit code a command ends with for it.

An error says what is wrong, where, and what to do about it. Exit codes of `beadseg-batch`:

====  ==========================================================================================
code  meaning
====  ==========================================================================================
0     everything asked for was done
1     an unexpected failure inside beadseg (a bug; the traceback is in the log)
2     a wrong input or option: nothing was started
3     finished, but some items failed: they are listed at the end and in ``failures.csv``
4     the machine could not do it: disk full, folder not writable, out of memory, no such device
5     the result is implausible and is flagged (see the log and ``counts.csv``), or the training loss is not finite
6     the job's time was up: everything so far is kept, and the same command goes on
130   cancelled by the user; what was finished is kept
137   one of several processes was killed, e.g. for its memory: the same command goes on from the last checkpoint
====  ==========================================================================================
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class ExitCode(IntEnum):
    """Exit status of `beadseg-batch`; see the module's table."""

    OK = 0
    BUG = 1
    INPUT = 2
    SOME_FAILED = 3
    MACHINE = 4
    FLAGGED = 5
    OUT_OF_TIME = 6
    CANCELLED = 130
    KILLED = 137


class BeadsegError(Exception):
    """Base of every error raised on purpose.

    Parameters
    ----------
    what : str
        One sentence: what is wrong, with the offending value.
    where : str or pathlib.Path, optional
        The file, folder or option concerned.
    remedy : str, optional
        One sentence: what the user can do.
    """

    exit_code: ExitCode = ExitCode.INPUT

    def __init__(self, what: str, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(what, self.where, remedy)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


class InputError(BeadsegError):
    """A file, folder or option given by the user cannot be used."""


class ImageError(InputError):
    """An image or mask cannot be read, or is not what it must be."""


class ConfigError(InputError):
    """A configuration file, preset or ``--set`` override is wrong."""


class RunError(InputError):
    """A run folder is missing, incomplete, of a newer version, or belongs to something else."""


class BusyError(RunError):
    """Another process works in the folder."""


class TrainingError(BeadsegError):
    """Training failed: the loss became NaN or infinite."""

    exit_code = ExitCode.FLAGGED


class MachineError(BeadsegError):
    """The machine cannot do it: disk, memory, device, permissions."""

    exit_code = ExitCode.MACHINE


class HeldError(MachineError):
    """A file cannot be replaced, because another program has it open."""


class ProcessKilledError(MachineError):
    """One of several processes was killed; another try goes on from the last checkpoint, as a chain of jobs does."""

    exit_code = ExitCode.KILLED


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception means that memory ran out, of the processor or of a GPU.

    Torch's own are known by name and text: torch is not imported for a message.
    """
    if isinstance(error, BeadsegError):
        return False
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    signs = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
    return isinstance(error, RuntimeError | OSError) and any(sign in text for sign in signs)


class Cancelled(BeadsegError):  # noqa: N818 (what happened is not an error)
    """The user asked to stop; what was finished is kept."""

    exit_code = ExitCode.CANCELLED


class OutOfTime(Cancelled):
    """The time that a batch system grants is up; what was finished is kept, and the same command goes on."""

    exit_code = ExitCode.OUT_OF_TIME
