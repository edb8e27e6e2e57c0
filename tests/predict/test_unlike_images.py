"""An image unlike the training images is told apart, in words with numbers, and its count gets no interval."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from predict_helpers import FINGERPRINT, Darkness

from appearance_helpers import COLOUR, SCENE, changed, measured, view
from beadseg import files
from beadseg.config import TrainConfig
from beadseg.errors import RunError
from beadseg.events import Event
from beadseg.measure.appearance import APPEARANCE, PropertyRange, TrainingAppearance, Value
from beadseg.measure.calibration import Calibration, KnownImage
from beadseg.predict import Segmenter
from beadseg.predict.batch import predict_folder
from beadseg.predict.counts import IMPLAUSIBLE, NO_INTERVAL, UNLIKE, unlike
from beadseg.predict.prediction import StoredMaps

SEEDS = range(8)


@pytest.fixture(scope="module")
def training() -> TrainingAppearance:
    scenes = [SCENE.replace(beads=beads) for beads in (30, 90)]
    return TrainingAppearance.of([measured(scenes[seed % 2], seed) for seed in SEEDS], COLOUR, 7.0)


@pytest.mark.parametrize("seed", range(20, 26))
def test_new_images_of_the_same_kind_are_like_the_training_images(training: TrainingAppearance, seed: int) -> None:
    assert unlike(training, measured(SCENE.replace(beads=15 * (1 + seed % 4)), seed)) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("grey", "grey or one colour only (training images: colour)"),
        ("grey as colour", "grey or one colour only"),
        ("green", "grey or one colour only"),
        ("swapped", "of the contrast of beads is blue (training images: "),
        ("gamma 1/2.2", "contrast of beads 0."),
        ("gamma 2.2", "contrast of beads 0."),
        ("contrast / 3", "contrast of beads 0."),
        ("blur", "contrast of beads 0."),
        ("inverted", "beads are brighter than the background (training images: darker)"),
        ("offset", "was an offset added?"),
        ("subtracted", "was it already subtracted?"),
        ("overexposed", "is it overexposed or clipped?"),
    ],
)
def test_what_is_unlike_is_told_with_numbers(training: TrainingAppearance, change: str, words: str) -> None:
    said = unlike(training, changed(change, 30))
    assert any(words in text for text in said), said
    assert all("; " not in text for text in said), "flags are separated by this"


def test_an_exposure_that_the_normalisation_removes_is_like_the_training(training: TrainingAppearance) -> None:
    assert unlike(training, changed("half as bright", 30)) == []


@pytest.mark.parametrize(
    ("scene", "words"),
    [
        (SCENE.replace(read_noise=10, shot_noise=22), "noise 0."),
        (SCENE.replace(diameter_px=14, beads=25), "bead diameter"),
        (SCENE.replace(diameter_px=3.5), "bead diameter"),
        (SCENE.replace(defocus_px=3.5), "sharpness of bead edges"),
    ],
)
def test_another_scene_is_told(training: TrainingAppearance, scene: object, words: str) -> None:
    assert any(text.startswith(words) for text in unlike(training, measured(scene, 31)))


def test_a_colour_image_is_unlike_grey_training_images() -> None:
    grey = TrainingAppearance.of([changed("grey", seed) for seed in SEEDS], COLOUR, 7.0)
    assert unlike(grey, changed("grey", 40)) == []
    assert "colour (training images: grey)" in unlike(grey, measured(SCENE, 40))


def test_one_training_image_is_enough_to_compare_with() -> None:
    single = TrainingAppearance.of([measured(SCENE, 0)], COLOUR, 7.0)
    assert unlike(single, measured(SCENE, 50)) == []
    assert unlike(single, changed("contrast / 3", 50))


def test_training_images_without_beads_can_be_compared_with() -> None:
    empty = TrainingAppearance.of([measured(SCENE.replace(beads=0.0), seed) for seed in range(3)], COLOUR, 7.0)
    assert unlike(empty, measured(SCENE.replace(beads=0.0), 60)) == []
    assert "was an offset added?" in " ".join(unlike(empty, changed("offset", 60)))


@pytest.fixture(scope="module")
def model() -> Segmenter:
    """A network that needs no training, with what its images look like and a calibration."""
    config = TrainConfig.preset("dense", "unet").with_overrides(
        ["image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32"]
    )
    plain = Segmenter(Darkness(), config, dict(FINGERPRINT), torch.device("cpu"))
    looks = []
    for seed in SEEDS:
        plane, _ = view(SCENE, seed)
        plain.appearance = TrainingAppearance.of([measured(SCENE, 0)], config.image, 7.0)  # so that samples are kept
        looks.append(plain.predict(plane).appearance(7.0))
    known = TrainingAppearance.of([look for look in looks if look is not None], config.image, 7.0)
    segmenter = Segmenter(Darkness(), config, {**FINGERPRINT, APPEARANCE: known.model_dump()}, torch.device("cpu"))
    images = [KnownImage(192 * 192, beads, 1, 1, 30.0 * beads) for beads in (20, 40, 60, 80) for _ in range(6)]
    segmenter.calibration = Calibration.of(segmenter.options.objects, "validation", 24, images)
    return segmenter


def predicted(model: Segmenter, tmp_path: Path, change: str, **options: bool) -> tuple[pd.Series, list[Event]]:
    plane, _ = view(SCENE, 70, change)
    tifffile.imwrite(tmp_path / "image.tif", np.moveaxis(plane, 0, -1), photometric="rgb")
    told: list[Event] = []
    predict_folder(model, [tmp_path / "image.tif"], tmp_path / "out", on_event=told.append, **options)
    return pd.read_csv(tmp_path / "out" / files.COUNTS, keep_default_na=False).iloc[0], told


def test_an_image_like_the_training_images_has_an_interval(model: Segmenter, tmp_path: Path) -> None:
    row, _ = predicted(model, tmp_path, "")
    assert "training images:" not in row["flags"]
    assert NO_INTERVAL not in row["flags"]
    assert row["beads_low"] != ""


@pytest.mark.parametrize("change", ["contrast / 3", "offset"])
def test_an_unlike_image_has_a_flag_and_no_interval(model: Segmenter, tmp_path: Path, change: str) -> None:
    row, told = predicted(model, tmp_path, change)
    said = row["flags"].split("; ")
    assert said[-1] == NO_INTERVAL
    assert any("(training images: " in text for text in said)
    assert row["flags"].startswith((UNLIKE, IMPLAUSIBLE))
    assert f"{UNLIKE}" in row["flags"]
    assert not any("IMPLAUSIBLE" in event.message for event in told)
    assert [row[name] for name in row.index if name.endswith(("_low", "_high"))] == [""] * 10
    assert any(event.level == "warning" and NO_INTERVAL in event.message for event in told)


def test_nothing_found_names_the_offset(model: Segmenter, tmp_path: Path) -> None:
    row, _ = predicted(model, tmp_path, "offset")
    assert row["beads"] == 0
    assert "nothing found" in row["flags"]
    assert "was an offset added?" in row["flags"]
    assert "values are 32," in row["flags"]


def test_maps_on_disk_tell_the_same(model: Segmenter, tmp_path: Path) -> None:
    row, _ = predicted(model, tmp_path, "contrast / 3", maps=True)
    stored = StoredMaps(tmp_path / "out", "image")
    again = predict_folder(stored, [tmp_path / "image.tif"], tmp_path / "again").counts.iloc[0]
    assert again["flags"] == row["flags"]


def test_of_a_model_of_an_earlier_version_it_is_said_that_nothing_is_compared(
    segmenter: Segmenter, tmp_path: Path
) -> None:
    row, told = predicted(segmenter, tmp_path, "contrast / 3")
    assert NO_INTERVAL not in row["flags"]
    assert any("are not compared" in event.message for event in told if event.level == "warning")


def test_a_damaged_description_is_refused(model: Segmenter) -> None:
    damaged = {**FINGERPRINT, APPEARANCE: {"images": "many"}}
    with pytest.raises(RunError, match="damaged"):
        Segmenter(Darkness(), model.config, damaged, torch.device("cpu"))


RANGES = {"red": (0.30, 0.35, 0.02), "blue": (0.20, 0.25, 0.02), "sharpness": (0.50, 0.60, 0.06)}
"""Lowest and highest value in the training images, and how far above an image's value may lie."""


@pytest.mark.parametrize(
    ("far", "flags"), [((0.9, 0.0, 0.0), 0), ((1.1, 0.0, 0.0), 1), ((0.5, 0.5, 0.5), 0), ((0.7, 0.7, 0.7), 3)]
)
def test_several_small_differences_add_up(far: tuple[float, ...], flags: int) -> None:
    plain = measured(SCENE, 0)
    values = {
        name: Value(high + share * room) for share, (name, (_, high, room)) in zip(far, RANGES.items(), strict=True)
    }
    ranges = {
        name: PropertyRange(low=low, high=high, middle=(low + high) / 2, spread=0.0, scatter=0.0)
        for name, (low, high, _) in RANGES.items()
    }
    training = TrainingAppearance(images=9, diameter=7.0, channels_min=3, channels_max=3, relative=True, ranges=ranges,
                                  dark_per_mpx=(), bright_per_mpx=())  # fmt: skip
    assert len(unlike(training, replace(plain, values=values))) == flags
