"""A prediction as an array of jobs: on the fake batch system (slow), and on a real server (``-m pbs``)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cluster_helpers import SOURCE, Batch

from beadseg import files
from beadseg.claim import Owner, read
from beadseg.cli.app import main
from beadseg.cluster import record

IMAGES, ELEMENTS = 40, 3
CORRUPT = "corrupt.png"
FIELDS = [
    "epochs=2", "epoch.steps=12", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3", "precision=fp32",
    "predict.precision=fp32",
]  # fmt: skip
SETS = [word for setting in FIELDS for word in ("--set", setting)]
OPTIONS = ["--set", "objects.threshold=0.45", "--threads", "1"]
SHARING = (files.SHARE, files.JOBS)


@pytest.fixture(scope="module")
def run(beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run in a folder with a difficult name."""
    out = beads.parent / "run"
    assert main(["train", str(beads), "--out", str(out), "--quiet", *SETS]) == 0
    return out


@pytest.fixture(scope="module")
def images(beads: Path) -> Path:
    """Forty images, one of them corrupt: the eight tiles under other names."""
    folder = beads.parent / "images"
    folder.mkdir()
    tiles = sorted((beads / files.IMAGES).iterdir())
    for number in range(IMAGES - 1):
        tile = tiles[number % len(tiles)]
        (folder / f"{number:02d}{tile.suffix}").write_bytes(tile.read_bytes())
    (folder / CORRUPT).write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def alone(run: Path, images: Path) -> Path:
    """What one process on one machine makes of them."""
    out = run.parent / "alone"
    assert main(["predict", str(run), str(images), "--out", str(out), "--no-report", "--quiet", *OPTIONS]) == 3
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a prediction folder but those of the sharing and of the jobs."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: path.relative_to(folder) for path in found}
    return {str(name): path.read_bytes() for path, name in names.items()
            if name.parts[0] not in (*SHARING, files.REPORT_PAGE)}  # fmt: skip


def submit(run: Path, images: Path, out: Path, profile: Path, *more: str) -> int:
    return main(["submit", "predict", str(run), str(images), "--out", str(out), "--cluster", str(profile), *OPTIONS,
                 "--walltime", "00:30:00",
                 "--elements", str(ELEMENTS), *more])  # fmt: skip


def kill_one_at_work(out: Path, killed: list[Owner], seconds: float = 400) -> None:
    """Kill a process in the middle of an image, another one than those `killed` before, and add it to them."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in (out / files.SHARE / files.CLAIMS).glob("*.json"):
            owner = read(path)
            if owner is None or owner.pid in [before.pid for before in killed]:
                continue
            with suppress(ProcessLookupError):
                os.kill(owner.pid, signal.SIGSTOP)
                if read(path) == owner:
                    os.kill(owner.pid, signal.SIGKILL)
                    killed.append(owner)
                    return
                os.kill(owner.pid, signal.SIGCONT)
        time.sleep(0.002)
    raise AssertionError("no element began to predict")


@pytest.mark.timeout(1200)
def test_an_array_with_a_corrupt_image_and_a_killed_element_equals_one_machine(
    batch: Batch, run: Path, images: Path, alone: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    out = place / "counts"
    assert submit(run, images, out, profile) == 0
    assert len(json.loads((out / files.SHARE / files.SHARE_LIST).read_text())["images"]) == IMAGES
    (images / "late.png").write_bytes((images / "00.png").read_bytes())  # after the list was frozen
    try:
        killed: list[Owner] = []
        kill_one_at_work(out, killed)
        batch.wait_for(out)
    finally:
        (images / "late.png").unlink()
    array, merge = record.sent(out)
    assert (array.kind, merge.kind, merge.part) == ("predict", "merge", 2)
    logs = [path.read_text() for path in array.logs(out)]
    assert len(logs) == ELEMENTS
    assert sum("Killed by signal 9" in text for text in logs) == 1
    assert f"taken over from {killed[0]} (that process is gone)" in "".join(logs) + merge.logs(out)[0].read_text()
    assert "Finished, but some items failed" in merge.logs(out)[0].read_text().splitlines()[-1]
    assert batch.job(merge.job)["Exit_status"] == 3
    assert content(out) == content(alone)
    assert str(images / CORRUPT) in (out / files.FAILURES).read_text().replace('""', '"')
    assert (out / files.REPORT_PAGE).exists()
    capsys.readouterr()
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"Images: {IMAGES} of {IMAGES} done, 1 of them failed." in told
    assert "merge, part 2: finished, some items failed" in told


@pytest.mark.timeout(1200)
def test_when_all_elements_die_the_last_job_predicts_what_is_left(
    batch: Batch, run: Path, images: Path, alone: Path, profile: Path, place: Path
):
    out = place / "counts"
    assert submit(run, images, out, profile, "--running", "1") == 0
    killed: list[Owner] = []
    for _ in range(ELEMENTS):
        kill_one_at_work(out, killed)
    batch.wait_for(out)
    assert content(out) == content(alone)


def over_dask(where: str, run: Path, images: Path, out: Path, *more: str) -> None:
    """Predict over dask in a process of its own, as dask's threads outlive the command."""
    words = ["predict", str(run), str(images), "--out", str(out), "--dask", where, "--no-report", *OPTIONS, *more]
    done = subprocess.run(
        [sys.executable, "-m", "beadseg", *words], env={**os.environ, "PYTHONPATH": str(SOURCE)}, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr


@pytest.mark.slow
def test_over_dask_on_one_machine_it_is_the_same(run: Path, images: Path, alone: Path, place: Path):
    pytest.importorskip("distributed")
    over_dask("local:2", run, images, place / "counts")
    assert content(place / "counts") == content(alone)


@pytest.mark.timeout(1200)
def test_over_dask_by_jobs_it_is_the_same_and_status_knows_them(
    batch: Batch, run: Path, images: Path, alone: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("dask_jobqueue")
    out = place / "counts"
    over_dask("pbs:2", run, images, out, "--cluster", str(profile))
    assert content(out) == content(alone)
    sent = record.sent(out)
    assert [item.kind for item in sent] == ["dask", "dask"]
    assert all("Start worker at" in item.logs(out)[0].read_text() for item in sent)
    batch.wait_for(out)
    capsys.readouterr()
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{sent[0].job}  dask, part 1: " in told
    assert f"Images: {IMAGES} of {IMAGES} done, 1 of them failed." in told
