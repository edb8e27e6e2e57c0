from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beadseg import files
from beadseg.errors import Cancelled, RunError
from beadseg.events import Event, StopFlag
from beadseg.runtime.locking import Owner, ProcessId, locked

ELSEWHERE = {"token": "t", "host": "node7", "place": "node7 another boot", "pid": 12, "started": 1.0}


def leave_behind(folder: Path, **changes: object) -> Path:
    """Write the lock of an owner on another machine."""
    path = folder / files.LOCK
    path.write_text(json.dumps({**ELSEWHERE, **changes}))
    return path


def test_a_folder_is_locked_and_released(tmp_path: Path):
    with locked(tmp_path):
        owner = Owner.model_validate_json((tmp_path / files.LOCK).read_text())
        assert owner.pid == os.getpid()
        assert owner.host == platform.node()
    assert list(tmp_path.iterdir()) == []


def test_a_second_one_is_refused_and_the_first_keeps_its_lock(tmp_path: Path):
    with locked(tmp_path):
        with pytest.raises(RunError, match=rf"process {os.getpid()} on .*Wait until it has ended"), locked(tmp_path):
            pass
        assert (tmp_path / files.LOCK).exists()


def test_the_lock_of_a_dead_process_here_is_taken_over_and_said(tmp_path: Path):
    code = ("import os, sys\nfrom pathlib import Path\nfrom beadseg.runtime.locking import locked\n"
            "with locked(Path(sys.argv[1])):\n    os.kill(os.getpid(), 9)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / files.LOCK).exists()
    events: list[Event] = []
    with locked(tmp_path, events.append):
        assert Owner.model_validate_json((tmp_path / files.LOCK).read_text()).pid == os.getpid()
    assert "left behind (that process is gone)" in events[0].message


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux computes the start of a process from the present time")
@pytest.mark.parametrize("seconds", [-3600.0, -2.0, 2.0, 86_400.0])
def test_an_owner_outlives_a_step_of_the_clock(tmp_path: Path, seconds: float):
    """When the clock is set, Linux says that every process began so much later: its clock ticks since the boot stay."""
    with locked(tmp_path):
        path = tmp_path / files.LOCK
        values = json.loads(path.read_text())
        path.write_text(json.dumps({**values, "started": values["started"] - seconds}))
        assert Owner.model_validate_json(path.read_text()).runs
        with pytest.raises(RunError, match="Another process works"), locked(tmp_path):
            pass
        path.write_text(json.dumps(values))


def test_a_number_that_is_given_again_is_another_process(tmp_path: Path):
    own = ProcessId.of(os.getpid())
    assert own.runs
    assert ProcessId.of(os.getppid()).runs
    later = {"started": own.started - 1000, "ticks": None if own.ticks is None else own.ticks - 100_000}
    assert own.replace(**later).runs is False
    assert own.replace(place="another boot").runs is None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    known = ProcessId.of(child.pid)
    assert known.runs
    child.communicate(b"")
    assert known.runs is False


def test_the_lock_of_an_ended_job_elsewhere_is_taken_over(tmp_path: Path):
    leave_behind(tmp_path, job="7.server")
    events: list[Event] = []
    with locked(tmp_path, events.append, has_ended=lambda job: job == "7.server"):
        pass
    assert "process 12 on node7 (job 7.server) was left behind (that job has ended)" in events[0].message


def test_a_lock_without_a_sign_of_life_is_taken_over_at_last(tmp_path: Path):
    path = leave_behind(tmp_path)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 1000))
    events: list[Event] = []
    with locked(tmp_path, events.append):
        pass
    assert "no sign of life for 1000 s" in events[0].message


def test_an_owner_elsewhere_that_shows_life_is_respected(tmp_path: Path):
    path = leave_behind(tmp_path)
    begun = path.stat().st_mtime
    beats = iter(range(1, 100))
    events: list[Event] = []

    def beat(event: Event) -> None:
        events.append(event)
        os.utime(path, (begun, begun + next(beats)))

    with pytest.raises(RunError, match="process 12 on node7"), locked(tmp_path, beat, heartbeat=0.01):
        pass
    assert "waiting for a sign of life" in events[0].message
    assert path.exists()


def test_waiting_can_be_stopped(tmp_path: Path):
    leave_behind(tmp_path)
    stop = StopFlag()
    with pytest.raises(Cancelled), locked(tmp_path, lambda event: stop.set(), stop, heartbeat=0.01):
        pass


@pytest.mark.parametrize("content", ["", '{"token": 1', "[]"])
def test_a_damaged_lock_is_waited_for_and_then_removed(tmp_path: Path, content: str):
    (tmp_path / files.LOCK).write_text(content)
    events: list[Event] = []
    with locked(tmp_path, events.append, heartbeat=0.01, stale=0.05):
        pass
    assert "an unknown process was left behind" in events[-1].message


def test_the_owner_shows_life_and_notices_when_it_lost_the_lock(tmp_path: Path):
    stop, heard = StopFlag(), threading.Event()
    with locked(tmp_path, lambda event: heard.set(), stop, heartbeat=0.01):
        path = tmp_path / files.LOCK
        os.utime(path, (1, 1))
        while path.stat().st_mtime == 1:
            pass
        leave_behind(tmp_path)
        assert heard.wait(60)
    assert stop
    assert json.loads(path.read_text())["host"] == "node7"


def test_of_many_at_once_one_gets_a_lock_left_behind(tmp_path: Path):
    leave_behind(tmp_path, job="7.server")
    inside: list[int] = []
    done = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            with locked(tmp_path, has_ended=lambda job: True):
                inside.append(number)
                done.wait(60)
        except RunError:
            done.wait(60)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inside) == 1
    assert list(tmp_path.iterdir()) == []
