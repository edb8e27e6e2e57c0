"""Regression of counts by statsmodels: Poisson, or a negative binomial whose extra variance is estimated."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import statsmodels.api as sm
from scipy import optimize, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALPHA_RANGE = (1e-8, 1e3)
"""Where the extra variance of a negative binomial is looked for."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts with what explains them.

    Attributes
    ----------
    beads : (N,) float64
        Counts.
    design : (N, K) float64
        Columns of the linear predictor of log(mean).
    offset : (N,) float64
        log(covered area).
    """

    beads: NDArray[np.float64]
    design: NDArray[np.float64]
    offset: NDArray[np.float64]

    def without(self, left_out: NDArray[np.bool_]) -> Counts:
        """Return all rows but some."""
        return Counts(self.beads[~left_out], self.design[~left_out], self.offset[~left_out])


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted regression.

    Attributes
    ----------
    coefficients, covariance : (K,) and (K, K) float64
        Of the linear predictor.
    mean : (N,) float64
        Fitted means.
    log_likelihood : float
        At the fit.
    alpha : float
        Variance = mean + alpha * mean²; 0 for Poisson.
    pearson : float
        Pearson's chi squared.
    """

    coefficients: NDArray[np.float64]
    covariance: NDArray[np.float64]
    mean: NDArray[np.float64]
    log_likelihood: float
    alpha: float
    pearson: float


def fit_counts(counts: Counts, alpha: float | None = 0.0) -> Fitted | None:
    """Fit by maximum likelihood; None where it does not converge.

    Parameters
    ----------
    counts : Counts
        What is to be explained.
    alpha : float or None
        0 is Poisson; None estimates it, where the likelihood along alpha is highest.
    """
    if alpha is None:
        low, high = (math.log(bound) for bound in ALPHA_RANGE)
        found = optimize.minimize_scalar(lambda at: -_likelihood(counts, math.exp(at)), bounds=(low, high),
                                         method="bounded", options={"xatol": 1e-4})  # fmt: skip
        alpha = math.exp(float(found.x))
    result = _fit(counts, alpha)
    if result is None:
        return None
    covariance = np.asarray(result.cov_params(), np.float64)
    if not (np.isfinite(covariance).all() and np.isfinite(result.params).all()):
        return None
    return Fitted(np.asarray(result.params, np.float64), covariance, np.asarray(result.mu, np.float64),
                  float(result.llf), alpha, float(result.pearson_chi2))  # fmt: skip


def _likelihood(counts: Counts, alpha: float) -> float:
    result = _fit(counts, alpha)
    return -math.inf if result is None or not math.isfinite(result.llf) else float(result.llf)


def _fit(counts: Counts, alpha: float) -> Any:
    family = sm.families.Poisson() if alpha == 0 else sm.families.NegativeBinomial(alpha=alpha)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of convergence is looked at below
        try:
            result = sm.GLM(counts.beads, counts.design, family=family, offset=counts.offset).fit(maxiter=200)
        except (ValueError, np.linalg.LinAlgError):
            return None
    return result if result.converged else None


def tail(beads: float, mean: float, alpha: float) -> float:
    """Return the two-sided chance of a count at least as far from its mean: twice the smaller tail, 1 at most."""
    if mean <= 0:
        return 1.0 if beads <= 0 else 0.0
    if alpha * mean < 1e-6:
        below, above = stats.poisson.cdf(math.floor(beads), mean), stats.poisson.sf(math.ceil(beads) - 1, mean)
    else:
        size = 1 / alpha
        chance = size / (size + mean)
        below = stats.nbinom.cdf(math.floor(beads), size, chance)
        above = stats.nbinom.sf(math.ceil(beads) - 1, size, chance)
    return float(min(1.0, 2 * min(below, above)))
