from __future__ import annotations

import numpy as np
import pytest

from beadseg.data.dataset import Target
from beadseg.errors import InputError
from beadseg.measure.scores import ImageScore, group_score, group_scores, score_image, with_density


def target(columns: int, rows: int = 1) -> np.ndarray:
    """A plane with single-pixel beads on a grid, `rows` times `columns` of them."""
    plane = np.zeros((20, 60), bool)
    plane[1 : 1 + 2 * rows : 2, 1 : 1 + 2 * columns : 2] = True
    return plane


def score(true: int, found: int, field: str = "a", name: str = "x") -> ImageScore:
    return score_image(name, name, field, target(found), None, Target(target(true)))


def test_image_by_hand() -> None:
    image = score(true=4, found=5)
    assert (image.true_count, image.predicted_count, image.count_error, image.relative_error) == (4, 5, 1, 0.25)
    assert (image.tp, image.fp, image.fn) == (4, 1, 0)
    assert (image.jaccard, image.dice, image.precision, image.recall) == (0.8, pytest.approx(8 / 9), 0.8, 1.0)
    assert (image.ap50, image.mean_ap) == (0.8, pytest.approx(0.8))
    assert image.tolerance_px == pytest.approx(np.sqrt(4 / np.pi) / 2)
    assert not image.instances


def test_rightly_and_wrongly_empty_images() -> None:
    right = score(0, 0)
    assert (right.jaccard, right.f1, right.mean_ap, right.relative_error) == (1, 1, 1, None)
    wrong = score(0, 3)
    assert (wrong.jaccard, wrong.precision, wrong.f1, wrong.ap50, wrong.fp) == (0, 0, 0, 0, 3)
    missed = score(3, 0)
    assert (missed.recall, missed.f1, missed.relative_error) == (0, 0, -1)


def test_instances_of_the_truth_count_touching_beads_apart() -> None:
    labels = np.zeros((10, 12), np.uint32)
    labels[2:6, 2:6], labels[2:6, 6:10] = 1, 2
    image = score_image("x", "x", "a", labels > 0, None, Target(labels > 0, labels))
    assert (image.instances, image.true_count, image.predicted_count, image.jaccard) == (True, 2, 1, 1.0)
    assert score_image("x", "x", "a", labels > 0, labels, Target(labels > 0, labels)).mean_ap == 1.0


def test_objects_mostly_under_the_ignore_mask_are_not_counted_on_either_side() -> None:
    labels = np.zeros((10, 20), np.uint32)
    labels[2:6, 2:6], labels[2:6, 12:16] = 1, 2
    ignore = np.zeros(labels.shape, bool)
    ignore[:, 13:] = True
    everything = score_image("x", "x", "a", labels > 0, labels, Target(labels > 0, labels, ignore))
    assert (everything.true_count, everything.predicted_count) == (1, 1)
    only_hidden = np.where(labels == 2, labels, 0)
    missed = score_image("x", "x", "a", only_hidden > 0, only_hidden, Target(labels > 0, labels, ignore))
    assert (missed.tp, missed.fp, missed.fn) == (0, 0, 1)


def test_a_given_diameter_sets_the_tolerance() -> None:
    true, moved = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    true[2, 2], moved[2, 5] = True, True
    assert score_image("x", "x", "a", moved, None, Target(true), diameter_px=7).tp == 1
    assert score_image("x", "x", "a", moved, None, Target(true), diameter_px=5).tp == 0


def test_another_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"60x20 px .* 60x19"):
        score_image("x", "x", "a", target(1), None, Target(target(1)[:-1]))


def test_group_by_hand() -> None:
    group = group_score("all", "all", [score(4, 5, "a"), score(10, 8, "a"), score(0, 0, "b")])
    assert (group.images, group.true_count, group.predicted_count) == (3, 14, 13)
    assert (group.bias, group.mae) == (pytest.approx(-1 / 3), 1.0)
    assert group.relative_bias == pytest.approx(-1 / 14)
    assert group.relative_mae == pytest.approx((0.25 + 0.2) / 2)
    assert (group.precision, group.recall, group.f1) == (12 / 13, 12 / 14, pytest.approx(24 / 27))
    assert group.jaccard_images == pytest.approx((0.8 + 0.8 + 1) / 3)
    assert group.jaccard_fields == pytest.approx((0.8 + 1) / 2)
    assert group.jaccard_pooled == pytest.approx(12 / 15)
    assert group.f1_fields == pytest.approx(((8 / 9 + 16 / 18) / 2 + 1) / 2)


def test_relative_error_of_no_beads_is_none_and_not_zero() -> None:
    group = group_score("all", "all", [score(0, 2)])
    assert (group.relative_bias, group.relative_mae, group.bias) == (None, None, 2)


def test_quintiles_hold_as_many_images_each() -> None:
    images = with_density([score(count, count) for count in range(1, 21)])
    assert [group.images for group in group_scores(images) if group.by == "density"] == [4, 4, 4, 4, 4]


def test_declared_bins() -> None:
    images = with_density([score(count, count) for count in (0, 4, 5, 9, 10, 25)], bins=(5, 10))
    assert [image.density for image in images] == ["0-4", "0-4", "5-9", "5-9", "10 or more", "10 or more"]


def test_classes_where_counts_repeat() -> None:
    assert {image.density for image in with_density([score(3, 3)] * 4)} == {"any"}
    assert with_density([]) == ()
    images = with_density([score(count, count) for count in (0, 0, 0, 0, 0, 7)])
    assert len({image.density for image in images if image.true_count == 0}) == 1


@pytest.mark.parametrize("bins", [(5, 5), (9, 3), (0, 4)])
def test_bins_that_do_not_ascend_are_refused(bins: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ascend"):
        with_density([score(3, 3)], bins)


def test_groups_come_all_first_then_fields_then_densities_from_sparse_to_dense() -> None:
    images = with_density([score(9, 9, "b"), score(2, 2, "a")], bins=(5,))
    found = [(group.by, group.group) for group in group_scores(images)]
    assert found == [("all", "all"), ("field", "b"), ("field", "a"), ("density", "0-4"), ("density", "5 or more")]
