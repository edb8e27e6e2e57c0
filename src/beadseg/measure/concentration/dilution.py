"""Regression of a dilution series: whether counts fall as the dilution says, and which images or dilutions do not."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy import optimize, stats

from beadseg.errors import InputError
from beadseg.measure.calibration import LEVEL
from beadseg.measure.concentration.document import DilutionFit
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Image = tuple[str, float, float]
"""Name, beads, covered area or volume."""
SIGNIFICANT = 0.05
"""Level of the tests of overdispersion and of outliers (of the latter divided by how many are tested)."""

ALPHA_RANGE = (1e-8, 1e3)
"""Where the extra variance of a negative binomial is looked for."""


def fit_dilution(
    images: Mapping[float, Sequence[Image]], model: Literal["auto", "poisson", "negative-binomial"] = "auto"
) -> tuple[DilutionFit | None, frozenset[float], str]:
    """Fit a dilution series.

    Parameters
    ----------
    images : mapping of float to sequence of (str, float, float)
        Name, beads and covered area of the images of every dilution factor.
    model : str
        Distribution of the counts; auto takes the negative binomial where they vary significantly more than Poisson.

    Returns
    -------
    (DilutionFit or None, frozenset of float, str)
        The fit, the factors that lie off the line, and why there is no fit.
    """
    filled = sum(any(beads > 0 for _, beads, _ in rows) for rows in images.values())
    if filled < 2:
        several = f"{plural(len(images), 'dilution')}, {filled} of them with beads"
        return None, frozenset(), f"No regression: it needs beads at two dilutions, and there are {several}."
    series = _Series(images)
    poisson_means = fit_counts(series.own_means())
    poisson = fit_counts(series.line)
    if poisson is None or poisson_means is None:
        return None, frozenset(), "No regression: it does not converge for these counts."
    freedom = len(series.factor) - filled
    ratio = poisson_means.pearson / freedom if freedom > 0 else 1.0
    p = float(stats.chi2.sf(poisson_means.pearson, freedom)) if freedom > 0 else 1.0
    wanted = model == "negative-binomial" or (model == "auto" and p < SIGNIFICANT)
    means = fit_counts(series.own_means(), None) if wanted else None
    alpha = means.alpha if means is not None else 0.0
    line = fit_counts(series.line, alpha) if means is not None else poisson
    if line is None:
        return None, frozenset(), "No regression: it does not converge for these counts."
    fit = _described(series, line, means or poisson_means, ratio, p)
    return fit, series.outliers(alpha), ""


class _Series:
    """The images of a series as arrays."""

    def __init__(self, images: Mapping[float, Sequence[Image]]) -> None:
        rows = [(factor, *image) for factor in sorted(images) for image in images[factor]]
        self.names = [name for _, name, _, _ in rows]
        self.factor = np.array([factor for factor, *_ in rows], np.float64)
        self.covered = np.array([covered for *_, covered in rows], np.float64)
        beads = np.array([found for _, _, found, _ in rows], np.float64)
        design = np.column_stack([np.ones(len(rows)), np.log(self.factor)])
        self.line = Counts(beads, design, np.log(self.covered))
        self.factors = np.unique(self.factor)

    def own_means(self) -> Counts:
        """Return the counts with a mean of its own for every dilution that has beads; the others are left out.

        A dilution without any bead has the mean 0, which adds nothing to a likelihood and has no logarithm.
        """
        filled = [f for f in self.factors if self.line.beads[self.factor == f].any()]
        kept = np.isin(self.factor, filled)
        own = np.column_stack([self.factor[kept] == f for f in filled]).astype(np.float64)
        return Counts(self.line.beads[kept], own, self.line.offset[kept])

    def outliers(self, alpha: float) -> frozenset[float]:
        """Return the dilutions that lie off the line of all others; from four dilutions on."""
        if len(self.factors) < 4:
            return frozenset()
        level = SIGNIFICANT / len(self.factors)
        return frozenset(float(f) for f in self.factors if self._p_off_line(f, alpha) < level)

    def _p_off_line(self, factor: float, alpha: float) -> float:
        """Return the chance of a dilution's beads if it lay on the line of the others."""
        here = self.factor == factor
        others = self.line.without(here)
        if sum(others.beads[self.factor[~here] == f].any() for f in self.factors if f != factor) < 2:
            return 1.0
        fitted = fit_counts(others, alpha)
        if fitted is None:
            return 1.0
        row = np.array([1.0, math.log(factor)])
        means = self.covered[here] * math.exp(float(row @ fitted.coefficients))
        mean, beads = float(means.sum()), float(self.line.beads[here].sum())
        # The image's own scatter, the line's uncertainty, and the scatter of the other dilutions about their line.
        of_line = mean**2 * float(row @ fitted.covariance @ row)
        spread = max(1.0, _line_scatter(others, fitted, self.factor[~here]))
        variance = (float((means + alpha * means**2).sum()) + of_line) * spread
        if spread == 1.0:
            return tail(beads, mean, max(0.0, variance - mean) / mean**2)
        return float(2 * stats.t.sf(abs(beads - mean) / math.sqrt(variance), len(self.factors) - 3))

    def unlike_images(self, alpha: float) -> tuple[str, ...]:
        """Return the images unlike the others of their dilution; the level is divided by the number of images."""
        found = []
        for at, name in enumerate(self.names):
            others = self.factor == self.factor[at]
            others[at] = False
            if others.sum() < 2:
                continue
            beads, covered = float(self.line.beads[others].sum()), float(self.covered[others].sum())
            mean = (beads + 0.5) / covered * self.covered[at]
            # The mean of the others is itself uncertain, by a relative variance of 1 / beads + alpha / images.
            extra = alpha + 1 / (beads + 0.5) + alpha / float(others.sum())
            if tail(float(self.line.beads[at]), mean, extra) < SIGNIFICANT / len(self.names):
                found.append(name)
        return tuple(found)


