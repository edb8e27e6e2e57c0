"""A batch system on the PATH, small data and a site's profile in folders with difficult names."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_helpers import DIFFICULT, FAKE, SOURCE, Batch, FakePbs, Slurm

from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset


@pytest.fixture(
    params=[
        pytest.param("fake", marks=pytest.mark.slow),
        pytest.param("pbs", marks=pytest.mark.pbs),
        pytest.param("slurm", marks=pytest.mark.slurm),
    ]
)
def batch(request: pytest.FixtureRequest) -> Batch:
    """The fake batch system in slow tests, the one whose server is at hand in those marked ``pbs`` or ``slurm``."""
    if request.param == "fake":
        fake: Batch = request.getfixturevalue("pbs")
        return fake
    command = {"pbs": "qsub", "slurm": "sbatch"}[request.param]
    assert shutil.which(command), "put the batch system's commands on the PATH"
    profile: Path = request.getfixturevalue("profile")
    profile.write_text(f"scheduler: {request.param}\n{profile.read_text()}")
    return Slurm() if request.param == "slurm" else Batch()


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
