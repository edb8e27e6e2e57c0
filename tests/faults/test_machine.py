"""Full disks, folders that cannot be written to, no GPU, and signals: nothing is lost, nothing half-written."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pandas as pd
import pytest
import torch
from fault_helpers import SHORT, TINY, Cli, child, tree, unfinished

from beadseg import files
from beadseg.errors import ExitCode
from beadseg.model.checkpoint import load_checkpoint
from beadseg.training import Run

needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals and limits")


def fill_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Let the disk be full from the `after`-th flushed file on."""
    flushed = 0
    fsync = os.fsync

    def full(handle: int) -> None:
        nonlocal flushed
        flushed += 1
        if flushed > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)


@pytest.mark.parametrize("after", [0, 5, 12])
def test_a_full_disk_ends_prediction_and_leaves_no_half_file(
    cli: Cli, run_folder: Path, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    fill_disk(monkeypatch, after)
    outcome = cli("predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "out")
    outcome.is_refusal(ExitCode.MACHINE, str(tmp_path / "out"), "No space left", "Free some space")
    assert unfinished(tmp_path / "out") == []


@pytest.mark.parametrize("after", [0, 4, 9])
def test_a_full_disk_ends_training_and_the_same_command_goes_on(
    cli: Cli, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
):
    with monkeypatch.context() as patch:
        fill_disk(patch, after)
        outcome = cli("train", beads, "--out", tmp_path / "run", *SHORT)
    outcome.is_refusal(ExitCode.MACHINE, str(tmp_path / "run"), "No space left", "Free some space")
    assert unfinished(tmp_path / "run") == []
    assert cli("train", beads, "--out", tmp_path / "run", *SHORT).code == ExitCode.OK
    assert len(Run(tmp_path / "run").history) == 1


@needs_posix
def test_a_write_that_is_cut_short_leaves_no_file(run_folder: Path, beads: Path, tmp_path: Path):
    """The operating system itself refuses to write more than a few bytes, after half of the file was written."""
    program = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500));"
        "from beadseg.cli.app import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "out", "--threads", "1", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == ExitCode.MACHINE, done.stderr
    (line,) = done.stderr.splitlines()
    assert str(tmp_path / "out") in line
    assert unfinished(tmp_path / "out") == []
    assert all(len(content) <= 1500 for content in tree(tmp_path / "out").values())


@pytest.mark.parametrize("command", ["train", "predict", "simulate", "evaluate", "crossval"])
def test_an_output_folder_that_cannot_be_made_is_named(
    cli: Cli, command: str, run_folder: Path, beads: Path, tmp_path: Path
):
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file" / "out"
    words: dict[str, list[str | Path]] = {
        "train": [beads, *SHORT],
        "crossval": [beads, "--folds", "2", *SHORT],
        "predict": [run_folder, beads / files.IMAGES],
        "evaluate": [shutil.copytree(beads, tmp_path / "found") if command == "evaluate" else beads, beads],
    }
    outcome = (
        cli("simulate", out, "--tiles", "3", "--fields", "1", "--size", "64", "--beads", "5")
        if command == "simulate"
        else cli(command, *words[command], "--out", out)
    )
    outcome.is_refusal(ExitCode.MACHINE, str(out.parent), "file is in the way")
    assert (tmp_path / "file").read_text() == "mine"


NOWHERE: dict[str, tuple[str, ...]] = {
    "suggest": ("general", "nowhere"),
    "draft": ("nowhere",),
    "compare": ("nowhere",),
    "density": ("nowhere",),
    "analyze": ("nowhere",),
    "audit": ("nowhere",),
    "export": ("labels", "nowhere", "--format", "coco"),
    "sweep": ("nowhere",),
    "crossval": ("nowhere",),
    "train": ("nowhere",),
    "demo": (),
}
"""Words of commands that would read what is not there."""


