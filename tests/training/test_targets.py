from __future__ import annotations

import numpy as np
import pytest
import torch

from beadseg.config import ObjectConfig
from beadseg.config.centre import CentreConfig, DistanceTargetConfig, GaussianTargetConfig
from beadseg.config.loss import DiceCELossConfig
from beadseg.data.dataset import Target
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.model.losses import build_heads_loss
from beadseg.predict.bead_size import decoded
from beadseg.training.targets import centre_map, centres, instances, look_target

OBJECTS = ObjectConfig(diameter=7.0)


def labels(*positions: tuple[int, int], size: int = 40) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    result = np.zeros((size, size), np.uint32)
    for number, (cy, cx) in enumerate(positions, start=1):
        result[(y - cy) ** 2 + (x - cx) ** 2 <= 3.5**2] = number
    return result


def test_labels_stay_as_they_are_annotated():
    annotated = labels((10, 10), (30, 30)) * 5
    assert instances(Target(annotated > 0, annotated), OBJECTS) is annotated


def test_a_mask_without_ids_is_divided_where_beads_touch():
    truth = labels((20, 12), (20, 18), (8, 30))
    divided = instances(Target(truth > 0), OBJECTS)
    found = centres(divided)
    assert len(found) == 3
    distances = np.abs(found[:, None] - centres(truth)[None]).max(axis=2).min(axis=0)
    assert distances.max() < 0.75


@pytest.mark.parametrize("target", [GaussianTargetConfig(), DistanceTargetConfig()], ids=["gaussian", "distance"])
def test_the_map_is_highest_at_the_centres_and_low_between_touching_beads(target: object):
    annotated = labels((20, 12), (20, 19))
    learned = centre_map(annotated, target, OBJECTS)  # type: ignore[arg-type]
    assert learned.shape == annotated.shape
    assert learned[20, 12] == learned[20, 19] == pytest.approx(1, abs=0.01)
    assert learned[20, 15] < 0.5
    assert learned[0, 0] == 0


def test_gaussians_at_the_border_are_cut_not_moved():
    learned = centre_map(labels((1, 1)), GaussianTargetConfig(), OBJECTS)
    assert np.unravel_index(learned.argmax(), learned.shape) in [(1, 1), (2, 2), (1, 2), (2, 1)]


def test_no_bead_gives_an_empty_map():
    assert not centre_map(np.zeros((20, 20), np.uint32), GaussianTargetConfig(), OBJECTS).any()
    assert not centre_map(np.zeros((20, 20), np.uint32), DistanceTargetConfig(), OBJECTS).any()


def test_a_simulated_image_teaches_every_bead_by_its_own_size():
    look = draw_look(LookConfig(empty=0.0, dirty=0.0, written=0.0, mixed=1.0, mixed_ratio=(3.0, 3.0)), 4)
    target = look_target(look, 8.0, 0.13)
    rows, columns = np.rint(look.centres).astype(int).clip(0, 127).T
    assert (target[1][rows, columns] > 0.6).all()
    own = look.labels[rows, columns] == np.arange(1, len(rows) + 1)
    np.testing.assert_allclose(decoded(target[2][rows, columns], 8.0)[own], look.diameters[own], rtol=0.01)
    assert ((target[0] > 0) == (look.labels > 0)).all()
    within = (look.labels > 0) & (look.labels <= len(look.centres))
    assert ((target[2] > 0) == within).all()  # of a bead whose centre lies outside, only a part is seen
    assert target[3].min() in (0, 1)


def test_the_loss_of_the_size_counts_beads_only():
    size, logits = torch.zeros((1, 3, 8, 8)), torch.zeros((1, 3, 8, 8))
    size[0, 2, :4], logits[0, 2, :4], logits[0, 2, 4:] = 0.25, float(np.log(1 / 3)), 5.0
    loss = build_heads_loss(DiceCELossConfig(), CentreConfig(), ("foreground", "centre", "size"))
    assert loss.size is not None
    assert float(loss.size(logits[:, 2:], size[:, 2:])) == pytest.approx(0.0, abs=1e-6)
    assert float(loss.size(logits[:, 2:] + 1, size[:, 2:])) > 0.1
