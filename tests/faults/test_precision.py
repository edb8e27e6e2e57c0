"""The test of a reduced precision on a tile with beads: it passes where it must, and can fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from beadseg import files
from beadseg.config import ObjectConfig, TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.events import Event
from beadseg.model.backends import Precision, TorchBackend
from beadseg.predict.prediction import Maps
from beadseg.predict.segmenter import Segmenter, same_beads
from beadseg.training.batches import load_images
from beadseg.training.trainer import Trainer


@pytest.fixture
def trained() -> Segmenter:
    """The general model: a network that was trained to its end."""
    return Segmenter.load("general", device="cpu")


def test_bf16_finds_the_beads_that_fp32_finds(trained: Segmenter) -> None:
    assert agrees(trained, "bf16")


def agrees(segmenter: Segmenter, precision: Precision) -> bool:
    return segmenter._agrees(TorchBackend(segmenter.network, precision), segmenter._tile())


def lose_in_bf16(network: nn.Module) -> None:
    """Add a large offset that the next norm takes away: little changes in fp32, but bf16 keeps three digits of it."""
    modules = list(network.modules())
    shifted = 0
    for number, conv in enumerate(modules):
        norm = next((each for each in modules[number + 1 : number + 3] if isinstance(each, nn.BatchNorm2d)), None)
        if isinstance(conv, nn.Conv2d) and norm is not None and norm.running_mean is not None:
            offset = torch.full((conv.out_channels,), 2000.0)
            conv.bias = nn.Parameter(offset if conv.bias is None else conv.bias.detach() + offset)
            norm.running_mean += offset
            shifted += 1
    assert shifted


def test_an_arithmetic_that_loses_the_beads_is_found_out(trained: Segmenter) -> None:
    lose_in_bf16(trained.network)
    assert agrees(trained, "fp32")
    assert not agrees(trained, "bf16")
    trained.options = trained.options.replace(backend="torch", precision="bf16")
    said: list[Event] = []
    assert trained.backend(said.append).precision == "fp32"
    assert ["torch bf16 disagrees with fp32" in event.message for event in said] == [True]


@pytest.mark.parametrize("loses", [False, True])
def test_a_training_that_loses_beads_in_bf16_goes_on_in_fp32(
    trained: Segmenter, run_folder: Path, beads: Path, tmp_path: Path, loses: bool
) -> None:
    """What is tested after every epoch, here with weights that find beads: those of the general model."""
    config = TrainConfig.from_file(run_folder / files.CONFIG).replace(image=trained.config.image, precision="bf16")
    images = load_images(Dataset.open(beads).samples, config)
    told: list[Event] = []
    trainer = Trainer(images, [], config, tmp_path, {}, torch.device("cpu"), told.append)
    trainer.average = trained.network
    if loses:
        lose_in_bf16(trained.network)
    trainer._check_precision()
    assert trainer.precision == trainer.stepper.precision == ("fp32" if loses else "bf16")
    assert any("bf16 does not find the beads that fp32 finds" in event.message for event in told) == loses


def maps_of(*places: tuple[int, int]) -> Maps:
    y, x = np.mgrid[:64, :64]
    probability = np.zeros((64, 64), np.float32)
    for cy, cx in places:
        probability[(y - cy) ** 2 + (x - cx) ** 2 <= 12] = 0.9
    return Maps(probability)


GRID = tuple((y, x) for y in range(8, 64, 12) for x in range(8, 64, 12))


@pytest.mark.parametrize(
    ("fast", "same"),
    [
        (maps_of(*GRID), True),
        (Maps(maps_of(*GRID).probability * 0.99), True),
        (maps_of(*GRID[:-2]), False),
        (Maps(np.roll(maps_of(*GRID).probability, 1, axis=0)), False),
        (Maps(np.full((64, 64), np.nan, np.float32)), False),
        (maps_of(), False),
    ],
)
def test_masks_and_counts_are_compared(fast: Maps, same: bool) -> None:
    assert same_beads(maps_of(*GRID), fast, ObjectConfig(diameter=7.0)) == same


def test_where_no_bead_is_found_the_probabilities_are_compared() -> None:
    objects = ObjectConfig(diameter=7.0)
    assert same_beads(maps_of(), maps_of(), objects)
    assert not same_beads(maps_of(), maps_of((30, 30)), objects)
