"""A command of the batch engine as a child process, for work that would hold up the interface even in a thread."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from queue import Empty, SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from beadseg.errors import BeadsegError, Cancelled, ExitCode, MachineError
from beadseg.events import LAUNCHED, Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.events import OnEvent, StopFlag

POLL_S = 0.1
"""How often a stop is looked for while the child says nothing."""
PATIENCE_S = 2.0
"""How long a child that was asked to end may take before it is killed."""
_GOOD = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.FLAGGED)


def run_batch(arguments: Sequence[str], on_event: OnEvent, stop: StopFlag) -> dict[str, Any]:
    """Run ``beadseg-batch ARGUMENTS --json`` and return the data of its result.

    Parameters
    ----------
    arguments : sequence of str
        Command and options, without ``--json``.
    on_event : callable
        Gets every event of the child, in the thread of this call.
    stop : StopFlag
        When it is set the child is asked to end, and killed when it does not. It stops by itself when this process
        is gone.

    Raises
    ------
    BeadsegError
        What the child ended with.
    MachineError
        The child was killed from outside or could not say why it failed.
    Cancelled
        `stop` was set.
    """
    command = [sys.executable, "-m", "beadseg", *arguments, "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.PIPE, text=True, encoding="utf-8",
        errors="replace", env={**os.environ, LAUNCHED: "1"},
    ) as child:  # fmt: skip
        lines, complaints = _read(child.stdout), _read(child.stderr)
        try:
            result, error = _follow(child, lines, on_event, stop)
        finally:
            _end(child)
    if stop:
        raise Cancelled("Stopped on request.", remedy="What was finished is kept; run it again to go on.")
    if error is not None:
        raise error
    if child.returncode not in _GOOD:
        raise _unexplained(child.returncode, arguments[0], complaints)
    return result


def _follow(
    child: subprocess.Popen[str], lines: SimpleQueue[str | None], on_event: OnEvent, stop: StopFlag
) -> tuple[dict[str, Any], BeadsegError | None]:
    """Hand over events until the child ends; return the data of its result, and its error."""
    result: dict[str, Any] = {}
    error: BeadsegError | None = None
    while not stop:
        try:
            line = lines.get(timeout=POLL_S)
        except Empty:
            continue
        if line is None:
            child.wait()
            break
        event = _event(line)
        if event is None:
            continue
        if event.kind == "result":
            result = event.data
        if event.kind == "error":
            error = _error(event)
        on_event(event)
    return result, error


def _event(line: str) -> Event | None:
    try:
        values = json.loads(line)
        return Event(str(values["kind"]), str(values["message"]), values["level"], dict(values["data"]))
    except (ValueError, KeyError, TypeError):
        return None


def _error(event: Event) -> BeadsegError:
    error = BeadsegError(str(event.data.get("what", event.message)), event.data.get("where"), event.data.get("remedy"))
    with contextlib.suppress(ValueError):
        error.exit_code = ExitCode(event.data.get("exit_code", ExitCode.BUG))
    return error


def _unexplained(code: int, command: str, complaints: SimpleQueue[str | None]) -> MachineError:
    said = []
    with contextlib.suppress(Empty):
        while (line := complaints.get(timeout=POLL_S)) is not None:
            said.append(line.strip())
    how = f"was ended from outside (signal {-code}), perhaps for want of memory" if code < 0 else f"ended with {code}"
    last = f": {said[-1]}" if said else ""
    return MachineError(f"The process `beadseg-batch {command}` {how}{last}.", remedy="Run it again; it continues.")


def _read(stream: IO[str] | None) -> SimpleQueue[str | None]:
    """Return a queue that gets the lines of a stream, and None at its end."""
    found: SimpleQueue[str | None] = SimpleQueue()

    def pump() -> None:
        with contextlib.suppress(ValueError, OSError):  # closed while reading
            for line in stream or ():
                found.put(line)
        found.put(None)

    threading.Thread(target=pump, name="beadseg child", daemon=True).start()
    return found


def _end(child: subprocess.Popen[str]) -> None:
    """End a child that still runs: it stops by itself when its standard input ends, also where there are no signals."""
    if child.poll() is not None:
        return
    if child.stdin is not None:
        child.stdin.close()
    if sys.platform != "win32":  # there it would be killed at once
        child.terminate()
    try:
        child.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
