"""The regression of a dilution series: right for drawn series, and wide where it must be."""

from __future__ import annotations

import math
from typing import Any

import pytest

from beadseg.measure.concentration.dilution import fit_dilution
from density_helpers import series

FACTORS = (10.0, 100.0, 1000.0, 10000.0)


def images_of(rows: list[dict[str, Any]]) -> dict[float, list[tuple[str, float, float]]]:
    found: dict[float, list[tuple[str, float, float]]] = {}
    for one in rows:
        found.setdefault(float(one["image"].split("x_")[0]), []).append((one["image"], float(one["beads"]), 2.0))
    return found


def test_slope_and_undiluted_density_are_found() -> None:
    fit, outliers, reason = fit_dilution(images_of(series(FACTORS, 1e5, 10, seed=1)))
    assert fit is not None
    assert reason == ""
    assert fit.model == "poisson"
    assert fit.slope == pytest.approx(-1, abs=0.03)
    assert fit.contains_minus_one
    assert fit.slope_interval[0] < fit.slope < fit.slope_interval[1]
    assert fit.undiluted == pytest.approx(1e5 / 2, rel=0.02)  # every image covers 2
    assert fit.undiluted_interval[0] < 1e5 / 2 < fit.undiluted_interval[1]
    assert not outliers


def test_intervals_cover() -> None:
    """Of 60 drawn series at 95 %, more than 6 misses have a chance below 2 %."""
    missed = 0
    for seed in range(60):
        fit, _, _ = fit_dilution(images_of(series((4.0, 20.0, 100.0), 1000, 6, seed)), "poisson")
        assert fit is not None
        missed += not fit.contains_minus_one
    assert missed <= 6


def test_a_wrong_slope_is_seen() -> None:
    fit, _, _ = fit_dilution(images_of(series(FACTORS, 1e5, 10, seed=3, slope=-0.9)))
    assert fit is not None
    assert fit.slope == pytest.approx(-0.9, abs=0.03)
    assert not fit.contains_minus_one


def test_images_that_vary_more_make_it_negative_binomial() -> None:
    fit, _, _ = fit_dilution(images_of(series(FACTORS, 1e5, 20, seed=4, spread=0.1)))
    plain, _, _ = fit_dilution(images_of(series(FACTORS, 1e5, 20, seed=4, spread=0.1)), "poisson")
    assert fit is not None
    assert plain is not None
    assert fit.model == "negative-binomial"
    assert fit.alpha == pytest.approx(0.1, rel=0.5)
    assert fit.overdispersion > 3
    assert plain.model == "poisson"
    assert plain.alpha == 0


def test_a_dilution_off_the_line_and_a_strange_image_are_named() -> None:
    rows = series((10.0, 30.0, 100.0, 300.0, 1000.0), 1e4, 10, seed=5)
    for one in rows:
        if one["image"].startswith("100x_"):
            one["beads"] = round(1.6 * one["beads"])
    rows[3]["beads"] *= 2
    fit = fit_dilution(images_of(rows))[0]
    assert fit is not None
    assert fit.outlier_images == (rows[3]["image"],)
    assert fit.widened > 1
    assert fit.lack_of_fit_p is not None
    assert fit.lack_of_fit_p < 0.05
    one_off = series((10.0, 30.0, 100.0, 300.0, 1000.0), 1e4, 10, seed=5)
    for one in one_off:
        if one["image"].startswith("1000x_"):
            one["beads"] += 60
    assert fit_dilution(images_of(one_off))[1] == {1000.0}


def test_two_dilutions_have_a_line_but_no_lack_of_fit() -> None:
    fit, outliers, _ = fit_dilution(images_of(series((10.0, 100.0), 5000, 4, seed=6)))
    assert fit is not None
    assert fit.lack_of_fit is None
    assert fit.widened == 1
    assert not outliers


@pytest.mark.parametrize("beads", [(50, 0, 0), (0, 0, 0)])
def test_one_dilution_with_beads_is_no_series(beads: tuple[int, ...]) -> None:
    images = {float(10**at): [(f"{at}", float(found), 1.0)] * 3 for at, found in enumerate(beads)}
    fit, outliers, reason = fit_dilution(images)
    assert fit is None
    assert not outliers
    assert "needs beads at two dilutions" in reason


def test_a_dilution_without_a_bead_counts_as_one() -> None:
    """Nothing found at the last step pulls the slope down; it is not a missing value."""
    with_zero = {10.0: [("a", 1000.0, 1.0)], 100.0: [("b", 100.0, 1.0)], 1000.0: [("c", 0.0, 1.0)]}
    fit, _, _ = fit_dilution(with_zero)
    without, _, _ = fit_dilution({f: rows for f, rows in with_zero.items() if f < 1000})
    assert fit is not None
    assert without is not None
    assert math.isfinite(fit.slope)
    assert fit.slope < without.slope


def test_halves_are_counts_too() -> None:
    """Beads on the border may count by half."""
    fit, _, _ = fit_dilution({10.0: [("a", 100.5, 1.0), ("b", 98.0, 1.0)], 100.0: [("c", 10.5, 1.0), ("d", 9.0, 1.0)]})
    assert fit is not None
    assert fit.slope == pytest.approx(-1, abs=0.1)
