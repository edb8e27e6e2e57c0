"""Beads that a tile's border cuts are counted once: tiles are blended before anything is separated."""

from __future__ import annotations

import pytest
import torch
from predict_helpers import FINGERPRINT, Darkness

from beadseg.config import TilingConfig, TrainConfig
from beadseg.data.simulate import SceneConfig, simulate
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
