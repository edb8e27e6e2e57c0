from __future__ import annotations

import itertools

import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.measure.matching import (
    IOU_THRESHOLDS,
    Detection,
    Matching,
    match_labels,
    match_points,
    mean_average_precision,
    overlap_table,
)


def pairs(matching: Matching) -> list[tuple[int, int]]:
    return list(zip(matching.predicted.tolist(), matching.true.tolist(), strict=True))


def brute_force(distances: np.ndarray, tolerance: float) -> tuple[int, float]:
    """Most pairs within the tolerance, and the least sum of distances with so many, by trying everything."""
    rows, columns = distances.shape
    best = (0, 0.0)
    for order in itertools.permutations(range(max(rows, columns)), rows):
        chosen = [distances[row, column] for row, column in enumerate(order) if column < columns]
        near = [distance for distance in chosen if distance <= tolerance]
        best = max(best, (len(near), -sum(near)))
    return best[0], -best[1]


def test_points_by_hand() -> None:
    predicted = np.array([[0.0, 0.0], [10.0, 10.0], [50.0, 50.0]])
    true = np.array([[10.0, 12.0], [0.0, 1.0]])
    matching = match_points(predicted, true, tolerance=3.0)
    assert pairs(matching) == [(0, 1), (1, 0)]
    assert matching.cost.tolist() == [1.0, 2.0]
    assert matching.counts == Detection(tp=2, fp=1, fn=0)


def test_optimal_where_greedy_fails() -> None:
    # Nearest first would join the middle two (distance 1) and leave both ends alone.
    predicted = np.array([[0.0, 0.0], [0.0, 4.0]])
    true = np.array([[0.0, 3.0], [0.0, 7.0]])
    matching = match_points(predicted, true, tolerance=3.5)
    assert pairs(matching) == [(0, 0), (1, 1)]


def test_tolerance_is_included_and_a_point_on_its_partner_matches() -> None:
    assert match_points(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), 5.0).counts.tp == 1
    assert match_points(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), 4.99).counts.tp == 0
    assert match_points(np.array([[2.0, 2.0]]), np.array([[2.0, 2.0]]), 1.0).cost.tolist() == [0.0]


@pytest.mark.parametrize("seed", range(12))
def test_points_as_good_as_trying_everything(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.uniform(0, 10, (rng.integers(1, 6), 2))
    true = rng.uniform(0, 10, (rng.integers(1, 6), 2))
    matching = match_points(predicted, true, tolerance=4.0)
    distances = np.linalg.norm(predicted[:, None] - true[None], axis=2)
    count, cost = brute_force(distances, 4.0)
    assert len(pairs(matching)) == count
    assert matching.cost.sum() == pytest.approx(cost)
    assert [distances[pair] for pair in pairs(matching)] == pytest.approx(matching.cost.tolist())


def test_order_of_points_and_swapping_sides_change_nothing() -> None:
    rng = np.random.default_rng(3)
    predicted, true = rng.uniform(0, 60, (200, 2)), rng.uniform(0, 60, (170, 2))
    order = rng.permutation(200)
    plain, shuffled, swapped = (
        match_points(predicted, true, 3.0),
        match_points(predicted[order], true, 3.0),
        match_points(true, predicted, 3.0),
    )
    assert {(int(order[row]), column) for row, column in pairs(shuffled)} == set(pairs(plain))
    assert {(row, column) for column, row in pairs(swapped)} == set(pairs(plain))


def test_no_partner_is_used_twice_among_ten_thousand() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0, 1000, (10_000, 2))
    predicted = rng.permutation(true + rng.normal(0, 1, true.shape))
    matching = match_points(predicted, true, 8.0)
    assert len(set(matching.predicted.tolist())) == len(set(matching.true.tolist())) == matching.counts.tp
    assert matching.counts.f1 > 0.99


@pytest.mark.parametrize(("predicted", "true", "expected"), [(0, 0, (1, 1, 1)), (3, 0, (0, 1, 0)), (0, 2, (1, 0, 0))])
def test_empty_sides(predicted: int, true: int, expected: tuple[float, float, float]) -> None:
    counts = match_points(np.zeros((predicted, 2)), np.zeros((true, 2)), 1.0).counts
    assert (counts.precision, counts.recall, counts.f1) == expected


def test_wrong_points_and_tolerances_are_refused() -> None:
    with pytest.raises(InputError, match="tolerance is 0"):
        match_points(np.zeros((1, 2)), np.zeros((1, 2)), 0.0)
    with pytest.raises(InputError, match="finite"):
        match_points(np.array([[np.nan, 1.0]]), np.zeros((1, 2)), 1.0)
    with pytest.raises(InputError, match=r"\(2, 3\)"):
        match_points(np.zeros((2, 3)), np.zeros((1, 2)), 1.0)


