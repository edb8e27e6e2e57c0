"""A prediction as an array of jobs: on the fake batch system (slow), on a real server (``-m pbs``, ``-m slurm``)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from cluster_helpers import SOURCE, Batch

from beadseg import files
from beadseg.cli.app import main
from beadseg.cluster import record

fcntl = pytest.importorskip("fcntl")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs leases of files")

IMAGES, ELEMENTS = 40, 3
CORRUPT, KILLS = "corrupt.png", "07"
FIELDS = [
    "epochs=2", "epoch.steps=12", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3", "precision=fp32",
    "predict.precision=fp32",
]  # fmt: skip
SETS = [word for setting in FIELDS for word in ("--set", setting)]
OPTIONS = ["--set", "objects.threshold=0.45", "--threads", "1"]


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
    """Return every file of a prediction folder but those of the jobs, and paths that tell where the folder lies."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    names = {path: path.relative_to(folder) for path in found}
    contents = {str(name): path.read_bytes() for path, name in names.items()
                if name.parts[0] not in (files.JOBS, files.REPORT_PAGE)}  # fmt: skip
    made_by = json.loads(contents[files.PREDICTION]) | {"relative": None}
    return contents | {files.PREDICTION: json.dumps(made_by).encode()}


def submit(run: Path, images: Path, out: Path, profile: Path, *more: str) -> int:
    return main(["submit", "predict", str(run), str(images), "--out", str(out), "--cluster", str(profile), *OPTIONS,
                 "--walltime", "00:30:00",
                 *(more or ("--elements", str(ELEMENTS)))])  # fmt: skip


