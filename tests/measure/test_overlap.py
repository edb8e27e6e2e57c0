from __future__ import annotations

import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.measure.scores import Overlap, aggregate, count_overlap, dice, jaccard, mean_over_fields

PREDICTION = np.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)
TRUTH = np.array([[0, 1, 1, 0], [0, 1, 1, 1]], bool)
EMPTY = np.zeros((2, 4), bool)


def test_counts_by_hand() -> None:
    assert count_overlap(PREDICTION, TRUTH) == Overlap(intersection=2, prediction=4, truth=5)
    assert jaccard(PREDICTION, TRUTH) == 2 / 7
    assert dice(PREDICTION, TRUTH) == 4 / 9


def test_nonzero_is_foreground_in_any_dtype() -> None:
    assert count_overlap(PREDICTION.astype(np.uint8) * 255, TRUTH.astype(np.uint32) * 7) == Overlap(2, 4, 5)


def test_ignored_pixels_count_nowhere() -> None:
    ignore = np.array([[0, 1, 0, 0], [0, 0, 0, 1]], bool)
    assert count_overlap(PREDICTION, TRUTH, ignore) == Overlap(1, 3, 3)


def test_rightly_empty_image_scores_one_and_wrongly_filled_zero() -> None:
    assert jaccard(EMPTY, EMPTY) == dice(EMPTY, EMPTY) == 1.0
    assert jaccard(PREDICTION, EMPTY) == dice(EMPTY, TRUTH) == 0.0
    assert jaccard(PREDICTION, EMPTY, ignore=PREDICTION) == 1.0


def test_agrees_with_scikit_learn_where_truth_is_not_empty() -> None:
    from sklearn.metrics import f1_score, jaccard_score

    ours, truth = np.random.default_rng(0).random((2, 32, 32)) > 0.6
    assert jaccard(ours, truth) == pytest.approx(jaccard_score(truth.ravel(), ours.ravel()))
    assert dice(ours, truth) == pytest.approx(f1_score(truth.ravel(), ours.ravel()))


@pytest.mark.parametrize("seed", range(5))
def test_symmetric_and_unchanged_by_moving_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random((2, 12, 9)) > rng.random()
    order = rng.permutation(one.size)
    moved = [array.ravel()[order].reshape(one.shape) for array in (one, other)]
    assert dice(one, other) == dice(other, one) == dice(*moved)
    assert jaccard(one, other) == jaccard(other, one) == jaccard(*moved)
    assert dice(one, other) == pytest.approx(2 * jaccard(one, other) / (1 + jaccard(one, other)))


def test_different_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(2, 4\) and \(2, 3\)"):
        count_overlap(PREDICTION, TRUTH[:, :3])
    with pytest.raises(InputError, match="ignore mask"):
        count_overlap(PREDICTION, TRUTH, TRUTH[:1])


def test_aggregate_by_hand() -> None:
    overlaps = [Overlap(1, 2, 1), Overlap(3, 3, 3), Overlap(0, 10, 10)]  # Jaccard 1/2, 1, 0; Dice 2/3, 1, 0
    scores = aggregate(overlaps, ["a", "a", "b"])
    assert scores["jaccard_images"] == pytest.approx(0.5)
    assert scores["jaccard_fields"] == pytest.approx(0.375)
    assert scores["jaccard_pooled"] == pytest.approx(4 / 25)
    assert scores["dice_images"] == pytest.approx(5 / 9)
    assert scores["dice_fields"] == pytest.approx(5 / 12)
    assert scores["dice_pooled"] == pytest.approx(8 / 29)


def test_aggregate_names_are_those_a_configuration_can_ask_for() -> None:
    from beadseg.config import METRICS

    assert tuple(aggregate([Overlap(1, 1, 1)], ["a"])) == METRICS[:6]


def test_aggregate_does_not_depend_on_order() -> None:
    overlaps = [Overlap(n, n + 3, 2 * n + 1) for n in range(6)]
    fields = list("abcabc")
    turned = aggregate(overlaps[::-1], fields[::-1])
    assert turned == pytest.approx(aggregate(overlaps, fields))


def test_nothing_to_score_is_refused() -> None:
    with pytest.raises(InputError, match="no image"):
        aggregate([], [])
    with pytest.raises(InputError, match="1 images and 2 fields"):
        aggregate([Overlap(1, 1, 1)], ["a", "b"])


def test_mean_over_fields() -> None:
    assert mean_over_fields([1.0, 0.0, 0.5], ["x", "x", "y"]) == 0.5
