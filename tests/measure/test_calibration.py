"""Two counts of an image: what is learned of each, and when their disagreement is told."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.config.predict import ObjectConfig
from beadseg.measure.calibration import Calibration, Integral, KnownImage

PIXELS = 256 * 256
OBJECTS = ObjectConfig(diameter=7.0)


def known(seed: int, images: int) -> list[KnownImage]:
    """Return images whose beads of 38 px² hide each other where they are dense, and are found with a few errors."""
    rng = np.random.default_rng(seed)
    found = []
    for true in rng.poisson(np.resize([3, 10, 30, 80, 250], images)):
        misses, false = int(rng.binomial(true, 0.01)), int(rng.poisson(0.1))
        area = 38 * true * (1 - 0.4 * 38 * true / PIXELS) * rng.normal(1, 0.01)
        found.append(KnownImage(PIXELS, int(true) - misses + false, misses, false, max(0.0, area)))
    return found


def test_both_counts_are_learned() -> None:
    images = known(0, 30)
    calibration = Calibration.of(OBJECTS, "validation", 30, images)
    assert calibration.beads == sum(image.true for image in images)
    assert calibration.integral is not None
    assert calibration.integral.area == pytest.approx(38, rel=0.03)
    covered, flagged = [], []
    for image in known(1, 300):
        low, high = calibration.interval(image.found, PIXELS)
        assert low <= image.found <= high
        assert low == int(low) >= 0
        second = calibration.second_count(image.integral, PIXELS)
        assert second == pytest.approx(image.true, rel=0.06, abs=0.5)
        covered.append(low <= image.true <= high)
        flagged.append(calibration.disagrees(image.found, second, PIXELS))
    assert np.mean(covered) > 0.95
    assert np.mean(flagged) < 0.02


def test_counts_that_cannot_both_be_right_disagree() -> None:
    calibration = Calibration.of(OBJECTS, "validation", 30, known(0, 30))
    low, high = calibration.usual_seconds(100, PIXELS)
    assert low < 100 < high
    assert calibration.disagrees(100, 140, PIXELS)
    assert calibration.disagrees(100, 60, PIXELS)
    assert not calibration.disagrees(100, 101, PIXELS)


def test_no_usual_count_is_negative() -> None:
    calibration = Calibration.of(OBJECTS, "validation", 30, known(0, 30))
    for pixels in (PIXELS, 100 * PIXELS):
        assert min(calibration.usual_seconds(0, pixels)) >= 0
        assert (calibration.second_count(0.0, pixels) or 0) >= 0


def test_training_images_promise_half_as_much() -> None:
    images = known(0, 30)
    one, other = (Calibration.of(OBJECTS, source, 30, images) for source in ("validation", "training"))
    assert np.subtract(*other.interval(200, PIXELS)) < 1.5 * np.subtract(*one.interval(200, PIXELS))  # both negative


def test_without_a_bead_there_is_no_second_count() -> None:
    calibration = Calibration.of(OBJECTS, "validation", 3, [KnownImage(PIXELS, 0, 0, 0, 1.0)] * 3)
    assert calibration.second_count(500.0, PIXELS) is None
    assert not calibration.disagrees(3, 300, PIXELS)
    low, high = calibration.interval(0, PIXELS)
    assert low == 0
    assert high >= 1


def test_sparse_images_alone_say_nothing_of_overlaps() -> None:
    found = Integral.fit([KnownImage(PIXELS, 5, 0, 0, 190.0), KnownImage(PIXELS, 5, 0, 0, 190.0)])
    assert found == Integral(area=38.0, overlap=0.0)
    assert Integral.fit([KnownImage(PIXELS, 0, 0, 0, 5.0)]) is None


def test_stored_and_read_again_it_is_the_same() -> None:
    calibration = Calibration.of(OBJECTS, "training", 10, known(0, 10))
    assert Calibration.parse(calibration.model_dump(mode="json")) == calibration
