"""Adding, removing and separating beads, and tidying up after a brush."""

from __future__ import annotations

import numpy as np

from beadseg.annotation.edit import Bead, added, difference, removed, separated, tidied


def disks(*centres: tuple[int, int], radius: int = 4) -> np.ndarray:
    labels = np.zeros((40, 50), np.uint32)
    y, x = np.mgrid[:40, :50]
    for number, (row, column) in enumerate(centres, start=1):
        labels[np.hypot(y - row, x - column) <= radius] = number
    return labels


def test_added_bead_has_its_size_and_leaves_others_alone() -> None:
    labels = disks((20, 20))
    before = labels.copy()
    patch = added(labels, Bead(20.0, 26.0, 3.5))
    assert patch is not None
    assert (labels == before).all()
    patch.apply(labels)
    assert (labels[before == 1] == 1).all()
    assert set(np.unique(labels)) == {0, 1, 2}
    alone = added(before, Bead(30.0, 40.0, 3.5))
    assert alone is not None
    assert abs(np.count_nonzero(alone.values) - np.pi * 3.5**2) < 3


def test_bead_at_the_border_and_outside() -> None:
    labels = disks()
    patch = added(labels, Bead(0.0, 0.0, 4.0))
    assert patch is not None
    patch.apply(labels)
    assert labels[0, 0] == 1
    assert added(labels, Bead(-20.0, 10.0, 4.0)) is None
    assert added(np.ones((9, 9), np.uint32), Bead(4.0, 4.0, 2.0)) is None


def test_removed_is_the_bead_that_was_clicked() -> None:
    labels = disks((10, 10), (30, 30))
    patch = removed(labels, 29.4, 31.2)
    assert patch is not None
    patch.apply(labels)
    assert set(np.unique(labels)) == {0, 1}
    assert removed(labels, 39, 49) is None
    assert removed(labels, 100, -3) is None


def test_drag_from_one_to_the_other_separates_at_the_middle() -> None:
    truth = disks((20, 16), (20, 24))
    labels = (truth > 0).astype(np.uint32)
    patch = separated(labels, (20, 16), (20, 24))
    assert patch is not None
    patch.apply(labels)
    assert set(np.unique(labels)) == {0, 1, 2}
    left, right = (np.count_nonzero(labels == value) for value in (1, 2))
    assert abs(left - right) <= 10
    assert labels[20, 16] != labels[20, 24]


def test_drag_across_cuts() -> None:
    labels = (disks((20, 16), (20, 24)) > 0).astype(np.uint32)
    patch = separated(labels, (10, 20), (30, 20))
    assert patch is not None
    patch.apply(labels)
    assert labels[20, 16] != labels[20, 24]
    assert np.count_nonzero(labels) == np.count_nonzero(disks((20, 16), (20, 24)))


def test_drag_that_separates_nothing() -> None:
    labels = disks((20, 16), (20, 30))
    assert separated(labels, (2, 2), (2, 40)) is None
    assert separated(labels, (20, 16), (20, 16)) is None


def test_tidied_gives_painted_pieces_their_own_ids() -> None:
    before = disks((10, 10), (30, 30))
    before[2:4, 40:42] = 1  # one bead in two pieces, as it came
    after = before.copy()
    after[30, :] = 0  # an eraser through the second
    after[20:23, 20:23] = 2  # and a brush with its id elsewhere
    result = tidied(before, after)
    assert ((result > 0) == (after > 0)).all()
    assert set(np.unique(result[before == 1])) == {1}
    assert len(np.unique(result)) == 1 + 1 + 3
    assert tidied(before, before) is before


def test_difference_is_the_smallest_box() -> None:
    before = disks((10, 10))
    after = before.copy()
    after[5, 7] = 9
    after[8, 40] = 9
    patch = difference(before, after)
    assert patch is not None
    assert patch.window == (slice(5, 9), slice(7, 41))
    assert [axis.tolist() for axis in patch.changed(before)] == [[5, 8], [7, 40]]
    patch.apply(before)
    assert (before == after).all()
    assert difference(before, after) is None
