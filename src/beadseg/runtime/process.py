"""Child processes: how one starts, is followed, stops, and why it ended. Nothing else in beadseg starts one.

A `beadseg-batch` command, a function, a pool, or another program. Knows no Qt.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from beadseg.errors import BeadsegError, Cancelled, ExitCode, MachineError
from beadseg.events import LAUNCHED, STOP_FILE, Event, StopFlag
from beadseg.files import machine_error
from beadseg.runtime.locking import ProcessId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from beadseg.events import OnEvent

PROCESS = "process"
"""Kind of the first event in the file: which process writes it."""
DOUBLE_CLICK = 1.0
"""Whoever asks a second time, and not within so many seconds of the first, does not want to wait any longer."""
MOST_BYTES = 1 << 18
"""Read at one look, so that a long file does not hold the viewer up; when a file is opened again, only its end."""
NICENESS = 5
"""Priority of the process below the viewer's, POSIX; on Windows "below normal"."""

_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""Processes of this viewer that may outlive the widget that started them; their exit code is known when found again."""

LOOK_S = 0.05
"""Between two looks at what the process said."""
STOP_S = 2.0
"""Seconds after which a process that was asked to stop is killed: its files are written whole or not at all."""
FINISHED = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)
"""Exit codes of a command that did all it could."""

SIGNALS = {signal.SIGINT, signal.SIGTERM}
"""Those that ask to stop."""

_REMEDIES = {
    "audit": "use fewer --threads, or close other programs; the same command continues.",
    "train": "use a smaller batch or patch, or close other programs. What was finished is kept.",
    "predict": "close other programs, or predict by smaller tiles (tiling.tile). Images that were finished are kept.",
}
"""What to do when a command's memory ran out."""
_OTHERWISE = "close other programs, then try again."
_SHELL = 128
"""A shell tells of a signal by this plus its number."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes
    ----------
    code : int or None
        Exit code; negative for a signal; None where it is not known, because another program started the command.
    message : str
        For a person: empty when all is done.
    stopped : bool
        It was asked to stop, and did.
    """

    code: int | None
    message: str = ""
    stopped: bool = False


