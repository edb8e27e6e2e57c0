from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from beadseg.config import AugmentConfig, TrainConfig
from beadseg.training.batches import Sampler, TrainingImage, crop


def image(name: str, field: str, size: tuple[int, int] = (80, 100), value: float = 0.0) -> TrainingImage:
    foreground = np.zeros(size, np.uint8)
    foreground[10:14, 20:24] = 1
    pixels = np.full((1, *size), value, np.float32) + foreground
    beads = np.array([[11.5, 21.5]], np.float32)
    return TrainingImage(name, field, pixels, foreground, beads, np.ones(size, np.uint8), np.flatnonzero(foreground))


def config(**changes: object) -> TrainConfig:
    base = TrainConfig.preset("dense", "unet").with_overrides(["epoch.size=32", "epoch.steps=5", "batch=6"])
    return base.replace(**changes)


def test_a_batch_depends_on_seed_epoch_and_step_only():
    images = [image("a", "A"), image("b", "B", value=1.0)]
    one, two = Sampler(images, config()), Sampler(images, config())
    two.draw(1, 0), torch.rand(3), np.random.rand(3)
    for part in ("image", "target", "counted"):
        assert torch.equal(getattr(one.draw(2, 3), part), getattr(two.draw(2, 3), part))
    assert not torch.equal(one.draw(2, 3).image, one.draw(2, 4).image)
    assert not torch.equal(one.draw(2, 3).image, Sampler(images, config(seed=1)).draw(2, 3).image)


def test_fields_weigh_the_same_however_many_images_each_has():
    images = [image(f"a{i}", "A") for i in range(9)] + [image("b", "B", value=5.0)]
    settings = config(augment=AugmentConfig.none(), batch=50)
    sampler = Sampler(images, settings.replace(epoch=settings.epoch.replace(balance="fields")))
    means = torch.cat([sampler.draw(1, step).image.mean((1, 2, 3)) for step in range(10)])
    assert 0.4 < (means > 2.5).float().mean() < 0.6


def test_patches_on_beads_show_beads():
    empty_mostly = image("a", "A", size=(400, 400))
    settings = config(augment=AugmentConfig.none(), batch=50)
    on = Sampler([empty_mostly], settings.replace(epoch=settings.epoch.replace(on_bead=1.0)))
    off = Sampler([empty_mostly], settings.replace(epoch=settings.epoch.replace(on_bead=0.0)))
    assert (on.draw(1, 0).target.amax((1, 2, 3)) == 1).all()
    assert (off.draw(1, 0).target.amax((1, 2, 3)) == 1).float().mean() < 0.2


def test_an_image_epoch_shows_every_image_once():
    images = [image(str(i), "A", value=float(10 * i)) for i in range(7)]
    settings = TrainConfig.preset("microbeads").with_overrides(["epoch.size=32", "batch=3"])
    sampler = Sampler(images, settings)
    assert sampler.steps == 3
    seen = torch.cat([sampler.draw(1, step).image.amin((1, 2, 3)) for step in range(3)])
    assert sorted(seen.tolist()) == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]


def test_an_image_smaller_than_the_patch_is_mirrored_and_not_counted_there():
    patch = crop(image("a", "A", size=(20, 40)), 32, np.random.default_rng(0), None)
    assert patch.shape == (3, 32, 32)
    counted = patch[-1]
    assert counted[:20].all()
    assert not counted[20:].any()


@pytest.mark.parametrize("place", [(0, 0), (79, 99)])
def test_a_crop_at_the_border_stays_inside(place: tuple[int, int]):
    patch = crop(image("a", "A"), 32, np.random.default_rng(1), place)
    assert patch.shape == (3, 32, 32)
    assert patch[-1].all()


def test_a_share_of_the_patches_is_simulated_and_known_everywhere():
    real = image("a", "A")
    unclear = dataclasses.replace(real, centre=np.zeros((80, 100), np.float16), certain=np.zeros((80, 100), np.uint8))
    settings = config(augment=AugmentConfig.none(), batch=40, image={"channels": {"kind": "grey"}})
    settings = settings.with_overrides(["predict.objects.diameter=8", "epoch.simulated=0.5", "epoch.looks=bright"])
    batch = Sampler([unclear], settings).draw(1, 0)
    assert batch.counted.shape == (40, 2, 32, 32)
    simulated = batch.counted[:, 1].amax((1, 2)) > 0
    assert 0.25 < simulated.float().mean() < 0.75
    assert batch.target[simulated, 1].amax() > 0.9
    assert not batch.target[~simulated, 1].any()
    assert torch.equal(batch.image, Sampler([unclear], settings).draw(1, 0).image)
