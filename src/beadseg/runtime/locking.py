"""Lock files that work across machines and can be taken over from a dead owner.

`locked` keeps a folder to one process. Underneath it is a file that one process alone makes, among many on many
machines, also on network file systems.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
import shutil
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import ValidationError

from beadseg import files
from beadseg.config.base import Config
from beadseg.errors import BusyError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEARTBEAT = 15.0
"""The owner sets the file's time this often, s."""
STALE = 180.0
"""A file whose time is older than this has no living owner, s."""


@contextmanager
def locked(
    folder: Path,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    has_ended: Callable[[str], bool] = lambda job: False,
    heartbeat: float = HEARTBEAT,
    stale: float = STALE,
) -> Iterator[None]:
    """Hold the lock of a folder; wait for one whose owner gives no sign of life until it is known to be dead.

    Parameters
    ----------
    folder : pathlib.Path
        What no other process may work in meanwhile.
    on_event, stop
        Told when a lock is waited for or taken over; set when the lock is lost to another process.
    has_ended : callable
        Tells whether the PBS job of this id has certainly ended.
    heartbeat, stale : float
        As `HEARTBEAT` and `STALE`.

    Raises
    ------
    BusyError
        Another living process holds it.
    """
    path, owner = folder / files.LOCK, Owner.this_process()
    while not create(path, owner):
        _take_over(path, on_event, stop, has_ended, heartbeat, stale)

    def lost(other: Owner) -> None:
        on_event(log(f"The lock of {folder} was taken by {other}: stopping.", "error"))
        if stop is not None:
            stop.set()

    with kept_alive(path, owner, heartbeat, lost):
        yield


