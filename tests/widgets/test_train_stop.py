"""Stop in the Train widget: the step in hand is finished, however long it takes. Without a window."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from beadseg.runtime.process import DOUBLE_CLICK, Process

LONG_STEP = """
import signal, sys
def ask(number, frame):
    print("asked", flush=True)
signal.signal(signal.SIGINT, ask)
print("ready", flush=True)
sys.stdin.read()
print("checkpoint", flush=True)
"""
"""Asked to stop it goes on, until the test says that the step is done."""


@pytest.fixture
def busy(tmp_path: Path) -> tuple[Process, subprocess.Popen[bytes]]:
    """A process in the middle of a long step."""
    output = tmp_path / "events.jsonl"
    with output.open("ab") as file:
        popen = subprocess.Popen([sys.executable, "-c", LONG_STEP], stdin=subprocess.PIPE, stdout=file)
    wait_for(output, b"ready")
    return Process(output, psutil.Process(popen.pid), popen, "train"), popen


def wait_for(output: Path, text: bytes) -> None:
    while text not in output.read_bytes():
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="asks by a file there")
def test_stop_waits_for_the_step_in_hand(busy: tuple[Process, subprocess.Popen[bytes]]) -> None:
    child, popen = busy
    child.stop()
    wait_for(child.output, b"asked")
    child._asked = time.monotonic() - 3600  # an hour later
    child.news()
    assert child.running
    assert child.stopping
    popen.communicate(b"")
    child.news()
    assert child.output.read_bytes().split() == [b"ready", b"asked", b"checkpoint"]
    assert child.outcome().stopped
    assert popen.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="asks by a file there")
def test_who_does_not_want_to_wait_asks_again(busy: tuple[Process, subprocess.Popen[bytes]]) -> None:
    child, popen = busy
    child.stop()
    child.stop()  # a double click
    assert popen.poll() is None
    child._asked = time.monotonic() - DOUBLE_CLICK - 1
    child.stop()
    assert not child.running
    assert popen.returncode == -9
    assert child.outcome().stopped


@pytest.mark.skipif(sys.platform == "win32", reason="asks by a file there")
def test_a_prediction_is_given_seconds(busy: tuple[Process, subprocess.Popen[bytes]]) -> None:
    child, popen = busy
    child.stop(patience=60.0)
    child.news()
    assert popen.poll() is None
    child._asked = time.monotonic() - 61
    child.news()
    assert popen.returncode == -9
