"""The command line as a whole: help, exit codes, messages, signals, JSON."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NoReturn

import pytest

from beadseg import __version__
from beadseg.cli import app
from beadseg.cli.console import MARGIN, LogPace, reporter, stop_in_time, stop_on_signals
from beadseg.errors import Cancelled, ConfigError, ExitCode, InputError, MachineError, OutOfTime
from beadseg.events import DEADLINE, Event, StopFlag, log, progress


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == ExitCode.OK
    out = capsys.readouterr().out
    for command in app.COMMANDS:
        assert f"  {command} " in out


@pytest.mark.parametrize("command", list(app.COMMANDS))
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main([command, "--help"]) == ExitCode.OK
    assert f"beadseg-batch {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == ExitCode.OK
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["nonsense"], ["doctor", "--nonsense"], ["--nonsense"]])
def test_wrong_use_is_input_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(arguments) == ExitCode.INPUT
    assert "nonsense" in capsys.readouterr().err


def command_that_raises(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give `doctor` a function that does nothing but raise `error`."""

    def doctor() -> NoReturn:
        raise error

    monkeypatch.setattr("beadseg.cli.doctor.doctor", doctor)


OutOfMemoryError = type("OutOfMemoryError", (RuntimeError,), {})


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("Is empty.", "a.png", "Take another."), ExitCode.INPUT, "batch: a.png: Is empty. Take another."),
        (MachineError("No such device."), ExitCode.MACHINE, "No such device."),
        (Cancelled("Stopped."), ExitCode.CANCELLED, "Stopped."),
        (MemoryError(), ExitCode.MACHINE, "Out of memory."),
        (OutOfMemoryError("CUDA out of memory"), ExitCode.MACHINE, "Out of memory."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), ExitCode.MACHINE, "Out of memory."),
        (OSError(errno.ENOSPC, "No space left on device", "b.png"), ExitCode.MACHINE, "b.png"),
    ],
)  # fmt: skip
def test_known_errors_are_one_line(
    error: Exception, code: ExitCode, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that_raises(error, monkeypatch)
    assert app.main(["doctor"]) == code
    err = capsys.readouterr().err
    assert text in err
    assert len(err.splitlines()) == 1


def test_unexpected_errors_show_the_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that_raises(KeyError("lost"), monkeypatch)
    assert app.main(["doctor"]) == ExitCode.BUG
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "unexpected KeyError" in err


def test_debug_shows_the_traceback_of_known_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(app.DEBUG_VARIABLE, "")  # restored after the test, since --debug sets it
    command_that_raises(InputError("Is empty."), monkeypatch)
    assert app.main(["--debug", "doctor"]) == ExitCode.INPUT
    assert "Traceback" in capsys.readouterr().err


def test_python_m_is_the_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "beadseg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"beadseg-batch {__version__}"


def test_first_signal_asks_second_ends() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals(StopFlag()) as flag:
        signal.raise_signal(signal.SIGTERM)
        assert flag
        signal.raise_signal(signal.SIGTERM)  # batch systems send it several times
        with pytest.raises(Cancelled, match="at once"):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_job_s_time_is_taken_from_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEADLINE, raising=False)
    flag = StopFlag()
    assert stop_in_time(flag=flag) is flag
    monkeypatch.setenv(DEADLINE, str(time.time() + 1000))
    monkeypatch.setenv(MARGIN, "900")
    assert not stop_in_time(flag=flag)
    monkeypatch.setenv(MARGIN, "1100")
    with pytest.raises(OutOfTime, match="The job's time is up"):
        stop_in_time(flag=flag).check()
    assert not stop_in_time(margin=10, flag=flag)
    assert stop_in_time("00:15:00", 1000, flag)
    monkeypatch.setenv(DEADLINE, "noon")
    with pytest.raises(ConfigError, match=DEADLINE):
        stop_in_time(flag=flag)


@pytest.mark.parametrize("text", ["noon", "12 hours", ""])
def test_a_walltime_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--walltime: .* Write it as HH:MM:SS"):
        stop_in_time(text)


def test_json_is_one_object_per_line() -> None:
    out = io.StringIO()
    with reporter(json=True, stream=out) as on_event:
        on_event(log("One\nmessage.", path=Path("a")))
        on_event(progress("read", 1, 2))
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [event["kind"] for event in events] == ["log", "progress"]
    assert events[0]["data"] == {"path": "a"}


def test_json_ends_with_the_error() -> None:
    out = io.StringIO()

    def fail() -> None:
        with reporter(json=True, stream=out):
            raise InputError("Is empty.", "a.png", "Take another.")

    with pytest.raises(InputError):
        fail()
    event = json.loads(out.getvalue())
    assert event["kind"] == "error"
    assert event["data"] == {"what": "Is empty.", "where": "a.png", "remedy": "Take another.", "exit_code": 2}


def test_log_is_plain_lines_with_time_stamps() -> None:
    out = io.StringIO()
    with reporter(stream=out) as on_event:
        on_event(log("Read.\nAll of it.", "warning"))
        for done in range(1001):
            on_event(progress("read", done, 1000))
    lines = out.getvalue().splitlines()
    assert [line[20:] for line in lines] == ["WARNING Read.", "WARNING All of it."]
    assert out.getvalue().isascii()
    assert not {"\r", "\x1b"} & set(out.getvalue())


def test_log_writes_long_work_sparsely() -> None:
    now = [0.0]
    pace = LogPace(lambda: now[0])
    lines = []
    for done in range(1001):
        now[0] = 0.2 * done
        lines.append(pace.line(progress("read", done, 1000)))
    written = [line for line in lines if line]
    assert 8 <= len(written) <= 12
    assert written[0] == "read: 100/1000"
    assert written[-1] == "read: 1000/1000"


def test_log_writes_slow_progress_after_a_while() -> None:
    now = [0.0]
    pace = LogPace(lambda: now[0])
    assert pace.line(progress("read", 1, 1000)) == ""
    now[0] = 31.0
    assert pace.line(progress("read", 2, 1000)) == "read: 2/1000"
    assert pace.line(progress("read", 3, 1000)) == ""


def test_quiet_keeps_what_matters() -> None:
    out = io.StringIO()
    with reporter(quiet=True, stream=out) as on_event:
        on_event(log("Chatter."))
        on_event(log("Careful.", "warning"))
        on_event(Event("result", "12 beads."))
    assert [line.split(" ", 3)[3] for line in out.getvalue().splitlines()] == ["Careful.", "12 beads."]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_shows_messages_and_survives_brackets() -> None:
    out = Terminal()
    with reporter(stream=out) as on_event:
        on_event(progress("read [1]", 0, 2))
        on_event(log("Read [/nothing]."))
        on_event(progress("read [1]", 2, 2))
    assert "Read [/nothing]." in out.getvalue()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT])
def test_a_disk_that_does_not_answer_is_said_with_a_remedy(code: int) -> None:
    """Found by `make test-faults`: it was reported as a bug of beadseg."""
    known = app.as_beadseg_error(OSError(code, os.strerror(code), "/data/a.png"))
    assert isinstance(known, MachineError)
    assert "does not answer" in known.what
    assert known.where == "/data/a.png"
    assert known.remedy