class Process:
    """One running or ended command.

    Parameters
    ----------
    output : pathlib.Path
        The file with its events.
    process : psutil.Process
        The process.
    popen : subprocess.Popen, optional
        The handle of whoever started it.
    command : str
        What it does, such as ``train``.
    """

    def __init__(
        self, output: Path, process: psutil.Process, popen: subprocess.Popen[bytes] | None = None, command: str = ""
    ) -> None:
        self.output, self._command = output, command
        self._process, self._popen = process, popen
        self._at = 0
        self._rest = b""
        self._stray: deque[str] = deque(maxlen=20)
        self._last_error: Event | None = None
        self._result = False
        self._asked: float | None = None
        self._patience: float | None = None

    @classmethod
    def start(cls, arguments: Sequence[str], output: Path, *, outlives: bool = False) -> Process:
        """Start ``beadseg-batch ARGUMENTS``; raises `MachineError` when that or the file cannot be made.

        Where it does not outlive the viewer it stops when its standard input ends, which is when the viewer is gone,
        however that came.
        """
        environment = {**os.environ, "PYTHONIOENCODING": "utf-8", STOP_FILE: str(_stop_file(output))}
        try:
            _stop_file(output).unlink(missing_ok=True)
            with output.open("wb"):
                pass  # what an earlier process wrote is in the run's log
            with output.open("ab") as file:
                popen = launch(arguments, environment, outlives=outlives, stdout=file, stderr=subprocess.STDOUT,
                               **_own_group())  # fmt: skip
        except OSError as error:
            raise machine_error(error, output) from error
        process = psutil.Process(popen.pid)
        _lower_priority(process)
        _STARTED[popen.pid] = popen
        _append(output, Event(PROCESS, data={"process": _identity(popen.pid), "command": list(arguments)}))
        return cls(output, process, popen, arguments[0])

    @classmethod
    def find(cls, output: Path) -> Process | None:
        """Return the process that writes `output` when it still runs on this machine, else None."""
        try:
            with output.open("rb") as file:
                head = file.read(4096)
        except OSError:
            return None
        for line in head.splitlines():
            event = _event_in(line)
            if event is not None and event.kind == PROCESS:
                with suppress(psutil.Error, KeyError, TypeError, ValueError):
                    known = ProcessId.model_validate(event.data["process"])
                    found = cls(output, psutil.Process(known.pid), _STARTED.get(known.pid), event.data["command"][0])
                    if known.runs and found.running:
                        found.skip_to_end()
                        return found
        return None

    def skip_to_end(self) -> None:
        """Leave out all but the last news."""
        with suppress(OSError):
            self._at = max(0, self.output.stat().st_size - MOST_BYTES)

    @property
    def pid(self) -> int:
        """Process number."""
        return int(self._process.pid)

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        if self._popen is not None:
            if over := self._popen.poll() is not None:
                _forget(self._popen)
            return not over
        with suppress(psutil.Error):
            return bool(self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE)
        return False

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._asked is not None

    def news(self) -> list[Event]:
        """Return what was said since the last look; kill a process that was asked to stop and is out of patience."""
        if self._asked is not None and self._patience is not None and time.monotonic() - self._asked > self._patience:
            self.kill()
        events = []
        for line in self._lines():
            event = _event_in(line)
            if event is None:
                self._stray.append(line.decode("utf-8", "replace"))
                continue
            self._last_error = event if event.kind == "error" else self._last_error
            self._result |= event.kind == "result"
            events.append(event)
        return events

    def stop(self, patience: float | None = None) -> None:
        """Ask the process to stop; asked again a while later, it is killed.

        Parameters
        ----------
        patience : float, optional
            It is killed by the first look at its news after so many seconds. None: it may finish what it has in hand,
            such as a step of training and its checkpoint, however long that takes.
        """
        if not self.running:
            return
        if self._asked is None:
            self._asked, self._patience = time.monotonic(), patience
            self._ask()
        elif time.monotonic() - self._asked > DOUBLE_CLICK:
            self.kill()

    def end(self) -> None:
        """Ask the process to stop, for a viewer that is being closed: it finishes what it has in hand by itself."""
        self.stop()
        if self._popen is not None and self.running:
            threading.Thread(target=_await, args=(self._popen,), name="beadseg ends a training", daemon=True).start()

    def kill(self) -> None:
        """End the process at once; files are written whole or not at all, so nothing is half there."""
        with suppress(psutil.Error):
            for process in [*self._process.children(recursive=True), self._process]:
                with suppress(psutil.Error):
                    process.kill()
        if self._popen is not None:
            _await(self._popen)

    def outcome(self) -> Outcome:
        """Return how it ended; call it after the last `news`."""
        code = None if self._popen is None else self._popen.poll()
        if self.stopping:
            return Outcome(code, stopped=True)
        if code == ExitCode.OK or (code is None and self._result):
            return Outcome(code)
        if self._last_error is not None:
            cancelled = self._last_error.data.get("exit_code") == ExitCode.CANCELLED
            return Outcome(code, self._last_error.message, stopped=cancelled)
        return Outcome(code, self._death(code))

    def _death(self, code: int | None) -> str:
        """Return why a process ended that could not say it itself."""
        if was_killed(code):
            return why_ended(code, self._command)
        last = next((line for line in reversed(self._stray) if line.strip()), "it said nothing")
        return f"The process failed (exit code {code}): {last}"

    def _ask(self) -> None:
        """Ask to stop, once: a second Ctrl-C would end the process in the middle of a step."""
        with suppress(psutil.Error, OSError):
            if sys.platform == "win32":  # a process without a console of ours hears no Ctrl-Break
                _stop_file(self.output).touch()
            else:
                self._process.send_signal(signal.SIGINT)

    def _lines(self) -> list[bytes]:
        try:
            with self.output.open("rb") as file:
                file.seek(self._at)
                found = file.read(MOST_BYTES)
        except OSError:
            return []
        self._at += len(found)
        *lines, self._rest = (self._rest + found).split(b"\n")
        return [line for line in lines if line]

    @property
    def error(self) -> BeadsegError | None:
        """The last error that it reported."""
        return None if self._last_error is None else _error_of(self._last_error)

    @property
    def drained(self) -> bool:
        """Whether everything in the file was looked at."""
        try:
            return self.output.stat().st_size <= self._at
        except OSError:
            return True


