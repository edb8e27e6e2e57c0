"""``--processes N``: the same command in N processes of this machine, looked after until the last has ended."""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.cli.console import STOP
from beadseg.errors import ConfigError, ExitCode, ProcessKilledError
from beadseg.events import StopFlag
from beadseg.runtime import process

if TYPE_CHECKING:
    from subprocess import Popen

NODES, NODE, MASTER = "BEADSEG_NODES", "BEADSEG_NODE", "BEADSEG_MASTER"
"""Environment variables of a job on several machines: how many, which this is (from 0), and HOST:PORT of the first."""

GRACE = 20.0
"""When one process has failed, the others have this long to end by themselves, s; then as long again after SIGTERM."""
LOOK = 0.1
"""How often the processes are looked at, s."""


@dataclass(frozen=True)
class Place:
    """Where the processes of this machine stand among all.

    Attributes
    ----------
    nodes, node : int
        How many machines, and which this is, from 0.
    host, port : str, int
        Where the first process waits for the others.
    """

    nodes: int
    node: int
    host: str
    port: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place:
        """Return what a job script says; this machine alone where it says nothing.

        Raises
        ------
        ConfigError
            It cannot be read.
        """
        if not environment.get(NODES) or environment[NODES] == "1":
            return cls(1, 0, "127.0.0.1", _free_port())
        try:
            host, port = environment[MASTER].rsplit(":", 1)
            place = cls(int(environment[NODES]), int(environment[NODE]), host, int(port))
        except (KeyError, ValueError):
            place = None
        if place is None or not 0 <= place.node < place.nodes:
            raise ConfigError("Must say how many machines, which this is, and HOST:PORT of the first.",
                              f"{NODES}, {NODE}, {MASTER}", "Unset or correct them.")  # fmt: skip
        return place


def is_one_of_several() -> bool:
    """Whether this process was started as one of several, here or by `torchrun`."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_first() -> bool:
    """Whether this process is the only one, or the one of several that tells what happens and writes reports."""
    return not is_one_of_several() or os.environ["RANK"] == "0"


def launch(words: Sequence[str], count: int, stop: StopFlag = STOP) -> int:
    """Run ``beadseg-batch`` with the same `words` in `count` processes; return the exit code of them all.

    SIGTERM, and what else sets `stop`, is handed on: the processes end together. When one fails or is killed, the
    others are ended. When this process itself is killed, they see that and end in a checkpoint.

    Raises
    ------
    ProcessKilledError
        A process was killed by a signal.
    """
    place = Place.of(os.environ)
    children = [_start(words, place, number, count) for number in range(count)]
    try:
        codes = _supervise(children, stop)
    finally:
        for child in children:
            process.end_at_once(child)
    return _outcome(codes, place.node * count, place.nodes * count, bool(stop))


def _start(words: Sequence[str], place: Place, number: int, count: int) -> Popen[bytes]:
    """Start one process; its standard input ends when this process does."""
    environment = {
        **os.environ,
        "RANK": str(place.node * count + number),
        "WORLD_SIZE": str(place.nodes * count),
        "LOCAL_RANK": str(number),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": place.host,
        "MASTER_PORT": str(place.port),
    }
    environment.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # no stack traces of whoever loses contact to another
    if place.nodes == 1 and platform.system() == "Linux":
        environment.setdefault("GLOO_SOCKET_IFNAME", "lo")  # the machine's own name may lead nowhere
    return process.launch(words, environment)


def _supervise(children: Sequence[Popen[bytes]], stop: StopFlag) -> list[int | None]:
    """Wait until all have ended, hand on a request to stop, end the others after a failure.

    Returns
    -------
    list of int or None
        The exit codes of the processes when the first failure was seen; without one, at the end.
    """
    asked = False
    found: list[int | None] = []
    while any(child.poll() is None for child in children):
        time.sleep(LOOK)
        if not found and any(_has_failed(child.poll()) for child in children):
            found, since = [child.returncode for child in children], time.monotonic()
        waited = time.monotonic() - since if found else 0.0
        if (stop or waited >= GRACE) and not asked:
            _ask_to_stop(children)
            asked = True
        if waited >= 2 * GRACE:
            break
    return found or [child.returncode for child in children]


def _has_failed(code: int | None) -> bool:
    """Whether a process ended in a way that the others cannot know of; those that stop together need their time."""
    return code not in (None, ExitCode.OK, ExitCode.CANCELLED, ExitCode.OUT_OF_TIME)


def _ask_to_stop(children: Sequence[Popen[bytes]]) -> None:
    """End the standard input of the processes, which asks them to stop on every system, and send SIGTERM where it asks.

    On Windows SIGTERM would end them at once, without a checkpoint.
    """
    for child in children:
        if child.poll() is None:
            with suppress(OSError):
                if child.stdin is not None:
                    child.stdin.close()
                if sys.platform != "win32":
                    child.send_signal(signal.SIGTERM)


def _outcome(codes: Sequence[int | None], first: int, size: int, stopped: bool) -> int:
    """Return the exit code that stands for all; `first` is the number of the first process here."""
    for number, code in enumerate(codes, start=first):
        if code is not None and code < 0:
            if stopped and -code in (signal.SIGTERM, signal.SIGINT):  # before it could listen
                return ExitCode.CANCELLED
            text = f"Process {number} of {size} {process.ending(code)}, and with it the others."
            raise ProcessKilledError(text, remedy="The same command goes on from the last checkpoint.")
    return next((code for code in codes if code), ExitCode.OK)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
