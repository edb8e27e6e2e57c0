"""A batch system on the PATH, small data and a site's profile in folders with difficult names."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beadseg.cluster import record
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

FAKE = Path(__file__).with_name("fake_pbs.py")
SOURCE = Path(__file__).parents[2] / "src"
DIFFICULT = "a b'c\"d$e"
"""Part of every path in these tests."""


class Batch:
    """A batch system as a test sees it."""

    def call(self, command: str, *words: str) -> str:
        return subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout

    def job(self, name: str) -> dict[str, Any]:
        """Return what ``qstat`` says of a job."""
        found: dict[str, Any] = json.loads(self.call("qstat", "-x", "-f", "-F", "json", name))["Jobs"][name]
        return found

    def is_over(self, name: str) -> bool:
        return bool(self.job(name)["job_state"] == "F")

    def wait_for(self, folder: Path, seconds: float = 540) -> None:
        """Wait until all jobs that were sent for a folder are over."""
        until = time.monotonic() + seconds
        while not all(self.is_over(item.job) for item in record.sent(folder)):
            assert time.monotonic() < until, [(item, self.job(item.job)) for item in record.sent(folder)]
            time.sleep(0.2)


class FakePbs(Batch):
    """The fake batch system."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def wait(self) -> None:
        """Wait until all jobs are over."""
        until = time.monotonic() + 200
        while not all(self.is_over(name) for name in self.ids()):
            assert time.monotonic() < until, [self.output(name) for name in self.ids()]
            time.sleep(0.05)

    def ids(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir() if (path / "job.json").exists())

    def is_over(self, name: str) -> bool:
        text = (self.state / name.split(".")[0].split("[")[0] / "job.json").read_text()
        return '"job_state": "F"' in text

    def output(self, name: str) -> str:
        """Return what a job printed outside its own log."""
        path = self.state / name.split(".")[0] / "output"
        return path.read_text() if path.exists() else ""


@pytest.fixture(params=[pytest.param("fake", marks=pytest.mark.slow), pytest.param("real", marks=pytest.mark.pbs)])
def batch(request: pytest.FixtureRequest) -> Batch:
    """The fake batch system in slow tests, the one whose server is at hand in those marked ``pbs``."""
    if request.param == "fake":
        fake: Batch = request.getfixturevalue("pbs")
        return fake
    assert shutil.which("qsub"), "put the batch system's commands on the PATH"
    return Batch()


@pytest.fixture
def pbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePbs]:
    """Put a fake qsub, qstat, qdel, qrerun and pbsnodes on the PATH; end its jobs afterwards."""
    commands, state = tmp_path / "bin", tmp_path / "fake pbs"
    commands.mkdir()
    state.mkdir()
    for name in ("qsub", "qstat", "qdel", "qrerun", "pbsnodes"):
        path = commands / name
        path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(FAKE))} {name} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PBS", str(state))
    fake = FakePbs(state)
    yield fake
    for name in fake.ids():
        (state / name / "delete").touch()
    fake.wait()


@pytest.fixture(scope="session")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of eight small tiles, in a folder with a difficult name."""
    out = tmp_path_factory.mktemp("cluster") / DIFFICULT / "beads"
    scene = SceneConfig(height=96, width=96, beads=25, debris=0)
    write_dataset(out, SeriesConfig(scene=scene, tiles=8, dilutions=(320, 640), fields=2, seed=3))
    return out


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a difficult name."""
    folder = tmp_path / DIFFICULT
    folder.mkdir()
    return folder


@pytest.fixture
def profile(place: Path, tmp_path: Path) -> Path:
    """A site's profile that runs this very beadseg."""
    path = place / "site.yaml"
    path.write_text(
        f"select: 1:ncpus=1\nwalltime: 00:03:00\nmargin: 5\n"
        f"command: ['{sys.executable}', -m, beadseg]\n"
        f"environment: {{PYTHONPATH: '{SOURCE}'}}\nscratch: {tmp_path}\n"
    )
    return path
