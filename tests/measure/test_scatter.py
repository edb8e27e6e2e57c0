"""Differences of counts learned from images: intervals that cover, and stay honest where little was seen."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.measure.calibration import Scatter

AREA = 512.0**2


def drawn(seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return counts and true less counted beads: misses by density, shared by an image, and false finds."""
    rng = np.random.default_rng(seed)
    true = rng.poisson(np.resize([10, 30, 100, 300, 1000], images)).astype(float)
    chance = 0.005 + 0.02 * true / 1000 * np.exp(rng.normal(0, 0.3, images))
    misses, false = rng.binomial(true.astype(int), chance), rng.poisson(0.2, images)
    return true - misses + false, (misses - false).astype(float)


def test_intervals_cover_new_images_at_every_density() -> None:
    counts, differences = drawn(0, 40)
    scatter = Scatter.fit(counts, np.full(40, AREA), differences)
    new, error = drawn(1, 500)
    limits = np.array([scatter.interval(n, AREA) for n in new])
    covered = (np.floor(limits[:, 0]) <= new + error) & (new + error <= np.ceil(limits[:, 1]))  # in whole beads
    assert covered.mean() > 0.93
    for density in range(5):
        assert covered[density::5].mean() > 0.85
    widths = [np.subtract(*scatter.interval(n, AREA)[::-1]) for n in (10, 100, 1000)]
    assert widths[0] < widths[1] < widths[2] < 150


def test_a_steady_shift_moves_the_interval() -> None:
    counts = np.array([20.0, 50, 100, 200, 400] * 6)
    scatter = Scatter.fit(counts, np.full(30, AREA), 0.1 * counts)
    low, high = scatter.interval(200, AREA)
    assert low < 220 < high
    assert low > 205
    assert scatter.mean(200, AREA) == pytest.approx(20, rel=0.2)


def test_denser_images_than_any_that_was_seen_are_not_promised_anything() -> None:
    """The mean of two densities is a line, which says nothing of images ten times as dense."""
    counts = np.array([5.0, 8, 12, 20, 30, 40] * 4)
    scatter = Scatter.fit(counts, np.full(24, AREA), np.round(-0.002 * counts**2))
    assert scatter.mean(400, AREA) / 400 == pytest.approx(scatter.mean(40, AREA) / 40)
    low, high = scatter.interval(400, AREA)
    assert low < 0.95 * 400 < 400 < high
    assert scatter.deviation(400, AREA) / 400 > 2 * scatter.deviation(40, AREA) / 40 > 0


def test_perfect_counts_do_not_promise_perfection() -> None:
    few = Scatter.fit(np.array([50.0, 60]), np.full(2, AREA), np.zeros(2))
    many = Scatter.fit(np.full(60, 50.0), np.full(60, AREA), np.zeros(60))
    low, high = few.interval(50, AREA)
    assert low < 49
    assert high > 51
    narrow = np.subtract(*many.interval(50, AREA)[::-1])
    assert 0 < narrow < high - low


def test_larger_images_have_more_of_what_goes_with_the_area() -> None:
    counts, differences = drawn(2, 40)
    scatter = Scatter.fit(counts, np.full(40, AREA), differences)
    assert scatter.deviation(0, 16 * AREA) == pytest.approx(4 * scatter.deviation(0, AREA))
    assert scatter.interval(100, AREA, wider=2)[1] > scatter.interval(100, AREA)[1]


@pytest.mark.parametrize("counts", [[0.0], [0.0, 0.0, 0.0], [7.0]])
def test_hardly_anything_seen_is_still_an_interval(counts: list[float]) -> None:
    scatter = Scatter.fit(np.array(counts), np.full(len(counts), AREA), np.zeros(len(counts)))
    low, high = scatter.interval(5, AREA)
    assert np.isfinite([low, high]).all()
    assert low < 5 < high


def test_stored_and_read_again_it_is_the_same() -> None:
    counts, differences = drawn(3, 20)
    scatter = Scatter.fit(counts, np.full(20, AREA), differences)
    assert Scatter.parse(scatter.model_dump(mode="json")) == scatter