def _take_over(
    path: Path,
    on_event: OnEvent,
    stop: StopFlag | None,
    has_ended: Callable[[str], bool],
    heartbeat: float,
    stale: float,
) -> None:
    """Remove the lock of a dead owner; raise `BusyError` for a living one; wait while it is not known."""
    beat = first = last_beat(path)
    owner = read(path)
    name = str(owner) if owner else "an unknown process"
    reason = why_dead(owner, has_ended)
    asked = False
    while not reason:
        beat = last_beat(path)
        if beat is None or (owner is None and beat != first):  # released meanwhile, or another's by now
            return
        age = server_time(path) - beat
        if owner is not None and (owner.runs or beat != first):
            raise BusyError(f"Another process works in this folder: {name}, last sign of life {max(0, age):.0f} s ago.",
                            path.parent, "Wait until it has ended, or end it.")  # fmt: skip
        if age >= stale:
            reason = f"it gave no sign of life for {age:.0f} s"
            break
        if not asked:
            on_event(log(f"Locked by {name}; waiting for a sign of life, {stale - age:.0f} s at most.", "warning"))
            asked = True
        if stop is not None:
            stop.check()
        time.sleep(min(heartbeat, 2.0) / 2)
    if remove(path, owner, beat, stale):
        on_event(log(f"The lock of {name} was left behind ({reason}); it is taken over.", "warning"))


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a folder to fill; at the end it becomes `out`, so that all of it is there or nothing.

    It lies beside `out`, or inside where `out` is an empty folder that cannot be replaced (a mounted disk, the working
    folder). What killed processes of this machine left of `out` is removed.

    Parameters
    ----------
    out : pathlib.Path
        A new or empty folder.

    Raises
    ------
    InputError
        `out` is a file, or holds something.
    MachineError
        The disk is full, or the place is not writable.
    """
    files.refuse_full(out)
    files.refuse_unwritable(out)
    out = files.real_path(out)
    files.ensure_folder(out.parent)
    inside = out.is_dir() and (out.is_mount() or out == files.real_path(Path()) or not os.access(out.parent, os.W_OK))
    known = hashlib.sha256(f"{platform.node()}/{files.printable(out.name)}".encode()).hexdigest()[:12]
    place = out if inside else out.parent
    for left in place.glob(f"{files.TEMPORARY_PREFIX}{known}-*{files.TEMPORARY_SUFFIX}"):
        if not is_running(int(left.name.split("-")[2])):
            shutil.rmtree(left, ignore_errors=True)
    unfinished = place / f"{files.TEMPORARY_PREFIX}{known}-{os.getpid()}-{secrets.token_hex(4)}{files.TEMPORARY_SUFFIX}"
    try:
        yield files.ensure_folder(unfinished)
        try:
            if inside:
                for path in unfinished.iterdir():
                    path.rename(out / path.name)
                return
            if out.is_dir():
                files.remove_unfinished(out)
                out.rmdir()  # Windows does not rename onto a folder
            unfinished.rename(out)
        except OSError as error:
            raise files.machine_error(error, out) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


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


class Owner(ProcessId):
    """Who holds such a file."""

    token: str
    """Names this file among all that ever were."""
    host: str
    """Name of the machine."""
    job: str = ""
    """Id of its job in the batch system."""

    @classmethod
    def this_process(cls) -> Owner:
        """Return what this process would write."""
        own = ProcessId.of(os.getpid()).model_dump()
        job = os.environ.get("PBS_JOBID") or os.environ.get("SLURM_JOB_ID", "")
        return cls(token=secrets.token_hex(8), host=platform.node(), job=job, **own)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")


def is_running(pid: int) -> bool:
    """Tell whether a process of this number runs on this machine, whichever it is: all that a bare number can say."""
    return bool(psutil.pid_exists(pid))


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


def create(path: Path, owner: Owner) -> bool:
    """Create the file whole, exclusively; return False when there is one."""
    candidate = path.with_name(f"{files.TEMPORARY_PREFIX}{owner.token}{files.TEMPORARY_SUFFIX}{path.suffix}")
    text = owner.model_dump_json(indent=1)
    try:
        candidate.write_text(text, encoding="utf-8")
        try:
            path.hardlink_to(candidate)
        except FileExistsError:
            # A network file system may have made the link although its answer got lost.
            return candidate.stat().st_nlink == 2
        except OSError:
            return _create_without_links(path, text)
        return True
    except OSError as error:
        raise files.machine_error(error, path) from error
    finally:
        with suppress(OSError):  # a second name of the lock, or nobody's: it locks nothing
            candidate.unlink(missing_ok=True)


def _create_without_links(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def read(path: Path) -> Owner | None:
    """Return the owner of a file; None when there is no file, or none that can be read."""
    try:
        return Owner.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def why_dead(owner: Owner | None, has_ended: Callable[[str], bool]) -> str:
    """Return why an owner is certainly dead, or ``""``."""
    if owner is None:
        return ""
    if owner.runs is False:
        return "that process is gone"
    if owner.runs is None and owner.job and has_ended(owner.job):
        return "that job has ended"
    return ""


def living_owner(folder: Path) -> Owner | None:
    """Return which process works in a folder; None when none gives a sign of life."""
    path = folder / files.LOCK
    owner, beat = read(path), last_beat(path)
    if owner is None or beat is None:
        return None
    lives = owner.runs
    if lives is None:
        try:
            now = server_time(path)
        except MachineError:  # a folder that may only be read: the clock of this machine must do
            now = time.time()
        lives = now - beat < STALE
    return owner if lives else None


def last_beat(path: Path) -> float | None:
    """Return when the owner last showed that it lives, by the file server's clock; None when there is no file."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def server_time(path: Path) -> float:
    """Return the present time as the file system gives it to a new file."""
    probe = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError as error:
        raise files.machine_error(error, path) from error
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def remove(path: Path, owner: Owner | None, beat: float | None, stale: float) -> bool:
    """Remove the file of `owner` if it still is as it was seen; of several processes that try, one does.

    Who removes a file first makes a file named after it, exclusively. So nobody takes away, even for a moment, what
    another process has made in its place meanwhile.
    """
    claim = path.with_name(f".{path.name}-{owner.token if owner else 'unknown'}.removing")
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        claimed = last_beat(claim)
        if claimed is not None and server_time(path) - claimed >= stale:  # its maker died at it
            files.remove_file(claim)
        time.sleep(0.05)
        return False
    except OSError as error:
        raise files.machine_error(error, path) from error
    try:
        if read(path) != owner or last_beat(path) != beat:
            return False
        files.remove_file(path)
        return True
    finally:
        with suppress(OSError):
            claim.unlink(missing_ok=True)


@contextmanager
def kept_alive(path: Path, owner: Owner, seconds: float, lost: Callable[[Owner], None]) -> Iterator[None]:
    """Set the file's time while the work goes on, and remove the file at the end; `lost` hears whose it has become."""
    ended = threading.Event()
    thread = threading.Thread(target=_show_life, args=(path, owner, ended, seconds, lost), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):  # what is left behind is a dead process's, and is taken over
            if read(path) == owner:
                path.unlink(missing_ok=True)


def _show_life(path: Path, owner: Owner, ended: threading.Event, seconds: float, lost: Callable[[Owner], None]) -> None:
    while not ended.wait(seconds):
        present = read(path)
        if present == owner:
            with suppress(OSError):
                os.utime(path)
        elif present is not None:
            lost(present)
            return
