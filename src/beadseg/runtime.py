"""Processes of this machine: which one it was, and whether that one still runs. One rule for locks and for the viewer.

On Linux a process is known by its boot and by the clock ticks from the boot to its start. Both stay as they are when
the clock of the machine is set; the start in seconds since 1970 does not, because Linux computes it from the present
time.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

import psutil

from beadseg.config.base import Config


class ProcessId(Config):
    """One process, told apart from every later one that is given the same number."""

    place: str
    """The machine's boot and process space: process numbers mean something only within one."""
    pid: int
    """Process number."""
    started: float
    """When the process began, s since 1970. A clock that is set changes what Linux answers: see `ticks`."""
    ticks: int | None = None
    """Clock ticks from the boot to the start of the process, where the system counts them (Linux)."""

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """Return the process that has this number now; raises `psutil.Error` when there is none."""
        return cls(place=_place(), pid=pid, started=psutil.Process(pid).create_time(), ticks=_ticks(pid))

    @property
    def runs(self) -> bool | None:
        """Whether the process runs on this machine; None where that cannot be seen from here."""
        if self.place != _place():
            return None
        try:
            process = psutil.Process(self.pid)
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return False
            ticks = _ticks(self.pid)
            if ticks is not None and self.ticks is not None:
                return ticks == self.ticks
            return bool(abs(process.create_time() - self.started) < 1)
        except psutil.Error:
            return False


def _ticks(pid: int) -> int | None:
    """Return the clock ticks from the boot to the start of a process (field 22 of ``/proc/PID/stat``), or None."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
        return int(line.rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _place() -> str:
    """Return what a process number is unique in: this boot of this machine, and its process namespace."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)
