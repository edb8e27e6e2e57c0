from __future__ import annotations

import numpy as np
import pytest

from beadseg.measure.matching import Counted, Detection, count_scores, density_scores


def counted(tp: int, fp: int, fn: int) -> Counted:
    return Counted(Detection(tp, fp, fn))


def test_centres_within_half_a_bead_are_hits():
    found = np.array([[10.0, 10.0], [30.0, 30.0], [50.0, 50.0]])
    true = np.array([[10.0, 13.0], [30.0, 34.0]])
    image = Counted.of(found, true, 7.0)
    assert (image.detection.tp, image.detection.fp, image.detection.fn) == (1, 2, 1)
    assert (image.true, image.error) == (2, 1)


def test_bias_keeps_the_sign_and_the_absolute_error_does_not():
    scores = count_scores([counted(8, 2, 0), counted(6, 0, 4)])
    assert scores == {"f1": pytest.approx(28 / 34), "count_bias": -1.0, "count_mae": 3.0}


def test_thirds_by_density():
    images = [counted(100, 10, 0), counted(1, 0, 0), counted(10, 1, 0)]
    scores = density_scores(images)
    assert [scores[f"count_bias_{third}"] for third in ("sparse", "middle", "dense")] == [0, 1, 10]
    assert "f1_dense" not in density_scores(images[:1])
