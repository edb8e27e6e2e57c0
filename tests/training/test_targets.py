from __future__ import annotations

import numpy as np
import pytest
import torch

from beadseg.config import ObjectConfig
from beadseg.config.train import CentreConfig, DiceCELossConfig, DistanceTargetConfig, GaussianTargetConfig
from beadseg.data.dataset import Target
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.model.losses import build_heads_loss
from beadseg.predict.bead_size import decoded
from beadseg.training.targets import centre_map, centres, foreground_of_points, instances, known_beads, look_target

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


def test_points_are_the_centres_of_a_mask():
    truth = labels((20, 12), (20, 18), (8, 30))
    points = np.array([(20, 12), (20, 18), (8, 30)], np.float32)
    found = known_beads(Target(truth > 0, points=points), OBJECTS, seeds=points[:1])
    assert found.certain is None
    np.testing.assert_array_equal(found.centres, points)
    assert len(np.unique(found.labels[found.labels > 0])) == 3
    assert ((found.labels > 0) == (truth > 0)).all()


def test_a_fused_clump_is_divided_by_what_a_model_sees_in_it_where_its_area_allows():
    close = labels((20, 12), (20, 15)) > 0  # one oval: by its shape a single bead
    assert len(centres(instances(Target(close), OBJECTS))) == 1
    seeds = np.array([(20, 12), (20, 15)], np.float32)
    found = known_beads(Target(close), OBJECTS, seeds)
    np.testing.assert_array_equal(found.centres, seeds)
    assert found.certain is not None
    assert found.certain.all()
    crowd = np.array([(20, x) for x in range(10, 19, 2)], np.float32)  # too many for its area
    unsure = known_beads(Target(close), OBJECTS, crowd)
    assert unsure.certain is not None
    assert not unsure.certain[close].any()
    assert unsure.certain[:10].all()
    assert not len(unsure.centres)
    assert not unsure.labels.any()


def test_where_shape_sees_more_beads_than_the_model_it_is_left_open():
    pair = labels((20, 12), (20, 19)) > 0
    found = known_beads(Target(pair), OBJECTS, np.array([(20, 12)], np.float32))
    assert found.certain is not None
    assert not found.certain[pair].any()
    assert not len(found.centres)


def test_a_single_round_bead_is_known_whatever_the_model_says():
    single = labels((20, 12)) > 0
    for seeds in (np.zeros((0, 2), np.float32), np.array([(21, 13)], np.float32)):
        found = known_beads(Target(single), OBJECTS, seeds)
        assert found.certain is not None
        assert found.certain.all()
        np.testing.assert_allclose(found.centres, [(20, 12)], atol=0.01)


def test_the_areas_of_points_are_known_as_far_as_a_model_sees_them():
    points, probability = np.array([(20, 20)], np.float32), np.full((40, 40), 0.4, np.float32)
    probability[:, :20] = 0.9
    bead, unsure = foreground_of_points(points, probability, 8.0)
    assert bead[18:23, 20].all()  # near the point, whatever the model says
    assert bead[20, 15]
    assert unsure[20, 25]
    assert not bead[20, 12]  # too far for a bead that was marked
    assert not (bead | unsure)[:10].any()
    nothing = foreground_of_points(np.zeros((0, 2)), probability, 8.0)
    assert not np.any(nothing)


def test_the_centre_map_has_a_mask_of_its_own():
    loss = build_heads_loss(DiceCELossConfig(), CentreConfig(), ("foreground", "centre"))
    logits, target = torch.zeros((1, 2, 8, 8)), torch.zeros((1, 2, 8, 8))
    target[0, :, 2:5, 2:5] = 1
    both, none = torch.ones((1, 1, 8, 8)), torch.zeros((1, 1, 8, 8))
    alone = build_heads_loss(DiceCELossConfig(), CentreConfig(), ("foreground",))(logits[:, :1], target[:, :1], both)
    assert float(loss(logits, target, torch.cat([both, none], 1))) == pytest.approx(float(alone))
    assert float(loss(logits, target, torch.cat([both, both], 1))) == pytest.approx(float(loss(logits, target, both)))
