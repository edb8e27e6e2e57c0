"""Agreement of two counts of the same images: bias and limits of agreement after Bland and Altman.

Sources: J. M. Bland, D. G. Altman, "Statistical methods for assessing agreement between two methods of clinical
measurement", Lancet 327 (1986) 307-310; the same, "Measuring agreement in method comparison studies", Statistical
Methods in Medical Research 8 (1999) 135-160 (variance of the limits, section 2.1; ratios on a logarithmic scale,
section 3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from beadseg.errors import InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COVERAGE = 1.96
"""Standard deviations on either side of the bias: 95 % of differences, if they are normal."""
DECADE = 10.0
"""Counts that span at least this factor are also compared by their ratio."""


@dataclass(frozen=True)
class Agreement:
    """Bias and 95 % limits of agreement of paired counts, each with its 95 % confidence interval.

    Attributes
    ----------
    pairs : int
        Images compared.
    bias : float
        Mean difference, predicted minus true, beads per image; of ratios: geometric mean of predicted over true.
    lower, upper : float
        Limits within which 95 % of the differences (or ratios) lie.
    bias_interval, lower_interval, upper_interval : (float, float)
        Where each of the three may lie, given so few images.
    """

    pairs: int
    bias: float
    lower: float
    upper: float
    bias_interval: tuple[float, float]
    lower_interval: tuple[float, float]
    upper_interval: tuple[float, float]


def agreement(true: Sequence[float], predicted: Sequence[float]) -> Agreement:
    """Return bias and limits of agreement of the differences, predicted minus true.

    Parameters
    ----------
    true, predicted : sequence of float
        Counts of the same images, in the same order.

    Raises
    ------
    InputError
        There are fewer than two images, or the lengths differ.
    """
    return _agreement(np.asarray(predicted, float) - paired(true, predicted))


def ratio_agreement(true: Sequence[float], predicted: Sequence[float]) -> Agreement:
    """Return bias and limits of agreement of the ratios predicted / true, computed on their logarithms.

    Images without a bead on either side have no ratio and are left out.

    Raises
    ------
    InputError
        Fewer than two images have beads on both sides, or the lengths differ.
    """
    reference, counted = paired(true, predicted), np.asarray(predicted, float)
    both = (reference > 0) & (counted > 0)
    found = _agreement(np.log(counted[both] / reference[both]))
    intervals = ((math.exp(a), math.exp(b)) for a, b in (found.bias_interval, found.lower_interval,
                                                         found.upper_interval))  # fmt: skip
    return Agreement(found.pairs, math.exp(found.bias), math.exp(found.lower), math.exp(found.upper), *intervals)


def spans_decades(true: Sequence[float]) -> bool:
    """Tell whether true counts differ so much that their ratio says more than their difference."""
    positive = [count for count in true if count > 0]
    return len(positive) > 1 and max(positive) >= DECADE * min(positive)


def paired(true: Sequence[float], predicted: Sequence[float]) -> NDArray[np.float64]:
    """Return the true counts as an array; raise `InputError` where there are not as many predicted ones."""
    if len(true) != len(predicted):
        raise InputError(f"There are {len(true)} true and {len(predicted)} predicted counts.", remedy="Give pairs.")
    return np.asarray(true, float)


def _agreement(differences: NDArray[np.float64]) -> Agreement:
    pairs = len(differences)
    if pairs < 2:
        raise InputError(
            f"Limits of agreement cannot be computed from {plural(pairs, 'image')}.", remedy="Score at least two."
        )
    bias, spread = float(differences.mean()), float(differences.std(ddof=1))
    lower, upper = bias - COVERAGE * spread, bias + COVERAGE * spread
    quantile = float(stats.t.ppf(0.975, pairs - 1))
    of_bias = quantile * spread / math.sqrt(pairs)
    of_limit = quantile * spread * math.sqrt(1 / pairs + COVERAGE**2 / (2 * (pairs - 1)))
    return Agreement(pairs, bias, lower, upper, (bias - of_bias, bias + of_bias),
                     (lower - of_limit, lower + of_limit), (upper - of_limit, upper + of_limit))  # fmt: skip
