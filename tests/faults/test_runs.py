"""Run and prediction folders that are missing, incomplete, damaged, newer, or something else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from fault_helpers import TINY, Cli, tree, unfinished
from safetensors import safe_open
from safetensors.torch import save_file

from beadseg import files
from beadseg.errors import ExitCode

SAME_COMMAND = ["--model", "unet", *(word for field in TINY for word in ("--set", field))]
"""What the run of the fixture was trained with."""


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], tensors: Callable[[Any], Any] = dict) -> None:
    """Change the description of a checkpoint, and its tensors."""
    with safe_open(path, framework="pt") as file:
        meta = json.loads(file.metadata()["beadseg"])
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    changed = change(meta)
    save_file(tensors(stored), path, {"beadseg": changed if isinstance(changed, str) else json.dumps(changed)})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def lacking(name: str) -> Callable[[Path], None]:
    return lambda path: rewrite(path, lambda meta: {key: meta[key] for key in meta if key != name})


def not_numbers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: t * float("nan") if t.is_floating_point() else t for name, t in tensors.items()}


MODELS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "newer": (lambda path: rewrite(path, lambda meta: {**meta, "schema_version": 99}), ("newer", "Update beadseg.")),
    "no version": (lacking("schema_version"), ("Damaged checkpoint",)),
    "no JSON": (lambda path: rewrite(path, lambda meta: "{"), ("Damaged checkpoint",)),
    "a list": (lambda path: rewrite(path, lambda meta: "[1]"), ("Damaged checkpoint",)),
    "no fingerprint": (lacking("fingerprint"), ("incomplete", "fingerprint")),
    "unknown field": (
        lambda path: rewrite(path, lambda meta: {**meta, "config": {**meta["config"], "colour": 1}}),
        ("Does not fit this version", "colour"),
    ),
    "lacks weights": (
        lambda path: rewrite(path, dict, lambda tensors: dict(list(tensors.items())[1:])),
        ("incomplete", "Missing key"),
    ),
    "NaN weights": (lambda path: rewrite(path, dict, not_numbers), ("weights that are not numbers",)),
    "cut": (cut, ("Damaged", "Copy it again".lower())),
    "rubbish": (lambda path: path.write_bytes(b"beads" * 40), ("no checkpoint",)),
    "a folder": (as_folder, ("Holds no trained model yet.",)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_model_is_refused(cli: Cli, run_copy: Path, beads: Path, tmp_path: Path, name: str):
    spoil, texts = MODELS[name]
    spoil(run_copy / files.BEST)
    outcome = cli("predict", run_copy, beads / files.IMAGES, "--out", tmp_path / "out")
    outcome.is_refusal(ExitCode.INPUT, str(run_copy), *texts)
    assert not (tmp_path / "out").exists()


def test_what_is_no_run_is_refused(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    def predict(run: Path) -> Any:
        return cli("predict", run, beads / files.IMAGES, "--out", tmp_path / "out")

    for name in ("unet", "attention-unet"):
        shutil.copytree(run_folder, tmp_path / "all" / name)
    predict(tmp_path / "all").is_refusal(2, "Holds several runs.", "attention-unet, unet")
    predict(tmp_path / "gone").is_refusal(2, "gone", "No such run.")
    predict(beads).is_refusal(2, "Is not a run folder")
    predict(run_folder / files.LAST).is_refusal(2, "for resuming", files.BEST)
    predict(run_folder / files.CONFIG).is_refusal(2, files.CONFIG, "no checkpoint")
    assert not (tmp_path / "out").exists()


def test_wrong_prediction_options_are_refused(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    words = ("predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "out")
    cli(*words, "--set", "objects.treshold=0.4").is_refusal(2, "objects.treshold")
    cli(*words, "--set", "objects.threshold=4").is_refusal(2, "objects.threshold", "4")
    cli(*words, "--device", "gpu").is_refusal(2, "'gpu'", "cpu, cuda")
    assert not (tmp_path / "out").exists()


def two_epochs(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the description of a checkpoint after a second epoch, which was no better than the first."""
    return {**meta, "epoch": 2, "rows": [*meta["rows"], {**meta["rows"][0], "epoch": 2}], "best_epoch": 1}


RUNS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "cut checkpoint": (lambda run: cut(run / files.LAST), (files.LAST, "Damaged")),
    "newer checkpoint": (
        lambda run: rewrite(run / files.LAST, lambda meta: {**meta, "schema_version": 99}),
        (files.LAST, "newer", "Update beadseg."),
    ),
    "checkpoint is lost": (lambda run: (run / files.LAST).unlink(), (files.LAST, "is missing", "new --out folder")),
    "model of an earlier epoch is lost": (
        lambda run: (rewrite(run / files.LAST, two_epochs), (run / files.BEST).unlink()),
        (files.BEST, "epoch 1", "is missing", "new --out folder"),
    ),
    "checkpoint is a folder": (lambda run: as_folder(run / files.LAST), (files.LAST,)),
    "configuration is lost": (lambda run: (run / files.CONFIG).unlink(), ("no configuration", "--out")),
    "configuration of a newer version": (
        lambda run: (run / files.CONFIG).write_text("seed: 0\ncolour: 1\n"),
        (files.CONFIG, "colour"),
    ),
    "samples are lost": (lambda run: (run / files.SAMPLES).unlink(), (files.SAMPLES,)),
    "samples are rubbish": (lambda run: (run / files.SAMPLES).write_text("a,b\n1,2\n"), ("--out",)),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_damaged_run_is_refused_and_left_as_it_is(cli: Cli, run_copy: Path, beads: Path, name: str):
    spoil, texts = RUNS[name]
    spoil(run_copy)
    before = tree(run_copy)
    outcome = cli("train", beads, "--out", run_copy, *SAME_COMMAND)
    outcome.is_refusal(ExitCode.INPUT, str(run_copy), *texts)
    after = tree(run_copy)
    for kept in (files.LAST, files.BEST, files.CONFIG, files.SAMPLES, files.HISTORY):
        assert after.get(kept) == before.get(kept)
    assert unfinished(run_copy) == []