def launch(
    arguments: Sequence[str], environment: Mapping[str, str], *, outlives: bool = False, **more: Any
) -> subprocess.Popen[bytes]:
    """Start ``beadseg-batch ARGUMENTS``; unless it `outlives` this process, it stops when its standard input ends.

    It ends with this process, however that came.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "beadseg", *arguments],
        stdin=subprocess.DEVNULL if outlives else subprocess.PIPE,
        env=environment if outlives else {**environment, LAUNCHED: "1"},
        **more,
    )


def end_at_once(popen: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, and let go of it."""
    if popen.poll() is None:
        popen.kill()
    _await(popen)


def run_briefly(words: Sequence[str], seconds: float, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run another program that asks nothing, and return what it wrote.

    Raises
    ------
    OSError
        It cannot be started.
    subprocess.TimeoutExpired
        It took more than `seconds`, and was ended.
    """
    return subprocess.run(
        words, capture_output=True, encoding="utf-8", errors="replace", timeout=seconds, stdin=subprocess.DEVNULL,
        check=False, **more,
    )  # fmt: skip


def _await(popen: subprocess.Popen[bytes]) -> None:
    popen.wait()
    _forget(popen)


def _forget(popen: subprocess.Popen[bytes]) -> None:
    """Let go of a process that has ended."""
    _STARTED.pop(popen.pid, None)
    if popen.stdin is not None:
        popen.stdin.close()


def _stop_file(output: Path) -> Path:
    """Return the file that asks the process that writes `output` to stop."""
    return output.with_suffix(".stop")


def _own_group() -> dict[str, Any]:
    """Return what makes Ctrl-C in the viewer's terminal not reach the process.

    A group, not a session: Linux shares the processor out among sessions before it looks at priorities.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"process_group": 0}


def _lower_priority(process: psutil.Process) -> None:
    """Let the viewer go first; the threads that the process will have inherit it."""
    with suppress(psutil.Error):
        below = min(19, int(psutil.Process().nice()) + NICENESS) if sys.platform != "win32" else 0
        process.nice(psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else below)


def _identity(pid: int) -> dict[str, Any]:
    try:
        return ProcessId.of(pid).model_dump()
    except psutil.Error as error:
        raise MachineError(f"The process ended at once ({error}).", sys.executable) from None


def _append(path: Path, event: Event) -> None:
    with suppress(OSError), path.open("ab") as file:
        file.write(json.dumps(event.as_dict()).encode() + b"\n")


def _event_in(line: str | bytes) -> Event | None:
    """Return the event in a line; None for a line without one."""
    try:
        values = json.loads(line)
        return Event(str(values["kind"]), str(values["message"]), values["level"], dict(values["data"]))
    except (ValueError, KeyError, TypeError):
        return None


def run_command(
    arguments: Sequence[str], output: Path, on_event: OnEvent, stop: StopFlag, *, at_once: bool = False
) -> list[Event]:
    """Run ``beadseg-batch ARGUMENTS --json`` and return its events.

    Parameters
    ----------
    arguments : sequence of str
        The command and its options, without ``--json``.
    output : pathlib.Path
        The file that the process writes its events to.
    on_event, stop
        Hears every event, in the thread of this call; ends the process: within three seconds, or with `at_once`
        immediately.

    Raises
    ------
    BeadsegError
        The process failed: its own error, with its exit code.
    MachineError
        The process could not start, was ended by the system, or could not say why it failed.
    Cancelled
        `stop` was set.
    """
    child = Process.start([*arguments, "--json"], output)
    events: list[Event] = []
    while True:
        running = child.running  # asked before the news, so that the last ones are not missed
        for event in child.news():
            events.append(event)
            on_event(event)
        if not running and child.drained:
            break
        if stop and running:
            if at_once:
                child.kill()
            elif not child.stopping:
                child.stop(STOP_S)
        time.sleep(LOOK_S)
    if stop:
        raise Cancelled("Stopped on request.", remedy="What was finished is kept; run it again to go on.")
    outcome = child.outcome()
    if outcome.code not in FINISHED:
        raise child.error or MachineError(outcome.message or "The process failed.")
    return events


def _error_of(event: Event) -> BeadsegError:
    """Return the error that an event reports, as the process raised it."""
    error = BeadsegError(str(event.data.get("what", event.message)), event.data.get("where"), event.data.get("remedy"))
    with suppress(ValueError):
        error.exit_code = ExitCode(event.data.get("exit_code", ExitCode.BUG))
    return error


