"""Intervals of counts: what chance does to a sample, and how independent uncertainties are put together."""

from __future__ import annotations

import math

from scipy import stats

LEVEL = 0.95
"""Level of every interval."""


def poisson_interval(count: float, dispersion: float = 1.0) -> tuple[float, float]:
    """Return the interval of the mean that a count was drawn from.

    Parameters
    ----------
    count : float
        Beads, at least 0.
    dispersion : float
        Variance of counts over their mean, at least 1: the interval's halves grow with its root.

    Returns
    -------
    (float, float)
        The exact interval for a Poisson mean (F. Garwood, Biometrika 28 (1936) 437-442).
    """
    tail = (1 - LEVEL) / 2
    low = stats.chi2.ppf(tail, 2 * count) / 2 if count > 0 else 0.0
    high = stats.chi2.ppf(1 - tail, 2 * count + 2) / 2
    wider = math.sqrt(max(1.0, dispersion))
    return max(0.0, count - wider * (count - low)), count + wider * (high - count)


def combined(value: float, *intervals: tuple[float, float]) -> tuple[float, float]:
    """Return the interval of a value that has several independent uncertainties, none of it below 0.

    The distances of the limits add in quadrature, on either side by itself (method of variance estimates recovery:
    G. Y. Zou, A. Donner, Statistics in Medicine 27 (2008) 1693-1702).
    """
    low = math.sqrt(sum(max(0.0, value - below) ** 2 for below, _ in intervals))
    high = math.sqrt(sum(max(0.0, above - value) ** 2 for _, above in intervals))
    return max(0.0, value - low), value + high
