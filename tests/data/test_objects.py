from __future__ import annotations

import numpy as np

from beadseg.data.masks import count_objects, drop_small, label_objects


def test_touching_at_a_corner_is_one_object() -> None:
    foreground = np.zeros((6, 6), bool)
    foreground[1, 1] = foreground[2, 2] = foreground[5, 0] = True
    labels = label_objects(foreground)
    assert labels.dtype == np.uint32
    assert labels[1, 1] == labels[2, 2] == 1
    assert labels[5, 0] == 2
    assert count_objects(foreground) == 2


def test_small_objects_are_dropped_without_gaps() -> None:
    foreground = np.zeros((9, 9), bool)
    foreground[0, 0] = True
    foreground[2:4, 2:4] = True
    foreground[6:9, 6:9] = True
    labels = label_objects(foreground, min_area=4)
    assert np.bincount(labels.ravel()).tolist() == [81 - 13, 4, 9]
    assert count_objects(foreground, min_area=5) == 1
    assert drop_small(labels, 10).max() == 0


def test_more_objects_than_16_bits_count() -> None:
    foreground = np.zeros((600, 600), bool)
    foreground[::2, ::2] = True
    assert count_objects(foreground) == 90_000


def test_empty() -> None:
    assert count_objects(np.zeros((4, 4), bool)) == 0
    assert label_objects(np.zeros((0, 4), bool)).shape == (0, 4)
    assert count_objects(np.zeros((0, 4), bool)) == 0
