"""The terminal: events become text, a bar or JSON lines; Ctrl-C, signals and the end of a walltime ask to stop.

The first Ctrl-C asks to stop, a second one ends the work at once.
"""

from __future__ import annotations

import errno
import json as json_text
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO, TypeVar, cast

from beadseg.errors import BeadsegError, Cancelled, ConfigError, HeldError
from beadseg.events import DEADLINE, LAUNCHED, STOP_FILE, Deadline, Event, OnEvent, StopFlag

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

T = TypeVar("T")

LOG_SECONDS = 30.0
"""In a log, progress is written when this much time went by, s …"""
LOG_STEP = 0.1
"""… or when this share of the work more is done …"""
LOG_QUIET = 10.0
"""… but not sooner than this, s."""

_GONE = {errno.EPIPE, errno.EIO, errno.EBADF, errno.EINVAL, errno.ECONNRESET}
"""What writing to a pipe whose reader has ended, or to a terminal that was closed, fails with."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What writing to a file on a full disk fails with."""
_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "bold red"}

STOP = StopFlag()
"""Set by the first signal that asks to stop; every command hands it to the work it starts."""

MARGIN = "BEADSEG_MARGIN"
"""Environment variable of job scripts: how long before `DEADLINE` the work must end, s."""

FILE_SECONDS = 0.3
"""How often the file that asks to stop is looked for, s."""

_SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Output:
    """A text stream whose reader may go away (``| head``, a closed terminal), or its disk be full: the work goes on.

    Parameters
    ----------
    stream : text file
        The stream; everything but writing is left to it.

    Attributes
    ----------
    gone : bool
        Nobody reads any more.
    full : bool
        It goes into a file on a full disk; said on standard error, unless it is that.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self.gone, self.full = stream, False, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, to nowhere when nobody reads any more."""
        return self._heard(lambda: self._stream.write(text)) or 0

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Pass on what was written."""
        self._heard(self._stream.flush)

    def _heard(self, act: Callable[[], T]) -> T | None:
        try:
            return act()
        except OSError as error:
            if error.errno not in _GONE | _FULL:
                raise
            self.full = error.errno in _FULL
            if self.full and sys.stderr is not self:
                print(f"beadseg-batch: The output cannot be written: {error.strerror}. The work goes on without it.",
                      file=sys.stderr)  # fmt: skip
        self.gone = True
        with suppress(OSError, ValueError):  # a stream without a file below it
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        with suppress(OSError, ValueError):
            self._stream.flush()
        return None


@contextmanager
def lenient_streams() -> Iterator[Output]:
    """Let standard output, which is yielded, and standard error be closed at any time, or full, without an error.

    A descriptor that is closed is opened on nothing: else the next file that is opened gets its number, and the output.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    before = sys.stdout, sys.stderr
    streams = [
        open(number, "w", encoding="utf-8", closefd=False) if stream is None else stream  # noqa: SIM115
        for number, stream in zip((1, 2), before, strict=True)
    ]
    outputs = [Output(stream) for stream in streams]
    sys.stdout, sys.stderr = (cast("TextIO", output) for output in outputs)
    try:
        yield outputs[0]
    finally:
        for stream in outputs:
            stream.flush()
        sys.stdout, sys.stderr = (
            stream if earlier is None else earlier for stream, earlier in zip(streams, before, strict=True)
        )


@contextmanager
def reporter(json: bool = False, quiet: bool = False, stream: TextIO | None = None) -> Iterator[OnEvent]:
    """Yield the listener that a command gives to the core.

    Parameters
    ----------
    json : bool
        One JSON object per event and line, those of level "debug" too.
        An error that ends the command becomes a last event of kind ``"error"``.
    quiet : bool
        Only results, warnings and errors.
    stream : text file, optional
        Where to write; standard output when not given.
    """
    out = sys.stdout if stream is None else stream
    with _listener(json, out) as listen:
        lock = threading.Lock()

        def on_event(event: Event) -> None:
            if not json and (event.level == "debug" or (quiet and not _is_important(event))):
                return
            with lock:
                listen(event)

        try:
            yield on_event
        except BeadsegError as error:
            if json:
                on_event(_error_event(error))
            raise