def _line_scatter(counts: Counts, fitted: Fitted, factor: NDArray[np.float64]) -> float:
    """Return Pearson's chi squared of the dilutions about their line, over its degrees of freedom."""
    factors = np.unique(factor)
    if len(factors) < 3:
        return 1.0
    statistic = 0.0
    for one in factors:
        here = factor == one
        mean = fitted.mean[here]
        statistic += float((counts.beads[here] - mean).sum() ** 2 / (mean + fitted.alpha * mean**2).sum())
    return statistic / (len(factors) - 2)


def _described(series: _Series, line: Fitted, means: Fitted, ratio: float, p: float) -> DilutionFit:
    """Return the fit as a document."""
    freedom = len(series.factors) - 2
    statistic = max(0.0, 2 * (means.log_likelihood - line.log_likelihood))
    lack = statistic / freedom if freedom else None
    lack_p = float(stats.chi2.sf(statistic, freedom)) if freedom else None
    widened, quantile = 1.0, float(stats.norm.ppf((1 + LEVEL) / 2))
    if lack is not None and lack > 1:
        widened, quantile = math.sqrt(lack), float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    covariance = line.covariance * widened**2
    intercept, slope = (float(value) for value in line.coefficients)
    half = quantile * math.sqrt(covariance[1, 1])
    undiluted, interval = _undiluted(series, line.alpha, widened, quantile)
    return DilutionFit(
        model="poisson" if line.alpha == 0 else "negative-binomial",
        overdispersion=ratio,
        overdispersion_p=p,
        alpha=line.alpha,
        slope=slope,
        slope_interval=(slope - half, slope + half),
        intercept=intercept,
        covariance=(float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])),
        quantile=quantile,
        contains_minus_one=slope - half <= -1 <= slope + half,
        lack_of_fit=lack,
        lack_of_fit_p=lack_p,
        widened=widened,
        undiluted=undiluted,
        undiluted_interval=interval,
        outlier_images=series.unlike_images(line.alpha),
    )


def _undiluted(series: _Series, alpha: float, widened: float, quantile: float) -> tuple[float, tuple[float, float]]:
    """Return the density at factor 1 and its interval, with the slope held at -1."""
    counts = series.line
    fixed = Counts(counts.beads, counts.design[:, :1], counts.offset - np.log(series.factor))
    fitted = fit_counts(fixed, alpha)
    if fitted is None:
        raise InputError("The density of the undiluted suspension cannot be fitted to these counts.")
    log_density = float(fitted.coefficients[0])
    half = quantile * widened * math.sqrt(float(fitted.covariance[0, 0]))
    return math.exp(log_density), (math.exp(log_density - half), math.exp(log_density + half))


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
    import statsmodels.api as sm  # late: what only counts does not wait for it

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
