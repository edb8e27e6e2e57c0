"""Beads that a tile's border cuts are counted once: the maps are put together before anything is separated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from predict_helpers import FINGERPRINT, Darkness

from beadseg.config import TilingConfig, TrainConfig
from beadseg.config.train import HalfUNetConfig, NetworkConfig, UNetConfig
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.events import Event
from beadseg.model.backends import TorchBackend
from beadseg.model.networks import build_network
from beadseg.predict.blocks import network_reach, probabilities
from beadseg.predict.segmenter import Segmenter

TILES = TilingConfig(whole_image_pixels=4096, tile=64, overlap=0.125)


class TwoHeads(Darkness):
    """Knows foreground and centres by darkness alone, so that what a tile sees does not depend on its neighbours."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([super().forward(x), super().forward(x + 0.2)], dim=1)


@pytest.mark.parametrize("network", [Darkness(), TwoHeads()], ids=["foreground", "with centres"])
def test_beads_at_the_borders_of_tiles_are_counted_once(network: Darkness):
    heads = "[foreground, centre]" if isinstance(network, TwoHeads) else "[foreground]"
    config = TrainConfig.preset("dense", "unet").with_overrides(
        [f"network.heads={heads}", "image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32"]
    )
    segmenter = Segmenter(network, config, FINGERPRINT, torch.device("cpu"))  # type: ignore[arg-type]
    scene = SceneConfig(height=200, width=260, beads=250, channels="grey", debris=0, read_noise=0, shot_noise=0)
    image = simulate(scene, 3).image
    whole = segmenter.predict(image)
    segmenter.options = segmenter.options.replace(tiling=TILES)
    tiled = segmenter.predict(image)
    assert whole.count > 100
    on_borders = (whole.labels[:, 56:200:56] > 0).sum() + (whole.labels[56:200:56] > 0).sum()
    assert on_borders > 20
    assert tiled.count == whole.count
    assert (tiled.labels == whole.labels).all()
    assert tiled.beads["area_px"].tolist() == whole.beads["area_px"].tolist()


def blocks_of(network: Any, image: NDArray[np.float32], pixels: int) -> tuple[NDArray[np.float32], int]:
    said: list[Event] = []
    tiling = TilingConfig(whole_image_pixels=pixels)
    return probabilities(TorchBackend(network), image, tiling, said.append), len(said)


@pytest.mark.parametrize("config", [HalfUNetConfig(depth=2, width=4), UNetConfig(depth=3, first_stride=1, width=4)])
@pytest.mark.parametrize("pixels", [20_000, 30_000])
def test_blocks_give_what_the_whole_image_would(config: NetworkConfig, pixels: int):
    torch.manual_seed(0)
    network = build_network(config, 1).eval()
    for norm in network.modules():  # as after training: each feature has a mean and a spread of its own
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.normal_()  # type: ignore[union-attr]
    network.head.weight.data *= 10
    image = np.random.default_rng(0).normal(size=(1, 203, 250)).astype(np.float32)
    whole, _ = blocks_of(network, image, 4_000_000)
    parts, blocks = blocks_of(network, image, pixels)
    assert blocks > 2
    assert np.abs(parts - whole).max() < 1e-5
    assert np.ptp(whole) > 0.01


def test_the_reach_of_a_network_is_what_a_pixel_can_see():
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 2, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(2, 1, 9, padding=4)
    network = torch.nn.Sequential(*layers)
    network.size_multiple = 4  # type: ignore[assignment]
    assert network_reach(network, 1) == 8  # 2 + 4 px, in whole multiples
    endless = UNetConfig(depth=3, first_stride=1, width=4, norm="instance")
    assert network_reach(build_network(endless, 1).eval(), 1) is None
