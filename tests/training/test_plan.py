from __future__ import annotations

import pytest

from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.training.prepare import plan


@pytest.fixture(scope="module")
def found(dataset: Dataset) -> Fingerprint:
    return fingerprint(dataset)


def test_every_open_value_is_planned_with_a_reason(found: Fingerprint):
    config, reasons = plan(TrainConfig.preset("dense", "unet"), found)
    assert config.network.first_stride == 1
    assert None not in (config.network.depth, config.epoch.size, config.epoch.steps, config.batch)
    assert config.predict.objects.diameter == pytest.approx(7, abs=1)
    assert all(item.reason for item in reasons)


def test_values_that_the_user_set_stay(found: Fingerprint):
    wanted = ["network.depth=3", "epoch.size=64", "epoch.steps=7", "batch=2", "predict.objects.diameter=9"]
    config, reasons = plan(TrainConfig.preset("dense", "unet").with_overrides(wanted), found)
    assert (config.network.depth, config.epoch.size, config.epoch.steps, config.batch) == (3, 64, 7, 2)
    assert config.predict.objects.diameter == 9
    assert [item.field for item in reasons] == ["network.first_stride"]


def test_larger_beads_get_deeper_networks_and_a_first_stride(found: Fingerprint):
    config, _ = plan(TrainConfig.preset("dense", "unet"), found.replace(bead_diameter_px=60.0))
    assert config.network.depth > 5
    assert config.network.first_stride == 2


def test_patches_fit_into_the_smallest_image(found: Fingerprint):
    config, _ = plan(TrainConfig.preset("dense", "unet"), found.replace(height_min=50))
    assert config.epoch.size <= 64
