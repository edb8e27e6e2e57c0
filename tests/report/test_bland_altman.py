"""Limits of agreement against the published example, and by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.measure.scores import agreement, ratio_agreement, spans_decades
from beadseg.report.bland_altman import difference_figure, ratio_figure

WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
"""Peak expiratory flow by two meters, l/min: table 1 of Bland and Altman 1986, first measurements."""


def test_the_published_example() -> None:
    found = agreement(MINI, WRIGHT)
    assert found.pairs == 17
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert (found.upper - found.lower) / (2 * 1.96) == pytest.approx(38.8, abs=0.05)
    # They print -22.0 to 17.8 for the bias.
    assert found.bias_interval == pytest.approx((-22.0, 17.8), abs=0.1)


def test_intervals_of_the_limits_computed_apart() -> None:
    differences = [a - b for a, b in zip(WRIGHT, MINI, strict=True)]
    spread = statistics.stdev(differences)
    error = spread * math.sqrt(1 / 17 + 1.96**2 / (2 * 16))
    found = agreement(MINI, WRIGHT)
    quantile = 2.1199  # of Student's t, 16 degrees of freedom, from a printed table
    assert found.upper_interval[1] - found.upper == pytest.approx(quantile * error, rel=1e-4)
    assert found.lower - found.lower_interval[0] == pytest.approx(quantile * error, rel=1e-4)


def test_the_interval_of_the_bias_holds_its_promise() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(400):
        found = agreement([0.0] * 8, generator.normal(3, 5, 8).tolist())
        held += found.bias_interval[0] <= 3 <= found.bias_interval[1]
    assert 0.92 <= held / 400 <= 0.98


def test_ratios_leave_out_images_without_beads_on_one_side() -> None:
    found = ratio_agreement([10, 100, 0, 7], [20, 200, 3, 0])
    assert found.pairs == 2
    assert (found.bias, found.lower, found.upper) == pytest.approx((2, 2, 2))


def test_ratio_limits_are_those_of_the_logarithms() -> None:
    true, predicted = [10, 100, 1000, 50], [12, 80, 1100, 50]
    logs = [math.log(b / a) for a, b in zip(true, predicted, strict=True)]
    found = ratio_agreement(true, predicted)
    assert math.log(found.bias) == pytest.approx(statistics.fmean(logs))
    assert math.log(found.upper / found.bias) == pytest.approx(1.96 * statistics.stdev(logs))


@pytest.mark.parametrize(("true", "predicted"), [([], []), ([3], [4]), ([1, 2], [1])])
def test_too_few_or_unpaired_counts_are_refused(true: list[float], predicted: list[float]) -> None:
    with pytest.raises(InputError):
        agreement(true, predicted)


@pytest.mark.parametrize(("counts", "spans"), [([0, 0], False), ([5, 49], False), ([0, 5, 50], True), ([], False)])
def test_counts_that_span_a_decade(counts: list[int], spans: bool) -> None:
    assert spans_decades(counts) is spans


def test_figures_show_the_differences_and_ratios_of_every_image() -> None:
    true, predicted, fields = [10, 100, 0], [12, 90, 1], ["a$x$", "a$x$", "_b"]
    drawn = difference_figure(true, predicted, fields).axes[0].lines[:2]
    assert np.concatenate([line.get_ydata() for line in drawn]).tolist() == [2, -10, 1]
    assert np.concatenate([line.get_xdata() for line in drawn]).tolist() == [11, 95, 0.5]
    ratios = ratio_figure(true, predicted, fields).axes[0].lines[0]
    assert ratios.get_ydata() == pytest.approx([1.2, 0.9])


def test_equal_counts_are_drawn() -> None:
    assert difference_figure([3, 3], [3, 3], ["a", "b"]).axes
    assert ratio_figure([3, 30], [3, 30], ["a", "b"]).axes