@pytest.mark.parametrize("command", NOWHERE)
def test_where_results_cannot_be_written_nothing_is_read_before(cli: Cli, command: str, tmp_path: Path):
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("mine")
    folder.mkdir()
    out, text = (folder, "is to be written") if command == "suggest" else (file / "out", "in the way")
    cli(command, *NOWHERE[command], "--out", out).is_refusal(ExitCode.MACHINE, str(out), text)
    assert tree(tmp_path) == {"file": b"mine"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu_is_said_at_once(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    out = tmp_path / "out"
    cli("train", beads, "--out", out, "--device", "cuda", *SHORT).is_refusal(4, "'cuda'", "Use --device cpu.")
    predict = cli("predict", run_folder, beads / files.IMAGES, "--out", out, "--device", "cuda:1")
    predict.is_refusal(4, "'cuda:1'", "Use --device cpu.")
    assert not tree(out)


def test_doctor_names_a_folder_that_cannot_be_used(cli: Cli, tmp_path: Path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "gone", tmp_path / "file"):
        outcome = cli("doctor", "--folder", folder)
        assert outcome.code == ExitCode.MACHINE
        assert f"{folder} is not a folder -> Create it" in outcome.out


def test_an_image_too_large_for_the_memory_does_not_stop_a_batch(
    cli: Cli, run_folder: Path, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from beadseg.model.networks import Network

    forward, calls = Network.forward, []

    def limited(self: Network, x: torch.Tensor) -> torch.Tensor:
        calls.append(x.shape)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return forward(self, x)

    monkeypatch.setattr(Network, "forward", limited)
    in_torch = ("--backend", "torch", "--precision", "fp32")
    outcome = cli("predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "out", *in_torch)
    assert outcome.code == ExitCode.SOME_FAILED
    assert outcome.err == ""
    (_, failure) = (tmp_path / "out" / files.FAILURES).read_text(encoding="utf-8").splitlines()
    assert "Does not fit into memory. Use smaller tiles" in failure
    assert len(pd.read_csv(tmp_path / "out" / files.COUNTS)) == 5


@needs_posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_training_and_the_same_command_goes_on(
    cli: Cli, beads: Path, tmp_path: Path, number: signal.Signals
):
    run = tmp_path / "run"
    fields = [word for field in (*TINY, "epochs=8", "epoch.steps=12") for word in ("--set", field)]
    words = ["train", str(beads), "--out", str(run), *fields]
    process = subprocess.Popen(
        [sys.executable, "-m", "beadseg", *words, "--threads", "1", "--quiet"], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (run / files.HISTORY).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == ExitCode.CANCELLED, err
    (line,) = err.splitlines()
    assert "What was finished is kept; run the command again to go on." in line
    epochs = load_checkpoint(run / files.LAST)[1]["epoch"]
    assert 1 <= epochs == len(Run(run).history) < 8
    assert unfinished(run) == []
    assert cli(*words).code == ExitCode.OK
    assert [row["epoch"] for row in Run(run).history] == list(range(1, 9))


def test_a_time_in_which_nothing_can_be_trained_is_refused(cli: Cli, beads: Path, tmp_path: Path):
    """Not "its time was up, go on", which a chain of jobs would do to its last job."""
    run = tmp_path / "run"
    words = ("train", beads, "--out", run, *SHORT)
    outcome = cli(*words, "--walltime", "00:00:01", "--margin", "1")
    outcome.is_refusal(ExitCode.MACHINE, str(run), "before a single step", "longer walltime")
    assert cli(*words).code == ExitCode.OK
    before = tree(run)
    outcome = cli(*words, "--walltime", "00:00:01", "--margin", "1")
    outcome.is_refusal(ExitCode.MACHINE, "before a single step")
    assert {name for name in tree(run) if name != files.LOG} == {name for name in before if name != files.LOG}


def test_nothing_is_half_there_in_a_folder_that_may_not_be_written_in(
    cli: Cli, dataset: Path, run_folder: Path, tmp_path: Path, read_only: Callable[[Path], AbstractContextManager[None]]
):
    """Every command that writes says so, names the folder, and leaves what is there as it was."""
    name = sorted((dataset / files.IMAGES).iterdir())[0].stem
    locked = tmp_path / "locked"
    locked.mkdir()
    before = tree(dataset)
    with read_only(locked), read_only(dataset):
        for words in (
            ("simulate", locked / "new"),
            ("train", dataset, "--out", locked / "run", *SHORT),
            ("predict", run_folder, dataset / files.IMAGES, "--out", locked / "out"),
            ("audit", dataset, "--out", locked / "audit"),
            ("draft", dataset / files.IMAGES, "--out", locked / "draft"),
            ("export", "labels", dataset, "--format", "coco", "--out", locked / "coco"),
        ):
            cli(*words).is_refusal(ExitCode.MACHINE, str(locked), "Permission denied")
        cli("review", dataset, "accept", name).is_refusal(ExitCode.MACHINE, str(dataset), "Permission denied")
        assert cli("review", dataset).code == ExitCode.OK
    assert list(locked.iterdir()) == []
    assert tree(dataset) == before
    assert cli("review", dataset, "accept", name).code == ExitCode.OK


UNREADABLE: dict[str, tuple[str, ...]] = {
    "run/best.safetensors": ("predict", "run", "beads/images", "--out", "out"),
    "run": ("predict", "run", "beads/images", "--out", "out"),
    "run/history.csv": ("report", "run"),
    "run/samples.csv": ("report", "run"),
    "predicted/prediction.json": ("density", "predicted", "--out", "out"),
    "predicted/counts.csv": ("density", "predicted", "--out", "out"),
}
"""Words of commands that read a file which nobody may read."""


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_may_not_be_read_is_not_called_damaged(
    cli: Cli, run_folder: Path, beads: Path, predicted: Path, tmp_path: Path, name: str,
    monkeypatch: pytest.MonkeyPatch, read_only: Callable[[Path], AbstractContextManager[None]],
):  # fmt: skip
    for folder, at in ((run_folder, "run"), (beads, "beads"), (predicted, "predicted")):
        shutil.copytree(folder, tmp_path / at)
    monkeypatch.chdir(tmp_path)
    path, nothing = tmp_path / name, tmp_path / "nothing"
    nothing.mkdir()
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        with read_only(nothing):
            outcome = cli(*UNREADABLE[name])
    finally:
        path.chmod(mode)
    outcome.is_refusal(outcome.code, name, "ermission denied", "Check its permissions.")
    assert outcome.code in (ExitCode.INPUT, ExitCode.MACHINE)
    assert "amaged" not in outcome.err


@needs_posix
def test_a_user_without_a_name_and_a_home_folder_can_predict_and_report(run_folder: Path, beads: Path, tmp_path: Path):
    nobody = "import pwd; pwd.getpwuid = {}.__getitem__"
    words = ("predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "out", "--threads", "1", "--quiet")
    done = child(nobody, *words)
    assert done.returncode == ExitCode.OK, done.stderr
    assert (tmp_path / "out" / files.REPORT_PAGE).is_file()


WHOLE: dict[str, tuple[str, ...]] = {
    "import": ("import", "coco", "coco/annotations.json", "--images", "beads/images"),
    "import model": ("import", "model", "run.zip"),
    "export": ("export", "beads", "--format", "geojson"),
    "simulate": ("simulate", "--tiles", "3", "--fields", "1", "--size", "64", "--beads", "5"),
}
"""Words of commands that make a folder."""


@needs_posix
@pytest.mark.parametrize("name", WHOLE)
def test_a_folder_appears_whole_and_nothing_is_left_of_a_kill(
    cli: Cli, beads: Path, run_folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(beads, tmp_path / "beads")
    cli("export", "beads", "--format", "coco", "--out", "coco")
    cli("export", run_folder, "--format", "zip", "--out", "run.zip")
    before = {path.name for path in tmp_path.iterdir()}
    words = (*WHOLE[name], *(["out/new"] if name == "simulate" else ["--out", "out/new"]))
    killed = (
        "import os, itertools; n = itertools.count(); f = os.fsync; os.fsync = lambda h: next(n) < 2 or os._exit(9)"
    )
    assert child(killed, *words).returncode == 9
    assert not Path("out/new").exists()
    assert cli(*words).code == ExitCode.OK
    assert [path.name for path in Path("out").iterdir()] == ["new"]
    assert unfinished(Path("out")) == []
    assert {path.name for path in tmp_path.iterdir()} == before | {"out"}


def test_an_empty_folder_that_is_the_working_directory_stays_it(
    cli: Cli, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert cli("export", beads, "--format", "geojson", "--out", ".").code == ExitCode.OK
    assert len(list(Path().glob("*.geojson"))) == 6
    assert [path.suffix for path in Path().iterdir()] == [".geojson"] * 6
