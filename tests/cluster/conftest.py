"""A batch system on the PATH, small data and a site's profile in folders with difficult names."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

FAKE = Path(__file__).with_name("fake_pbs.py")
SOURCE = Path(__file__).parents[2] / "src"
DIFFICULT = "a b'c\"d$e"
"""Part of every path in these tests."""


class FakePbs:
    """The fake batch system as a test sees it."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def call(self, command: str, *words: str) -> str:
        return subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout

    def wait(self, *ids: str, seconds: float = 200) -> None:
        """Wait until jobs, or all that there are, are over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if all(self.is_over(name) for name in ids or self.ids()):
                return
            time.sleep(0.05)
        raise TimeoutError([self.output(name) for name in self.ids()])

    def ids(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir() if (path / "job.json").exists())

    def is_over(self, name: str) -> bool:
        text = (self.state / name.split(".")[0].split("[")[0] / "job.json").read_text()
        return '"job_state": "F"' in text

    def output(self, name: str) -> str:
        """Return what a job printed outside its own log."""
        path = self.state / name.split(".")[0] / "output"
        return path.read_text() if path.exists() else ""


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
def profile(place: Path) -> Path:
    """A site's profile that runs this very beadseg."""
    path = place / "site.yaml"
    path.write_text(
        f"select: 1:ncpus=1\nwalltime: 00:03:00\nmargin: 5\n"
        f"command: ['{sys.executable}', -m, beadseg]\n"
        f"environment: {{PYTHONPATH: '{SOURCE}'}}\n"
    )
    return path