def test_each_true_bead_has_a_tolerance_of_its_own() -> None:
    true = np.array([[0.0, 0.0], [0.0, 100.0]])
    predicted = np.array([[3.0, 0.0], [3.0, 100.0]])
    matching = match_points(predicted, true, np.array([2.0, 4.0]))
    assert matching.predicted.tolist() == [1]
    assert matching.true.tolist() == [1]
    assert match_points(predicted, true, np.array([2.0, 2.5])).counts == Detection(0, 2, 2)


def test_tolerances_that_are_not_one_for_each_true_bead_are_refused() -> None:
    points = np.array([[0.0, 0.0], [0.0, 9.0]])
    with pytest.raises(InputError, match="2 true beads"):
        match_points(points, points, np.array([1.0, 1.0, 1.0]))
    with pytest.raises(InputError, match="tolerance is"):
        match_points(points, points, np.array([1.0, -1.0]))


def test_scores_by_hand_and_pooled() -> None:
    pooled = Detection(3, 1, 2) + Detection(3, 1, 0)
    assert pooled == Detection(6, 2, 2)
    assert (pooled.precision, pooled.recall, pooled.f1, pooled.average_precision) == (0.75, 0.75, 0.75, 0.6)


def labels_by_hand() -> tuple[np.ndarray, np.ndarray]:
    true = np.zeros((6, 10), np.uint32)
    true[0, 0:5], true[2, 0:4], true[4, 0:3] = 3, 8, 9
    predicted = np.zeros_like(true)
    predicted[0, 0:4] = 70_000  # IoU 4/5 with 3; an id beyond 16 bits
    predicted[2, 2:6] = 5  # IoU 2/6 with 8
    predicted[5, 5:9] = 6  # touches nothing
    return predicted, true


def test_overlap_table_by_hand() -> None:
    table = overlap_table(*labels_by_hand())
    assert table.predicted_ids.tolist() == [5, 6, 70_000]
    assert table.true_ids.tolist() == [3, 8, 9]
    found = dict(zip(zip(table.predicted.tolist(), table.true.tolist(), strict=True), table.iou.tolist(), strict=True))
    assert found == pytest.approx({(0, 1): 1 / 3, (2, 0): 0.8})


def test_labels_by_hand() -> None:
    predicted, true = labels_by_hand()
    assert match_labels(predicted, true, 0.5).counts == Detection(1, 2, 2)
    assert match_labels(predicted, true, 0.3).counts == Detection(2, 1, 1)
    # 0.8 is reached at the thresholds 0.50 to 0.80, seven of ten, with TP / (TP + FP + FN) = 1 / 5.
    assert mean_average_precision(overlap_table(predicted, true).detections()) == pytest.approx(0.7 * 0.2)


def test_thresholds_are_those_of_the_data_science_bowl() -> None:
    assert pytest.approx(np.arange(0.5, 1.0, 0.05)) == IOU_THRESHOLDS


def test_threshold_equal_to_the_overlap_is_reached() -> None:
    true, predicted = np.zeros((1, 20), np.uint8), np.zeros((1, 20), np.uint8)
    true[0, :20], predicted[0, :13] = 1, 1
    assert match_labels(predicted, true, 0.65).counts.tp == 1


def test_one_large_blob_matches_one_bead_only() -> None:
    true = np.zeros((3, 9), np.uint8)
    true[:, 0:4], true[:, 5:8] = 1, 2
    blob = np.ones_like(true)
    assert match_labels(blob, true, 0.1).counts == Detection(1, 0, 1)
    assert pairs(match_labels(blob, true, 0.1)) == [(0, 0)]


def test_renumbering_labels_changes_nothing() -> None:
    predicted, true = labels_by_hand()
    renumbered = np.select([predicted == 70_000, predicted == 5, predicted == 6], [1, 2, 3], 0)
    for threshold in (0.3, 0.5, 0.9):
        assert match_labels(renumbered, true, threshold).counts == match_labels(predicted, true, threshold).counts


def test_equal_labels_are_perfect_and_empty_ones_too() -> None:
    _, true = labels_by_hand()
    assert mean_average_precision(overlap_table(true, true).detections()) == 1.0
    nothing = np.zeros_like(true)
    assert mean_average_precision(overlap_table(nothing, nothing).detections()) == 1.0
    assert mean_average_precision(overlap_table(nothing, true).detections()) == 0.0


def test_wrong_labels_are_refused() -> None:
    with pytest.raises(InputError, match="differ in shape"):
        overlap_table(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(InputError, match="float64"):
        overlap_table(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(InputError, match="IoU threshold"):
        match_labels(np.zeros((2, 2), int), np.zeros((2, 2), int), 0.0)