def processes(out: Path, element: str) -> list[psutil.Process]:
    """Return the running programs of an element of the array, or of the job that merges (``""``)."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        try:
            if "predict" in words and str(out) in words and process.environ().get("BEADSEG_ELEMENT", "") == element:
                found.append(process)
        except psutil.Error:
            continue
    return found


class Watched:
    """An image of which is seen that a process begins to read it; that process waits until it is killed."""

    def __init__(self, image: Path) -> None:
        self.file = image.open("r+b")
        self.watch()

    def watch(self) -> None:
        fcntl.fcntl(self.file, fcntl.F_SETSIG, signal.SIGURG)  # a signal that does nothing
        fcntl.fcntl(self.file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        self.watched = True

    def is_read(self) -> bool:
        return self.watched and fcntl.fcntl(self.file, fcntl.F_GETLEASE) != fcntl.F_WRLCK

    def free(self) -> None:
        self.watched = False
        with suppress(OSError):  # the system has ended the lease, as its time was up
            fcntl.fcntl(self.file, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def kill_reader(image: Watched, out: Path, element: str, *, job: bool = False) -> None:
    """Kill the program of an element, or of the job that merges (``""``), at an image; with `job` its script, too."""
    until = time.monotonic() + 400
    while not image.is_read():
        assert time.monotonic() < until, "the image was not read"
        time.sleep(0.05)
    for process in processes(out, element):
        if job and (script := process.parent()) is not None:
            script.kill()
        process.kill()
        process.wait()
    image.free()


@pytest.mark.timeout(1200)
def test_an_array_with_a_corrupt_image_and_a_killed_element_equals_one_machine(
    batch: Batch, run: Path, images: Path, alone: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    out = place / "counts"
    first, second = (Watched(next(images.glob(f"{number}.*"))) for number in (16, 30))
    assert submit(run, images, out, profile) == 0
    assert len(json.loads((out / files.JOBS / files.IMAGE_LIST).read_text())["images"]) == IMAGES
    (images / "late.png").write_bytes((images / "00.png").read_bytes())  # after the list was written
    try:
        kill_reader(first, out, "1")  # goes on in its job
        kill_reader(second, out, "2", job=True)  # its images are left to the job that merges
        batch.wait_for(out)
    finally:
        (images / "late.png").unlink()
    array, merge, *_ = record.sent_jobs(out)  # a merging job that was waited for may have a successor
    assert (array.kind, merge.kind, merge.part) == ("predict", "merge", 1)
    logs = [path.read_text() for path in array.logs(out)]
    assert ["Killed by signal 9; it is begun again." in text for text in logs] == [False, True, False]
    last = merge.logs(out)[0].read_text()
    assert "Finished, but some items failed" in last.splitlines()[-1]
    assert content(out) == content(alone)
    assert str(images / CORRUPT) in (out / files.FAILURES).read_text().replace('""', '"')
    assert (out / files.REPORT_PAGE).exists()
    capsys.readouterr()
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"Images: {IMAGES} of {IMAGES} done, 1 of them failed." in told
    assert "merge, part 1: finished, some items failed" in told


@pytest.mark.timeout(1200)
def test_an_image_that_kills_and_a_killed_job_that_merges_lose_nothing(
    batch: Batch, run: Path, images: Path, alone: Path, profile: Path, place: Path
):
    out = place / "counts"
    kills, another = (Watched(next(images.glob(f"{number}.*"))) for number in (KILLS, "09"))
    assert submit(run, images, out, profile, "--elements", "1") == 0
    kill_reader(kills, out, "0", job=True)
    kills.watch()
    kill_reader(kills, out, "")
    kill_reader(another, out, "", job=True)  # its job's successor goes on
    batch.wait_for(out)
    expected = {name: data for name, data in content(alone).items() if Path(name).stem.split(".")[0] != KILLS}
    found = content(out)
    tables = (files.COUNTS, files.FAILURES, files.PREDICTION)
    assert {name: data for name, data in found.items() if name not in tables} == {
        name: data for name, data in expected.items() if name not in tables
    }
    failures = (out / files.FAILURES).read_text().splitlines()
    assert len(failures) == 3
    assert "2 processes were killed while they predicted it" in failures[1]
    rows = (alone / files.COUNTS).read_text().splitlines()
    assert (out / files.COUNTS).read_text().splitlines() == [row for row in rows if not row.startswith(f"{KILLS},")]


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
    over_dask(f"{batch.kind}:2", run, images, out, "--cluster", str(profile))
    assert content(out) == content(alone)
    sent = record.sent_jobs(out)
    assert [item.kind for item in sent] == ["dask", "dask"]
    assert all("Start worker at" in item.logs(out)[0].read_text() for item in sent)
    batch.wait_for(out)
    capsys.readouterr()
    assert main(["status", str(out)]) == 0
    told = capsys.readouterr().out
    assert f"{sent[0].job}  dask, part 1: " in told
    assert f"Images: {IMAGES} of {IMAGES} done, 1 of them failed." in told


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_dask_gives_up_an_image_that_kills_workers_and_loses_no_other(
    run: Path, images: Path, alone: Path, place: Path
):
    """The worker is killed whenever it begins the image that kills, and once at another image."""
    pytest.importorskip("distributed")
    out, own = place / "counts", place / "images"
    shutil.copytree(images, own)
    kills, once = (Watched(next(own.glob(f"{number}.*"))) for number in (KILLS, "20"))
    words = ["predict", str(run), str(own), "--out", str(out), "--dask", "local:1", "--no-report", *OPTIONS]
    process = psutil.Popen([sys.executable, "-m", "beadseg", *words], env={**os.environ, "PYTHONPATH": str(SOURCE)})
    killed = []
    while process.poll() is None:
        for image in (one for one in (kills, once) if one.is_read()):
            for worker in process.children(recursive=True):
                if "resource_tracker" not in " ".join(worker.cmdline()):
                    worker.kill()
                    worker.wait()
            killed.append(image)
            image.free()
            if image is kills:
                image.watch()
        time.sleep(0.1)
    assert process.returncode == 3
    assert (killed.count(kills), killed.count(once)) == (2, 1)
    assert len((out / files.FAILURES).read_text().splitlines()) == 3
    assert "Several dask workers were killed while they predicted it" in (out / files.FAILURES).read_text()
    rows = (alone / files.COUNTS).read_text().splitlines()
    assert (out / files.COUNTS).read_text().splitlines() == [row for row in rows if not row.startswith(f"{KILLS},")]