class HeldLater:
    """Files of a result that another program has open: told as an error when all else is written and said."""

    def __init__(self) -> None:
        self._errors: list[HeldError] = []

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Go on after `HeldError`, which `beadseg.files.write_together` raises when the rest is written."""
        try:
            yield
        except HeldError as error:
            self._errors.append(error)

    def tell(self) -> None:
        """Raise what was held, the files of several folders together."""
        if self._errors:
            *others, last = self._errors
            what = " ".join([*(f"{error.where}: {error.what}" for error in others), last.what])
            raise HeldError(what, None if others else last.where, last.remedy)


def _is_important(event: Event) -> bool:
    return event.kind == "result" or event.level in ("warning", "error")


def _error_event(error: BeadsegError) -> Event:
    data = {"what": error.what, "where": error.where, "remedy": error.remedy, "exit_code": int(error.exit_code)}
    return Event("error", str(error), "error", data)


def _listener(json: bool, out: TextIO) -> AbstractContextManager[OnEvent]:
    if json:
        return _json_lines(out)
    if out.isatty():
        return _terminal(out)
    return _log_lines(out)


@contextmanager
def _json_lines(out: TextIO) -> Iterator[OnEvent]:
    """Write one JSON object per line, each at once."""

    def listen(event: Event) -> None:
        print(json_text.dumps(event.as_dict(), default=str), file=out, flush=True)

    yield listen


@contextmanager
def _log_lines(out: TextIO) -> Iterator[OnEvent]:
    """Write ``2026-01-02 03:04:05 INFO message``, each line at once; progress sparsely."""
    pace = LogPace()

    def listen(event: Event) -> None:
        message = pace.line(event) if event.kind == "progress" else event.message
        if not message:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        for line in message.splitlines():
            print(f"{stamp} {event.level.upper()} {line}", file=out, flush=True)

    yield listen


class LogPace:
    """Decides which progress events become a line of a log: none for quick work, few for long work."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._written: dict[str, tuple[int, float]] = {}

    def line(self, event: Event) -> str:
        """Return the line for a progress event, or ``""`` when it is not yet time for one."""
        task, done, total = event.data["task"], int(event.data["done"]), int(event.data["total"])
        now = self._clock()
        last_done, last_time = self._written.setdefault(task, (done, now))
        if done < last_done:  # the task starts again
            last_done, last_time = self._written[task] = (done, now)
        share, waited = (done - last_done) / max(1, total), now - last_time
        if not (waited >= LOG_SECONDS or (share >= LOG_STEP and waited >= LOG_QUIET)):
            return ""
        self._written[task] = (done, now)
        return f"{task}: {done}/{total}"


@contextmanager
def _terminal(out: TextIO) -> Iterator[OnEvent]:
    """Show a bar per task at the bottom and coloured lines above it."""
    from rich.console import Console

    console = Console(file=out, highlight=False, emoji=False)
    with _bars(console) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(event: Event) -> None:
            if event.kind == "progress":
                _advance(bars, tasks, event)
            elif event.message:
                console.print(event.message, style=_STYLES[event.level], markup=False, soft_wrap=True)

        yield listen


def _bars(console: Console) -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
    )
    return Progress(*columns, console=console, transient=True)


def _advance(bars: Progress, tasks: dict[str, TaskID], event: Event) -> None:
    task, done, total = event.data["task"], event.data["done"], event.data["total"]
    if task not in tasks:
        tasks[task] = bars.add_task(task, total=total)
    bars.update(tasks[task], completed=done, total=total)
    if done >= total:
        bars.remove_task(tasks.pop(task))


if sys.platform == "win32":  # Ctrl-Break: the one signal that a process there can send to another
    _SIGNALS.append(signal.SIGBREAK)


@contextmanager
def stop_on_signals(flag: StopFlag = STOP) -> Iterator[StopFlag]:
    """Set `flag` at the first signal that asks to stop; raise `Cancelled` in the main thread at the second.

    Outside the main thread nothing is installed, since Python allows no handlers there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if flag and number != signal.SIGTERM:
            raise Cancelled("Ended at once.", remedy="What was written before is kept.")
        flag.set()

    _watch_file(flag)
    _watch_launcher(flag)
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_file(flag: StopFlag) -> None:
    """Set `flag` when the file appears that `STOP_FILE` names: how another program asks where there are no signals."""
    name = os.environ.get(STOP_FILE)
    if not name:
        return

    def watch() -> None:
        while not Path(name).exists():
            time.sleep(FILE_SECONDS)
        flag.set()

    threading.Thread(target=watch, name="beadseg-stop-file", daemon=True).start()


def _watch_launcher(flag: StopFlag) -> None:
    """Set `flag` when the process ends that started this one for itself alone: nobody else would end it."""
    if not os.environ.get(LAUNCHED):
        return

    def watch() -> None:
        while os.read(0, 1):
            pass
        flag.set()

    threading.Thread(target=watch, name="beadseg-launcher", daemon=True).start()


def stop_in_time(walltime: str | None = None, margin: float | None = None, flag: StopFlag = STOP) -> StopFlag:
    """Return the flag of a command that must end before its time is up.

    Parameters
    ----------
    walltime : str, optional
        ``HH:MM:SS`` from now on; when not given, what the job script says.
    margin : float, optional
        How long before the end work must stop, s; when not given, what the job script says.
    flag : StopFlag
        What signals set.

    Raises
    ------
    ConfigError
        A time cannot be read.
    """
    end = os.environ.get(DEADLINE)
    if walltime is not None:
        from beadseg.config.site import as_walltime, walltime_seconds

        try:
            end = str(time.time() + walltime_seconds(as_walltime(walltime)))
        except ValueError:
            text = f"{walltime!r} is not a time."
            raise ConfigError(
                text, "--walltime", "Write it as HH:MM:SS, for example 12:00:00, or as 12h or 90m."
            ) from None
    if not end:
        return flag
    try:
        return Deadline(flag, float(end), float(os.environ.get(MARGIN) or 120) if margin is None else margin)
    except ValueError:
        raise ConfigError("Must be numbers of seconds.", f"{DEADLINE}, {MARGIN}", "Unset or correct them.") from None