def was_killed(code: int | None) -> bool:
    """Tell whether the system ended a process with this exit code; None where the code is not known."""
    return code is None or code < 0 or code == _SHELL + 9  # signal.SIGKILL, which Windows lacks


def why_ended(code: int | None, command: str, what: str = "The process") -> str:
    """Return a message about the end of ``beadseg-batch COMMAND``, or of one of its processes."""
    often = f" Often the memory ran out: {_REMEDIES.get(command, _OTHERWISE)}" if was_killed(code) else ""
    return f"{what} {ending(code)}.{often}"


def ending(code: int | None) -> str:
    """Return how a process with this exit code ended, as the end of a sentence."""
    if not was_killed(code):
        return f"ended with exit code {code}"
    if code is None:
        return "exited without an error message"
    number = -code if code < 0 else code - _SHELL
    name = f"signal {number}"
    with suppress(ValueError):
        name = signal.Signals(number).name
    return f"was ended by the system ({name})"


def call(function: Callable[..., object], arguments: Sequence[Any], on_event: OnEvent, stop: StopFlag) -> int:
    """Call ``function(*arguments, on_event, stop)`` in a process of its own; return the exit code.

    What kills it, or eats its memory, leaves this process alone. Both hold an end of a pipe: the child sends its events
    and how it ended; whatever comes from here, also the end of this process, asks it to stop.

    Raises
    ------
    BeadsegError
        Of the function.
    """
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=_called, args=(there, function, arguments))
    with _signals_kept():
        child.start()
    there.close()
    try:
        error = _follow(here, on_event, stop)
        child.join()
    finally:
        here.close()
        if child.is_alive():
            child.kill()
            child.join()
    if error is not None:
        raise error
    return child.exitcode or 0


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Block the signals that ask to stop while a child starts: it inherits that, and hears of them by the pipe."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _follow(connection: Connection[Any, Any], on_event: OnEvent, stop: StopFlag) -> BeadsegError | None:
    """Pass the child's events on until it ends; return the error that it ended with, if any."""
    asked = False
    with suppress(EOFError, ConnectionError):
        while True:
            if stop and not asked:
                connection.send("stop")
                asked = True
            if not connection.poll(4 * LOOK_S):
                continue
            item = connection.recv()
            if not isinstance(item, Event):
                return item if isinstance(item, BeadsegError) else None
            on_event(item)
    return None


def _called(connection: Connection[Any, Any], function: Callable[..., object], arguments: Sequence[Any]) -> None:
    """Do what the child of `call` does."""
    _leave_signals_to_the_parent()
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # as the command does
    stop, sending = StopFlag(), threading.Lock()

    def send(item: Event | BeadsegError | None) -> None:
        with sending, suppress(OSError):  # a parent that is gone hears nothing
            connection.send(item)

    def hear() -> None:
        with suppress(EOFError, OSError):
            connection.recv()
        stop.set()

    threading.Thread(target=hear, daemon=True).start()
    try:
        function(*arguments, send, stop)
    except BeadsegError as error:
        send(error)
    else:
        send(None)


def pool(workers: int) -> ProcessPoolExecutor:
    """Return processes that work for this one, and leave Ctrl-C and the end of a job to it."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=spawn, initializer=_leave_signals_to_the_parent)


@contextmanager
def helpers(function: Callable[..., object], calls: Iterable[Sequence[Any]]) -> Iterator[None]:
    """Call a function in further processes, one per item of `calls`, for as long as the context lasts.

    They are killed at its end, and end with this process. How they fare is not told: whoever starts them does what they
    leave.
    """
    here, there = multiprocessing.Pipe()
    start = multiprocessing.get_context("spawn").Process
    children = [start(target=_helped, args=(there, function, call), daemon=True) for call in calls]
    with _signals_kept():
        for child in children:
            child.start()
    there.close()
    try:
        yield
    finally:
        here.close()
        for child in children:
            child.kill()
            child.join()


def _helped(connection: Connection[Any, Any], function: Callable[..., object], arguments: Sequence[Any]) -> None:
    """Do what a child of `helpers` does."""
    _leave_signals_to_the_parent()

    def watch() -> None:
        with suppress(EOFError, OSError):
            connection.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    with suppress(BeadsegError):
        function(*arguments)


def _leave_signals_to_the_parent() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
