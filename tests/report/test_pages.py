"""Which folder gets which page, by the API and by `beadseg-batch report`; a run's page from a real, tiny run."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
from page_reader import read

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import Cancelled, ExitCode, InputError, RunError
from beadseg.events import Event, StopFlag
from beadseg.report.crossval_page import write_crossval_page
from beadseg.report.pages import kind_of, report_or_warn, write_page
from beadseg.report.run_page import validation_gallery, write_run_page
from beadseg.training.crossval import COLUMNS
from beadseg.training.run import Run, train

TINY = [
    "epochs=2", "epoch.steps=3", "epoch.size=64", "batch=2", "network.width=8", "network.depth=3", "precision=fp32",
    "split.kind=stratified",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset ``beads`` and the run ``run``."""
    out = tmp_path_factory.mktemp("pages")
    scene = SceneConfig(height=64, width=64, beads=12, debris=0)
    write_dataset(out / "beads", SeriesConfig(scene=scene, tiles=8, dilutions=(320, 640), fields=2))
    train(Dataset.open(out / "beads"), TrainConfig.preset("dense", "unet").with_overrides(TINY), out / "run")
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    """A copy of the run that a test may change."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return Run(tmp_path / "run")


def test_the_page_of_a_run(run: Run) -> None:
    page = read(write_run_page(run).read_text(encoding="utf-8"))
    for title in ("Training curves", "success criteria", "Validation samples", "Planned from", "Split by field"):
        assert title in page.text
    validation = sum(row["fold"] == "val" for row in samples(run))
    assert page.tags.count("img") == validation > 0
    assert page.tags.count("svg") == 5  # loss, Jaccard, rate; F1, count error
    assert "false alarm" in page.text
    assert "must achieve" in page.text
    assert "2 of 2 (3 steps each)" in page.text
    assert "Only 3 optimizer steps per epoch" in page.text
    assert (run.folder / files.CURVES).exists()


def test_samples_that_changed_since_are_left_out_by_name(run: Run, tmp_path: Path) -> None:
    rows = samples(run)
    changed = next(row for row in rows if row["fold"] == "val")
    shutil.copy(next(row["image"] for row in rows if row["fold"] == "train"), tmp_path / "other.png")
    changed["image"] = str(tmp_path / "other.png")
    gallery, note = validation_gallery(run.folder, rows)
    assert f"Left out: {changed['sample']} (Its files have changed or are missing.)" in note
    assert len(gallery.pictures) == sum(row["fold"] == "val" for row in rows) - 1


def test_data_that_is_gone_leaves_out_the_pictures_only(run: Run) -> None:
    rows = [{**row, "image": "/nowhere/<x>.png"} for row in samples(run)]
    gallery, note = validation_gallery(run.folder, rows)
    assert not gallery.pictures
    assert note.startswith("Left out: ")


def test_a_run_that_is_not_finished_says_so(run: Run) -> None:
    (run.folder / files.CRITERIA).unlink()
    (run.folder / files.DIAGNOSIS).unlink()
    page = read(write_run_page(run).read_text(encoding="utf-8"))
    assert "This run has not finished: 2 of 2 epochs are done." in page.text


def test_a_run_without_an_epoch_has_no_page(run: Run) -> None:
    (run.folder / files.HISTORY).write_text("epoch,step\n")
    with pytest.raises(RunError, match="epoch"):
        write_run_page(run)


def test_a_stop_ends_the_page(run: Run) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        write_run_page(run, stop=stop)


def crossval(folder: Path, *, finished: bool = True) -> Path:
    folder.mkdir()
    with (folder / files.CROSSVAL).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerow(["<b>field", 4, 0.5, 0.6, 0.7, 0.7, 10, 12, 30])
        writer.writerow(["other", 4, 0.9, 0.9, 0.7, 0.7, 0, 1, 3])
        if finished:
            writer.writerow(["mean of folds", 8, 0.7, 0.75, 0.7, 0.7, 10, 13, 33])
    return folder


@pytest.mark.parametrize("finished", [True, False])
def test_the_page_of_a_cross_validation(tmp_path: Path, finished: bool) -> None:
    page = read(write_crossval_page(crossval(tmp_path / "cv", finished=finished)).read_text(encoding="utf-8"))
    assert "Mean Jaccard of 2 folds 0.700; a plain threshold reaches 0.700" in page.text
    assert "in 1 of 2 folds" in page.text
    assert "<b>field" in page.text
    assert ("It has not finished." in page.text) is not finished


@pytest.mark.parametrize("text", ["", "fold\nx\n", f"{','.join(COLUMNS)}\n"])
def test_a_damaged_cross_validation_is_refused(tmp_path: Path, text: str) -> None:
    folder = crossval(tmp_path / "cv")
    (folder / files.CROSSVAL).write_text(text)
    with pytest.raises(InputError, match=r"crossval\.csv"):
        write_page(folder)


def test_the_command_makes_the_page(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run.folder), "--json"]) == ExitCode.OK
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["data"]["report"] == str(run.folder / files.REPORT_PAGE)
    assert "Report of the run" in last["message"]


def test_wrong_folders_are_refused_with_what_to_give(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / files.CONFIG).write_text("epochs: 3\n")
    for folder, told in (
        (tmp_path / "nowhere", "No such folder"),
        (tmp_path / "file", "Is a file"),
        (tmp_path / "begun", "not finished an epoch"),
        (trained / "beads", "Holds no run"),
        (trained, "Give one of the folders inside: run."),
    ):
        assert main(["report", str(folder)]) == ExitCode.INPUT
        assert told in capsys.readouterr().err


def test_kinds_are_told_apart(tmp_path: Path) -> None:
    for kind, names in (
        ("evaluation", [files.EVALUATION, files.COUNTS]),
        ("prediction", [files.COUNTS, files.PREDICTION]),
    ):
        folder = tmp_path / kind
        folder.mkdir()
        for name in names:
            (folder / name).touch()
        assert kind_of(folder) == kind


def test_a_report_that_fails_is_a_warning_with_the_command(tmp_path: Path) -> None:
    told: list[Event] = []

    def fail() -> None:
        raise ZeroDivisionError("oh")

    folder = tmp_path / "a folder"
    assert report_or_warn(fail, folder, told.append) == ""
    assert told[0].level == "warning"
    assert "ZeroDivisionError: oh" in told[0].message
    assert f"beadseg-batch report '{folder}'" in told[0].message


def test_a_stop_while_reporting_is_a_stop(tmp_path: Path) -> None:
    def stopped() -> None:
        raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        report_or_warn(stopped, tmp_path, lambda _: None)


def samples(run: Run) -> list[dict[str, str]]:
    with (run.folder / files.SAMPLES).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
