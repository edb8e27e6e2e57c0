"""One process per folder: a lock that also holds on network file systems, and that a dead owner does not keep.

The lock is a file that appears by a hard link, which is atomic on every file system that has links (also NFS), and is
made exclusively where there are none. Its owner shows that it lives by setting the file's time now and then. Ages are
differences of times that the file server gave, so that clocks of different machines are never compared.
"""

from __future__ import annotations

import os
import platform
import secrets
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from pydantic import ValidationError

from beadseg import files
from beadseg.config.base import Config
from beadseg.errors import RunError
from beadseg.events import OnEvent, StopFlag, ignore, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEARTBEAT = 15.0
"""The owner sets the file's time this often, s."""
STALE = 180.0
"""A lock whose time is older than this has no living owner, s."""


class Owner(Config):
    """Who holds a lock."""

    token: str
    """Names this lock among all that ever were."""
    host: str
    """Name of the machine."""
    place: str
    """The machine's boot and process space: process numbers mean something only within one."""
    pid: int
    """Process number."""
    started: float
    """When the process began, s since 1970: numbers are given again."""
    job: str = ""
    """Id of its PBS job."""

    @classmethod
    def this_process(cls) -> Owner:
        """Return what this process would write."""
        pid = os.getpid()
        started = psutil.Process(pid).create_time()
        job = os.environ.get("PBS_JOBID", "")
        return cls(token=secrets.token_hex(8), host=platform.node(), place=_place(), pid=pid, started=started, job=job)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" + (f" (job {self.job})" if self.job else "")

    @property
    def lives_here(self) -> bool | None:
        """Whether the process runs on this machine; None where that cannot be seen from here."""
        if self.place != _place():
            return None
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) < 1)
        except psutil.Error:
            return False


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
    RunError
        Another living process holds it.
    """
    path, owner = folder / files.LOCK, Owner.this_process()
    while not _create(path, owner):
        _take_over(path, on_event, stop, has_ended, heartbeat, stale)
    ended = threading.Event()
    thread = threading.Thread(target=_show_life, args=(path, owner, ended, heartbeat, on_event, stop), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if _read(path) == owner:
            path.unlink(missing_ok=True)


def _place() -> str:
    """Return what a process number is unique in: this boot of this machine, and its process namespace."""
    parts = [platform.node()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _create(path: Path, owner: Owner) -> bool:
    """Create the lock file whole; return False when there is one."""
    candidate = path.with_name(f".{path.name}-{owner.token}")
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
        candidate.unlink(missing_ok=True)


def _create_without_links(path: Path, text: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _read(path: Path) -> Owner | None:
    """Return the owner of a lock; None when there is no lock, or none that can be read."""
    try:
        return Owner.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None


def _take_over(
    path: Path,
    on_event: OnEvent,
    stop: StopFlag | None,
    has_ended: Callable[[str], bool],
    heartbeat: float,
    stale: float,
) -> None:
    """Remove the lock of a dead owner; raise `RunError` for a living one; wait while it is not known."""
    beat = first = _beat(path)
    owner = _read(path)
    name = str(owner) if owner else "an unknown process"
    reason = _why_dead(owner, has_ended)
    asked = False
    while not reason:
        beat = _beat(path)
        if beat is None or (owner is None and beat != first):  # released meanwhile, or another's by now
            return
        age = _server_time(path) - beat
        if owner is not None and (owner.lives_here or beat != first):
            raise RunError(f"Another process works on this run: {name}, last sign of life {max(0, age):.0f} s ago.",
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
    if _remove(path, owner, beat, stale):
        on_event(log(f"The lock of {name} was left behind ({reason}); it is taken over.", "warning"))


def _why_dead(owner: Owner | None, has_ended: Callable[[str], bool]) -> str:
    """Return why a lock's owner is certainly dead, or ``""``."""
    if owner is None:
        return ""
    if owner.lives_here is False:
        return "that process is gone"
    if owner.lives_here is None and owner.job and has_ended(owner.job):
        return "that job has ended"
    return ""


def _beat(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return None


def _server_time(path: Path) -> float:
    """Return the present time as the file system gives it to a new file."""
    probe = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    try:
        probe.touch()
        return probe.stat().st_mtime
    except OSError as error:
        raise files.machine_error(error, path) from error
    finally:
        probe.unlink(missing_ok=True)


def _remove(path: Path, owner: Owner | None, beat: float | None, stale: float) -> bool:
    """Remove the lock of `owner` if it still is as it was seen; of several processes that try, one does.

    Who removes a lock first makes a file named after it, exclusively. So nobody takes away, even for a moment, what
    another process has made in its place meanwhile.
    """
    claim = path.with_name(f".{path.name}-{owner.token if owner else 'unknown'}.removing")
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        claimed = _beat(claim)
        if claimed is not None and _server_time(path) - claimed >= stale:  # its maker died at it
            claim.unlink(missing_ok=True)
        time.sleep(0.05)
        return False
    except OSError as error:
        raise files.machine_error(error, path) from error
    try:
        if _read(path) != owner or _beat(path) != beat:
            return False
        path.unlink(missing_ok=True)
        return True
    finally:
        claim.unlink(missing_ok=True)


def _show_life(
    path: Path, owner: Owner, ended: threading.Event, seconds: float, on_event: OnEvent, stop: StopFlag | None
) -> None:
    """Set the lock's time until `ended`; stop the work when the lock is another's."""
    while not ended.wait(seconds):
        if _read(path) == owner:
            with suppress(OSError):
                os.utime(path)
        elif _read(path) is not None:
            on_event(log(f"The lock of {path.parent} was taken by {_read(path)}: stopping.", "error"))
            if stop is not None:
                stop.set()
            return
