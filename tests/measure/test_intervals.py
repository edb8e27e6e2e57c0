"""Intervals of counts against published tables and by hand."""

from __future__ import annotations

import pytest

from beadseg.measure.calibration import combined, poisson_interval


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.689), (1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.63)]
)
def test_poisson_limits_are_those_of_the_tables(count: int, low: float, high: float) -> None:
    assert poisson_interval(count) == pytest.approx((low, high), rel=2e-3)


def test_dispersion_widens_by_its_root() -> None:
    low, high = poisson_interval(100, 4.0)
    plain = poisson_interval(100)
    assert (100 - low, high - 100) == pytest.approx((2 * (100 - plain[0]), 2 * (plain[1] - 100)))
    assert poisson_interval(2, 100.0)[0] == 0.0
    assert poisson_interval(100, 0.2) == plain


def test_limits_add_in_quadrature_on_either_side() -> None:
    assert combined(10, (7, 12), (6, 18)) == pytest.approx((5.0, 10 + 68**0.5))
    assert combined(1, (0, 2), (0, 5))[0] == 0.0
    assert combined(10, (8, 9)) == pytest.approx((8.0, 10.0))
