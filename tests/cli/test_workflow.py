"""The main job as a user types it: train, predict, evaluate, crossval, in one process."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from beadseg import files
from beadseg.cli.app import main
from beadseg.cluster.submit import freeze, list_path
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled, ExitCode
from beadseg.events import Event, StopFlag
from beadseg.training.crossval import COLUMNS, crossval

FAST = ["epochs=2", "epoch.steps=12", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
        "optimizer.lr=1e-2", "precision=fp32"]  # fmt: skip
SETTINGS = [word for setting in FAST for word in ("--set", setting)]


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("workflow") / "beads"
    arguments = ["simulate", str(out), "--tiles", "6", "--size", "96", "--beads", "30", "--dilutions", "320,640,960"]
    assert main([*arguments, "--fields", "1", "--quiet"]) == ExitCode.OK
    return out


@pytest.fixture(scope="module")
def run(beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    assert main(["train", str(beads), "--out", str(out), "--quiet", *SETTINGS]) == ExitCode.OK
    return out


def test_train_leaves_a_log_curves_and_a_report(run: Path):
    text = (run / files.LOG).read_text()
    assert "Planned predict.objects.diameter = " in text
    assert "Epoch   2/2" in text
    assert iio.imread(run / files.CURVES).ndim == 3
    report = (run / files.REPORT_PAGE).read_text()
    for words in ("Validation Jaccard", "must achieve", "no validation collapse", "predict.objects.diameter"):
        assert words in report


def test_predict_and_evaluate(beads: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "predictions"
    code = main(["predict", str(run), str(beads / files.IMAGES), "--out", str(out), "--json"])
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == (ExitCode.FLAGGED if events[-1]["data"]["flagged"] else ExitCode.OK)
    assert events[-1]["kind"] == "result"
    assert events[-1]["data"]["images"] == 6
    assert main(["evaluate", str(out), str(beads)]) == ExitCode.OK
    assert "6 of 6 samples scored" in capsys.readouterr().out
    assert (out / "evaluation" / files.EVALUATION).exists()


def test_predicting_more_images_with_the_same_run_adds_to_the_folder(beads: Path, run: Path, tmp_path: Path):
    first, second = sorted((beads / files.IMAGES).iterdir())[:2]
    out = tmp_path / "predictions"
    main(["predict", str(run), str(first), "--out", str(out), "--quiet"])
    main(["predict", str(run), str(second), "--out", str(out), "--quiet"])
    main(["predict", str(run), str(second), "--out", str(out), "--quiet"])
    assert list(pd.read_csv(out / files.COUNTS)["image"]) == [first.stem, second.stem]


def test_predictions_of_two_runs_are_not_mixed(beads: Path, run: Path, tmp_path: Path, capsys):
    image = str(next((beads / files.IMAGES).iterdir()))
    out = tmp_path / "predictions"
    main(["predict", str(run), image, "--out", str(out), "--quiet"])
    other = tmp_path / "other"
    assert main(["train", str(beads), "--out", str(other), "--quiet", *SETTINGS, "--seed", "7"]) == ExitCode.OK
    assert main(["predict", str(other), image, "--out", str(out), "--quiet"]) == ExitCode.INPUT
    assert "another run" in capsys.readouterr().err


def test_a_moved_run_is_the_same_run(beads: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    image = str(next((beads / files.IMAGES).iterdir()))
    out = tmp_path / "predictions"
    main(["predict", str(run), image, "--out", str(out), "--quiet"])
    shutil.copytree(run, tmp_path / "moved")
    assert main(["predict", str(tmp_path / "moved"), image, "--out", str(out), "--quiet"]) != ExitCode.INPUT
    document = json.loads((out / files.PREDICTION).read_text())
    assert len(document["model_sha256"]) == 64
    (out / files.PREDICTION).write_text(json.dumps({"run": document["run"]}))  # as older versions wrote it
    assert main(["predict", str(run), image, "--out", str(out), "--quiet"]) == ExitCode.INPUT
    assert "another run" in capsys.readouterr().err


def test_elements_and_the_job_that_merges_are_the_same_command(
    beads: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    images = sorted((beads / files.IMAGES).iterdir())
    code = main(["predict", str(run), *map(str, images), "--out", str(tmp_path / "alone"), "--quiet"])
    out = tmp_path / "out"
    freeze(out, images)
    words = ["predict", str(run), "--out", str(out), "--list", str(list_path(out)), "--quiet"]
    monkeypatch.setenv("BEADSEG_ELEMENT", "1")
    main([*words, "--chunk", "2"])
    monkeypatch.setenv("BEADSEG_ELEMENT", "")
    main([*words, "--chunk", "2"])
    assert not (out / files.REPORT_PAGE).exists()
    capsys.readouterr()
    assert main(words) == code
    assert f"0 failed. Results: {out}. Report: {out / files.REPORT_PAGE}" in capsys.readouterr().out
    for name in (files.COUNTS, files.PREDICTION):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_repeated_train_says_in_one_line_that_it_is_finished(beads: Path, run: Path, capsys):
    assert main(["train", str(beads), "--out", str(run), *SETTINGS]) == ExitCode.OK
    out = capsys.readouterr().out
    assert out.count("already finished") == 1
    assert "unet: validation Jaccard (mean over images)" in out
    assert "Planned" not in out
    assert "criteria" not in out


def test_an_implausible_result_has_its_own_exit_code(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    iio.imwrite(tmp_path / "flat.png", np.full((128, 128), 130, np.uint8))
    code = main(["predict", str(run), str(tmp_path / "flat.png"), "--out", str(tmp_path / "out")])
    assert code == ExitCode.FLAGGED
    assert "flagged: flat" in capsys.readouterr().out


def test_all_three_networks_and_their_summary(beads: Path, tmp_path: Path):
    small = [*SETTINGS, "--epochs", "1"]
    out = str(tmp_path / "all")
    assert main(["train", str(beads), "--out", out, "--model", "all", "--quiet", *small]) == ExitCode.OK
    with (tmp_path / "all" / files.TRAINING_SUMMARY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["unet", "attention-unet", "attention-resunet"]
    assert list(rows[0]) == ["model", "best_epoch", "best_val_jaccard", "final_val_jaccard", "train_time"]


def test_a_configuration_file_keeps_its_network_unless_another_is_named(beads: Path, tmp_path: Path):
    from beadseg.cli.config_options import train_config
    from beadseg.config import TrainConfig

    path = tmp_path / "config.yaml"
    path.write_text(TrainConfig.preset("dense", "attention-resunet").to_yaml())
    assert train_config("dense", None, path, None, None, None, None).network.kind == "attention-resunet"
    assert train_config("dense", "attention-unet", path, None, None, None, None).network.kind == "attention-unet"


def test_crossval_scores_every_sample_by_a_network_that_never_saw_its_field(beads: Path, tmp_path: Path):
    out = tmp_path / "cv"
    command = ["crossval", str(beads), "--out", str(out), "--leave-out", "field", "--quiet", *SETTINGS, "--epochs", "1"]
    assert main([*command, "--set", "predict.backend=openvino"]) == ExitCode.OK
    told = json.loads((out / files.PREDICTIONS / files.PREDICTION).read_text())
    assert told["backend"] == "torch", "a process that trains has one runtime in it"
    with (out / files.CROSSVAL).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [row["fold"] for row in rows[-1:]] == ["mean of folds"]
    assert len(rows) == 4
    for row in rows[:-1]:
        used = pd.read_csv(out / row["fold"] / files.SAMPLES)
        assert row["fold"] not in set(used["field"])
        assert 0 <= float(row["jaccard_images"]) <= 1
        assert float(row["threshold_jaccard_images"]) > 0
    predicted = pd.read_csv(out / files.PREDICTIONS / files.COUNTS)
    assert len(predicted) == 6
    assert main(["evaluate", str(out / files.PREDICTIONS), str(beads), "--quiet"]) == ExitCode.OK
    stop, config = StopFlag(), TrainConfig.from_file(out / rows[0]["fold"] / files.ASKED)

    def stop_after_the_first_fold(event: Event) -> None:
        if event.kind == "fold":
            stop.set()

    with pytest.raises(Cancelled):
        crossval(Dataset.open(beads), config, out, on_event=stop_after_the_first_fold, stop=stop)
    with (out / files.CROSSVAL).open(newline="") as file:
        assert list(csv.DictReader(file)) == rows, "folds that were finished before stay until they are scored again"


def test_crossval_wants_to_know_how(beads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["crossval", str(beads), "--out", str(tmp_path / "cv")]) == ExitCode.INPUT
    assert "--leave-out field" in capsys.readouterr().err


@pytest.mark.parametrize("fields", ["own", "^([0-9]+)x"])
def test_fields_of_view_by_option(fields: str, beads: Path, tmp_path: Path):
    arguments = ["train", str(beads), "--out", str(tmp_path / "run"), "--fields", fields, "--epochs", "1", "--quiet"]
    assert main([*arguments, *SETTINGS]) == ExitCode.OK
    names = set(pd.read_csv(tmp_path / "run" / files.SAMPLES)["field"].astype(str))
    assert len(names) == (6 if fields == "own" else 3)


def test_a_wrong_pattern_is_an_input_error(beads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["train", str(beads), "--out", str(tmp_path / "run"), "--fields", "(abc"]) == ExitCode.INPUT
    assert "--fields" in capsys.readouterr().err
