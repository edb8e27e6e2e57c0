"""Settings and what a run says of them: nothing is reset, carried over or changed without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from fault_helpers import SHORT, Cli

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import ConfigError, ExitCode
from beadseg.training.crossval import _run_folders
from beadseg.training.prepare import prepare


def test_another_network_for_a_configuration_keeps_the_centre_head(cli: Cli, run_copy: Path, beads: Path) -> None:
    words = ("train", beads, "--out", run_copy.parent / "other", "--config", run_copy / files.ASKED)
    outcome = cli(*words, "--model", "attention-unet", *SHORT, "--set", "epochs=1")
    assert outcome.code == ExitCode.OK, outcome.err
    assert TrainConfig.from_file(run_copy.parent / "other" / files.CONFIG).network.heads == ("foreground", "centre")


def test_settings_that_do_not_apply_are_named(cli: Cli, beads: Path, tmp_path: Path) -> None:
    changes = ("--set", "network.residual_units=3", "--set", "network.kind=attention-unet")
    outcome = cli("train", beads, "--out", tmp_path / "run", "--plan", *changes)
    assert outcome.code == ExitCode.OK, outcome.err
    assert (
        "Does not apply to network.kind=attention-unet and is left out: residual_units (3), first_stride (2)."
        in outcome.out
    )


def test_a_run_keeps_what_was_asked_for_and_what_was_planned(run_folder: Path, beads: Path) -> None:
    asked = TrainConfig.from_file(run_folder / files.ASKED)
    planned = TrainConfig.from_file(run_folder / files.CONFIG)
    assert asked.predict.objects.diameter is None
    assert asked.network.first_stride is None
    assert planned.predict.objects.diameter is not None
    assert prepare(Dataset.open(beads), asked).config == planned


def test_the_settings_of_a_run_are_planned_again_for_other_data(cli: Cli, run_folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "larger"
    words = ("simulate", other, "--size", "160", "--diameter", "16", "--beads", "8", "--tiles", "4", "--fields", "2")
    assert cli(*words, "--dilutions", "80").code == ExitCode.OK
    planned = cli("train", other, "--out", tmp_path / "run", "--plan", "--config", run_folder)
    assert planned.code == ExitCode.OK, planned.err
    assert "Planned predict.objects.diameter = 1" in planned.out
    carried = cli("train", other, "--out", tmp_path / "run", "--plan", "--config", run_folder / files.CONFIG)
    assert f"To plan them again for other data, give its folder: --config {run_folder}." in carried.out
    assert "but the annotated beads are" in carried.out


@pytest.mark.parametrize("name", ["optimizer.lr", "optimizer.clip", "image.norm.gain", "predict.objects.diameter",
                                  "loss.ce_per_area", "predict.objects.min_focus"])  # fmt: skip
@pytest.mark.parametrize("value", [".inf", ".nan", "1e999"])
def test_infinity_is_within_no_bounds(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name.rpartition(".")[2]):
        TrainConfig.preset("dense", "unet").with_overrides([f"{name}={value}"])


def test_images_are_no_longer_shrunk_for_training_alone() -> None:
    """``epoch.fit=resize`` trained on shrunken beads and predicted at full size."""
    old = TrainConfig.preset("microbeads").model_dump(mode="json")
    read = TrainConfig.parse({**old, "epoch": {**old["epoch"], "fit": "crop"}})
    assert read == TrainConfig.preset("microbeads")
    with pytest.raises(ConfigError, match=r"fit=resize is gone: it trained on shrunken beads.*Leave fit out"):
        TrainConfig.parse({**old, "epoch": {**old["epoch"], "fit": "resize"}})


def test_folders_of_folds_never_collide() -> None:
    names = ["a b", "a_b", "A_B", "a-b", "predictions", "a b"[::-1], "crossval.csv"]
    folders = _run_folders(names)
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    assert folders["a b"] == "a_b"
    assert files.PREDICTIONS not in folders.values()
