"""The test of a reduced precision on a tile with beads: it passes where it must, and can fail."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from beadseg.config import ObjectConfig
from beadseg.predict.prediction import Maps
from beadseg.predict.segmenter import Segmenter, same_beads


@pytest.fixture
def trained() -> Segmenter:
    """The general model: a network that was trained to its end."""
    return Segmenter.load("general", device="cpu")


def test_bf16_finds_the_beads_that_fp32_finds(trained: Segmenter) -> None:
    assert trained._agrees("bf16")


def test_an_arithmetic_that_loses_the_beads_is_found_out(trained: Segmenter) -> None:
    """A large offset that the next norm takes away: little changes in fp32, but bf16 keeps three digits of it."""
    modules = list(trained.network.modules())
    shifted = 0
    for number, conv in enumerate(modules):
        norm = next((each for each in modules[number + 1 : number + 3] if isinstance(each, nn.BatchNorm2d)), None)
        if isinstance(conv, nn.Conv2d) and norm is not None and norm.running_mean is not None:
            offset = torch.full((conv.out_channels,), 2000.0)
            conv.bias = nn.Parameter(offset if conv.bias is None else conv.bias.detach() + offset)
            norm.running_mean += offset
            shifted += 1
    assert shifted
    assert trained._agrees("fp32")
    assert not trained._agrees("bf16")


def beads(*places: tuple[int, int]) -> Maps:
    y, x = np.mgrid[:64, :64]
    probability = np.zeros((64, 64), np.float32)
    for cy, cx in places:
        probability[(y - cy) ** 2 + (x - cx) ** 2 <= 12] = 0.9
    return Maps(probability)


GRID = tuple((y, x) for y in range(8, 64, 12) for x in range(8, 64, 12))


@pytest.mark.parametrize(
    ("fast", "same"),
    [
        (beads(*GRID), True),
        (Maps(beads(*GRID).probability * 0.99), True),
        (beads(*GRID[:-2]), False),
        (Maps(np.roll(beads(*GRID).probability, 1, axis=0)), False),
        (Maps(np.full((64, 64), np.nan, np.float32)), False),
        (beads(), False),
    ],
)
def test_masks_and_counts_are_compared(fast: Maps, same: bool) -> None:
    assert same_beads(beads(*GRID), fast, ObjectConfig(diameter=7.0)) == same


def test_where_no_bead_is_found_the_probabilities_are_compared() -> None:
    objects = ObjectConfig(diameter=7.0)
    assert same_beads(beads(), beads(), objects)
    assert not same_beads(beads(), beads((30, 30)), objects)
