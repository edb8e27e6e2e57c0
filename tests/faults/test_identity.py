"""What users met with names, folders and repeated commands: each through the command line, as they would."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from fault_helpers import Cli, child

from beadseg import files
from beadseg.cli.submit import checked, parsed
from beadseg.config import TrainConfig
from beadseg.config.predict import DensityConfig
from beadseg.errors import ExitCode, InputError
from beadseg.runtime.locking import locked

DONE = (ExitCode.OK, ExitCode.FLAGGED)
"""A tiny network counts badly, which is flagged."""


def names(out: Path) -> list[str]:
    return pd.read_csv(out / files.COUNTS, dtype=str)["image"].tolist()


@pytest.fixture
def plate(beads: Path, tmp_path: Path) -> Path:
    """Two wells with an image of the same name each."""
    sources = sorted((beads / files.IMAGES).iterdir())
    for well, source in zip(("A01", "A02"), sources, strict=False):
        (tmp_path / "plate" / well).mkdir(parents=True)
        shutil.copy(source, tmp_path / "plate" / well / "f1.png")
    return tmp_path / "plate"


def test_same_names_in_two_folders_and_two_commands(cli: Cli, run_folder: Path, plate: Path, tmp_path: Path):
    out = tmp_path / "out"
    assert cli("predict", run_folder, plate / "A01", "--out", out).code in DONE
    assert cli("predict", run_folder, plate / "A01", plate / "A02", "--out", out).code in DONE
    assert names(out) == ["f1", "A02_f1"]
    done = cli("predict", run_folder, plate / "A01", plate / "A02", "--out", out)
    assert "2 images predicted before." in done.out
    assert "predicted before" not in cli("predict", run_folder, plate / "A02", "--out", out, "--again").out
    assert names(out) == ["f1", "A02_f1"]
    assert cli("report", out).code == ExitCode.OK
    assert "A02_f1" in (out / files.REPORT_PAGE).read_text(encoding="utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_the_same_command_goes_on_and_ctrl_c_takes_no_row_away(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    """The signal comes in the middle of the first images that are predicted again."""
    out = tmp_path / "out"
    words = ("predict", run_folder, beads / files.IMAGES, "--out", out)
    assert cli(*words).code in DONE
    before = pd.read_csv(out / files.COUNTS)[["image", "beads"]]
    assert "6 images predicted before." in cli(*words).out
    program = "import os, signal, itertools; n = itertools.count(); f = os.fsync"
    program += "; os.fsync = lambda h: (f(h), next(n) == 12 and signal.raise_signal(signal.SIGINT))"
    stopped = child(program, *words, "--again", "--quiet", "--threads", "1")
    assert stopped.returncode == ExitCode.CANCELLED, stopped.stderr
    assert "run the command again to go on" in stopped.stderr
    pd.testing.assert_frame_equal(pd.read_csv(out / files.COUNTS)[["image", "beads"]], before)
    assert len(list((out / files.LABELS).iterdir())) == len(before) == 6


def test_a_file_that_is_named_in_several_ways_is_counted_once(
    cli: Cli, run_folder: Path, plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(plate)
    (tmp_path / "link").symlink_to(plate)
    ways = ["A01/f1.png", plate / "A01" / "f1.png", "A02/../A01", "./A01/f1.png", tmp_path / "link" / "A01"]
    done = cli("predict", run_folder, *ways, "--out", tmp_path / "out")
    assert done.code in DONE
    assert names(tmp_path / "out") == ["f1"]
    assert len(list((tmp_path / "out" / files.LABELS).iterdir())) == 1


def test_drafts_of_same_names_are_two_samples(cli: Cli, plate: Path, tmp_path: Path):
    out = tmp_path / "drafts"
    for well in ("A01", "A02", "A01"):
        cli("draft", plate / well, "--out", out, "--diameter", "7", "--polarity", "dark")
    assert sorted(path.name for path in (out / files.IMAGES).iterdir()) == ["A02_f1.png", "f1.png"]
    assert len(list((out / files.LABELS).iterdir())) == 2


def test_two_commands_at_once_in_one_folder(cli: Cli, run_folder: Path, plate: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"):
        refused = cli("predict", run_folder, plate / "A01", "--out", tmp_path / "out")
    refused.is_refusal(ExitCode.INPUT, f"process {os.getpid()} on", "Wait until it has ended")


def test_predictions_do_not_become_annotations(cli: Cli, run_folder: Path, dataset: Path, tmp_path: Path):
    shutil.rmtree(dataset / files.LABELS)
    refused = cli("predict", run_folder, dataset / files.IMAGES, "--out", dataset)
    refused.is_refusal(ExitCode.INPUT, "Belongs to the dataset", "Give a folder of its own")
    out = tmp_path / "out"
    assert cli("predict", run_folder, dataset / files.IMAGES, "--out", out).code in DONE
    shutil.copytree(dataset / files.IMAGES, out / files.IMAGES)
    for words in (
        ["train", out, "--out", tmp_path / "run2"],
        ["evaluate", out, out],
        ["analyze", out, "--out", tmp_path / "a"],
    ):
        refused = cli(*words)
        assert refused.code == ExitCode.INPUT
        assert "not annotations" in refused.err or "against themselves" in refused.err


@pytest.mark.parametrize("given", ["--out=~/found", "--out=~/more/../found"])
def test_home_is_home_in_every_command(
    cli: Cli, run_folder: Path, plate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli("predict", run_folder, "~/plate/A01", given).code in DONE
    assert names(tmp_path / "found") == ["f1"]
    assert len(list((tmp_path / "found" / files.BEADS).iterdir())) == 2
    assert cli("density", "~/found", "--out=~/densities").code == ExitCode.OK
    assert cli("report", "~/found").code == ExitCode.OK
    assert not list((tmp_path / "elsewhere").iterdir())


def test_home_is_home_in_configurations_and_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    config = TrainConfig.preset("dense", "unet").with_overrides(["split.kind=file", "split.path=~/split.csv"])
    assert config.split.path == tmp_path / "split.csv"
    density = DensityConfig.parse({"groups": {"kind": "csv", "path": "~/groups.csv"}})
    assert density.groups.path == tmp_path / "groups.csv"
    values = parsed("predict", ["~/run", "~/images", "--out", "~/out"])
    assert (values["run"], values["images"]) == (tmp_path / "run", [tmp_path / "images"])


def test_a_job_is_refused_and_told_what_a_command_would_be(run_folder: Path, dataset: Path, tmp_path: Path):
    words = [str(run_folder), str(dataset / files.IMAGES), "--again", "--out"]
    assert parsed("predict", [*words, str(tmp_path / "out")])["again"]
    with pytest.raises(InputError, match="Belongs to the dataset"):
        checked("predict", [*words, str(dataset)])


def test_a_name_that_cannot_be_written_stops_no_other(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    source = sorted((beads / files.IMAGES).iterdir())[0]
    folder = tmp_path / "in"
    folder.mkdir()
    odd = ["a", "m" + "い" * 83, "-x", "=1+1", "line\nbreak", "back\\slash", "end ", "z"]
    if os.name == "nt":
        odd = ["a", "m" * 100, "-x", "=1+1", "z"]
    for name in odd:
        shutil.copy(source, folder / f"{name}.png")
    out = tmp_path / "out"
    assert cli("predict", run_folder, folder, "--out", out).code in DONE
    assert len(set(names(out))) == len(odd)
    for words in (
        ["report", out],
        ["density", out],
        ["export", "labels", out, "--format", "coco", "--out", tmp_path / "c"],
    ):
        assert cli(*words).code == ExitCode.OK, words
    assert cli("predict", run_folder, folder / f"./{odd[2]}.png", "--out", out).out.count("predicted before") == 1
    assert len(names(out)) == len(odd)
