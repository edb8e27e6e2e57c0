"""How the core tells the outside what happens, and how the outside tells it to stop.

The core neither prints nor draws: it calls an `OnEvent` with `Event` objects, and looks at a `StopFlag` between
units of work. The command line turns events into a progress bar, log lines or JSON; the widgets into a bar and curves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from beadseg.errors import Cancelled, OutOfTime

if TYPE_CHECKING:
    from pathlib import Path

STOP_FILE = "BEADSEG_STOP_FILE"
"""Environment variable with the path of a file: when it is made, a command stops as at Ctrl-C."""

STAGED = "BEADSEG_STAGED"
"""Environment variable of job scripts: the dataset, and on a second line the copy of it that is read."""
DEADLINE = "BEADSEG_DEADLINE"
"""Environment variable of job scripts: when the job's time is up, s since 1970."""

LAUNCHED = "BEADSEG_LAUNCHED"
"""Environment variable of a process that stops when its standard input ends, which is when who started it is gone."""

Level = Literal["debug", "info", "warning", "error"]
T = TypeVar("T")


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes
    ----------
    kind : str
        Machine-readable name: ``"progress"``, ``"log"``, ``"epoch"``, ``"warning"``, ``"result"`` …
    message : str
        One plain sentence for a person; may be empty for ``"progress"``.
    level : {"debug", "info", "warning", "error"}
        Severity.
    data : dict
        JSON-serialisable details. ``"progress"`` has ``task`` (str), ``done`` (int) and ``total`` (int).
    """

    kind: str
    message: str = ""
    level: Level = "info"
    data: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as a JSON-serialisable dictionary."""
        return asdict(self)


OnEvent = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop the event: the default listener."""


def log(message: str, level: Level = "info", **data: Any) -> Event:
    """Return a ``"log"`` event."""
    return Event("log", message, level, data)


def progress(task: str, done: int, total: int) -> Event:
    """Return a ``"progress"`` event: `done` of `total` units of `task`."""
    return Event("progress", data={"task": task, "done": done, "total": total})


class StopFlag:
    """Set by whoever wants the work to end; looked at by the work between its units. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the work to stop."""
        self._event.set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` when a stop was asked for."""
        if self:
            raise self.ended()

    def ended(self, what: str = "", where: Path | str | None = None) -> Cancelled:
        """Return the error that ends the work: `what` says how far it came."""
        remedy = "What was finished is kept; run the command again to go on."
        return Cancelled(f"Stopped on request{what}.", where, remedy)


class Deadline(StopFlag):
    """A stop flag that is also set when a batch job's time runs out.

    Parameters
    ----------
    flag : StopFlag
        What a person or a signal sets.
    end : float
        When the time is up, s since 1970.
    margin : float
        How long before that the work must end, s: for the current step and a checkpoint.
    clock : callable, optional
        Returns the present time, s since 1970. By default a clock that nobody sets from now on: a batch system counts
        what has passed.
    """

    def __init__(self, flag: StopFlag, end: float, margin: float, clock: Callable[[], float] | None = None) -> None:
        super().__init__()
        offset = time.time() - time.monotonic()
        self._clock = clock or (lambda: time.monotonic() + offset)
        self._flag, self._last = flag, end - margin

    def set(self) -> None:
        """Ask the work to stop."""
        self._flag.set()

    @property
    def reached(self) -> bool:
        """Whether the time is up."""
        return self._clock() >= self._last

    def __bool__(self) -> bool:
        return bool(self._flag) or self.reached

    def ended(self, what: str = "", where: Path | str | None = None) -> Cancelled:
        """Return `OutOfTime` when the time is up, else what the flag says."""
        if not self.reached:
            return self._flag.ended(what, where)
        return OutOfTime(f"The job's time is up{what}.", where, "Everything is kept; the same command goes on.")


def track(items: Iterable[T], task: str, total: int, on_event: OnEvent, stop: StopFlag | None = None) -> Iterator[T]:
    """Yield `items`, reporting progress before each and after the last; raise `Cancelled` when `stop` is set."""
    done = 0
    for item in items:
        if stop is not None:
            stop.check()
        on_event(progress(task, done, total))
        yield item
        done += 1
    on_event(progress(task, done, total))
