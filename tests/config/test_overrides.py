from __future__ import annotations

from pathlib import Path

import pytest

from beadseg.config import NETWORK_KINDS, PRESETS, TrainConfig
from beadseg.config.base import overrides


@pytest.mark.parametrize("network", NETWORK_KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_reached_from_every_other(preset: str, network: str) -> None:
    wanted = TrainConfig.preset(preset, network)
    for start in PRESETS:
        base = TrainConfig.preset(start)
        assert base.with_overrides(overrides(base, wanted)) == wanted


def test_only_what_differs_is_named() -> None:
    base = TrainConfig.preset("dense", "unet")
    assert overrides(base, base) == []
    given = ["optimizer.lr=3e-05", "network.depth=5", "loss.kind=focal", "loss.gamma=1.5", "augment.flip=0"]
    changed = base.with_overrides(given)
    assert set(overrides(base, changed)) == {
        "optimizer.lr=3e-05", "network.depth=5", "loss.kind=focal", "loss.gamma=1.5", "augment.flip=0.0",
    }  # fmt: skip
    assert base.with_overrides(overrides(base, changed)) == changed


@pytest.mark.parametrize("name", ["split.csv", "two words.csv", "null", "ä: ö.csv", "7"])
def test_paths_come_back_as_they_are(name: str) -> None:
    base = TrainConfig.preset("dense")
    wanted = base.replace(split={"kind": "file", "path": Path("data") / name}, batch=4)
    assert base.with_overrides(overrides(base, wanted)) == wanted