def test_a_model_that_is_lost_is_made_again_of_the_same_weights(cli: Cli, run_copy: Path, beads: Path):
    with safe_open(run_copy / files.BEST, framework="pt") as file:
        before = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    (run_copy / files.BEST).unlink()
    assert cli("train", beads, "--out", run_copy, *SAME_COMMAND).code == ExitCode.OK
    with safe_open(run_copy / files.BEST, framework="pt") as file:
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in before.items())
        assert "objects" in json.loads(file.metadata()["beadseg"])


def test_the_same_command_leaves_a_finished_run_as_it_is(cli: Cli, run_copy: Path, beads: Path):
    before = tree(run_copy)
    outcome = cli("train", beads, "--out", run_copy, *SAME_COMMAND)
    assert outcome.code == ExitCode.OK, outcome.err
    after = tree(run_copy)
    assert all(after[name] == before[name] for name in (files.LAST, files.BEST, files.HISTORY, files.SAMPLES))


def test_another_configuration_or_other_data_in_the_folder_is_refused(cli: Cli, run_copy: Path, dataset: Path):
    before = tree(run_copy)
    other = cli("train", dataset, "--out", run_copy, *SAME_COMMAND, "--set", "optimizer.lr=0.5")
    other.is_refusal(2, str(run_copy), "optimizer.lr: 0.01 there, 0.5 now", "--out")
    path = sorted((dataset / files.LABELS).iterdir())[0]
    tifffile.imwrite(path, np.flipud(tifffile.imread(path)))
    cli("train", dataset, "--out", run_copy, *SAME_COMMAND).is_refusal(2, str(run_copy), "--out")
    assert tree(run_copy) == before


@pytest.fixture
def predictions(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path) -> Path:
    assert cli("predict", run_folder, beads / files.IMAGES, "--out", tmp_path / "pred", "--no-overlays").code in (0, 5)
    return tmp_path / "pred"


def test_predictions_that_cannot_be_scored_are_listed(cli: Cli, predictions: Path, beads: Path):
    labels = sorted((predictions / files.LABELS).iterdir())
    labels[0].write_text("text")
    labels[1].unlink()
    (predictions / files.MASKS / f"{labels[1].stem}.png").unlink()
    tifffile.imwrite(labels[2], np.zeros((50, 60), np.uint32))
    tifffile.imwrite(predictions / files.LABELS / "stranger.tif", np.zeros((96, 96), np.uint32))
    outcome = cli("evaluate", predictions, beads)
    assert outcome.code == ExitCode.SOME_FAILED
    assert outcome.err == ""
    failures = (predictions / "evaluation" / files.FAILURES).read_text(encoding="utf-8").splitlines()[1:]
    assert len(failures) == 4
    for stem, text in ((labels[0].stem, "Is not a TIFF file"), (labels[1].stem, "Has no prediction"),
                       (labels[2].stem, "its labels 60x50 px"), ("stranger", "no such sample")):  # fmt: skip
        assert sum(f",{stem}," in line and text in line for line in failures) == 1
    assert "3 of 6 samples scored" in outcome.out


@pytest.mark.parametrize(("name", "text"), [(files.COUNTS, "a,b\n1,2\n"), (files.COUNTS, ""), (files.PREDICTION, "{")])
def test_a_damaged_prediction_folder_is_left_as_it_is(
    cli: Cli, predictions: Path, run_folder: Path, beads: Path, name: str, text: str
):
    (predictions / name).write_text(text)
    before = tree(predictions)
    cli("predict", run_folder, beads / files.IMAGES, "--out", predictions).is_refusal(2, name, "new --out folder")
    assert tree(predictions) == before


def test_evaluate_refuses_what_is_no_prediction(cli: Cli, predictions: Path, run_folder: Path, beads: Path):
    cli("evaluate", predictions / "gone", beads).is_refusal(2, "gone", "No such prediction folder.")
    cli("evaluate", run_folder, beads).is_refusal(2, str(run_folder), "Holds no predictions")
    cli("evaluate", predictions, beads / "gone").is_refusal(2, "gone", "No such folder.")
    cli("evaluate", predictions, beads, "--density-bins", "a,b").is_refusal(2, "--density-bins", "50,200,800")
    cli("evaluate", predictions, beads, "--diameter", "-1").is_refusal(2, "-1", "positive")
    cli("evaluate", predictions, beads, "--out", run_folder / files.CONFIG).is_refusal(4, files.CONFIG, "in the way")
    assert not (predictions / "evaluation").exists()


@pytest.mark.parametrize("lost", [files.BEST, files.SAMPLES])
def test_a_page_that_cannot_be_made_again_names_what_the_run_lacks(cli: Cli, run_copy: Path, lost: str):
    assert cli("report", run_copy).code == ExitCode.OK
    page = (run_copy / files.REPORT_PAGE).read_bytes()
    (run_copy / lost).unlink()
    cli("report", run_copy).is_refusal(ExitCode.INPUT, f"{lost} of the run is not there: copy it back")
    assert (run_copy / files.REPORT_PAGE).read_bytes() == page
