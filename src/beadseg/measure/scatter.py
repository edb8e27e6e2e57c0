"""How far one count lies from another, learned from images where both are known: a mean, a variance and a quantile.

Of an image of A px with n beads, x times as dense as the densest one seen, the difference has

    mean      n (shift + crowded_shift x)
    variance  area A / typical_area + per_bead n + n² (shared² + crowded_shared² x²)

False finds grow with the area, misses and split beads with the beads, merged ones with the density; what all beads of
an image share, such as blur, makes the last term: counts are overdispersed. The parameters are the likeliest ones for
normal differences, as if two more images had been seen: the sparsest with a difference of one bead, and the densest
with one bead and one percent; so that a few perfect counts do not promise perfection.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field
from scipy import optimize, stats

from beadseg.config.base import Config
from beadseg.measure.intervals import LEVEL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SHIFT_SPREAD = 0.05
"""Shifts of this many beads per bead are taken for usual before any image was seen (standard deviation)."""
IMAGINED_SHARE = 0.01
"""Difference of the densest imagined image, beads per bead."""
LEAST_FOR_RANKS = 19
"""With at least this many images, the ranks of their differences tell where 95 % of them lie."""
LEAST_ROOTS = np.array([1e-2, 1e-4, 1e-5, 1e-5])
"""Least roots of the four variances, so that none is zero."""
FOLDS = 10
"""Parts in which images are left out, to see how far those lie that nothing was learned from."""

Variance = Annotated[float, Field(ge=0.0)]


class Scatter(Config):
    """Differences of two counts of an image; see the module for what the numbers mean."""

    images: Annotated[int, Field(ge=1)]
    """Images, or parts of images, that it was learned from."""
    typical_area: Annotated[float, Field(gt=0.0)]
    """Median of their areas, px²."""
    densest: Annotated[float, Field(gt=0.0)]
    """Largest density among them, beads per px²."""
    shift: float
    """Mean difference per bead in a sparse image."""
    crowded_shift: float
    """What the densest one has in addition."""
    area: Variance
    """Variance of an image of typical area without beads, beads²."""
    per_bead: Variance
    """Variance for each bead."""
    shared: Variance
    """Standard deviation of what all beads of an image share, per bead."""
    crowded_shared: Variance
    """What it has in addition at the largest density."""
    quantile: Annotated[float, Field(gt=0.0)]
    """Standard deviations on either side that make an interval of 95 %."""

    @classmethod
    def fit(cls, counts: Floats, areas: Floats, differences: Floats) -> Scatter:
        """Learn from images.

        Parameters
        ----------
        counts, areas, differences : (K,) float64
            Beads and px² of each image, and what is to be added to the count to get the other one; K at least 1.
        """
        known = (counts, areas, differences)
        fitted = _likeliest(cls, *known)
        rank = np.argsort(np.argsort(counts / areas, kind="stable"), kind="stable")
        scores = np.empty(len(counts))
        for fold in range(min(FOLDS, len(counts))):
            out = rank % FOLDS == fold
            learned = fitted if out.all() else _likeliest(cls, *(values[~out] for values in known))
            scores[out] = [abs(learned.score(*one)) for one in zip(*(values[out] for values in known), strict=True)]
        return fitted.replace(quantile=_quantile(scores))

    def mean(self, count: float, area: float) -> float:
        """Return the mean difference of an image of `area` px² with so many beads."""
        return count * (self.shift + self.crowded_shift * count / area / self.densest)

    def deviation(self, count: float, area: float) -> float:
        """Return the standard deviation of the difference."""
        roots = (math.sqrt(self.area), math.sqrt(self.per_bead), self.shared, self.crowded_shared)
        return math.sqrt(float(_variance(count, area / self.typical_area, count / area / self.densest, roots)))

    def score(self, count: float, area: float, difference: float) -> float:
        """Return how many standard deviations a difference lies from its mean."""
        return (difference - self.mean(count, area)) / self.deviation(count, area)

    def interval(self, count: float, area: float, wider: float = 1.0) -> tuple[float, float]:
        """Return the interval of the other count; `wider` multiplies its width."""
        middle = count + self.mean(count, area)
        half = wider * self.quantile * self.deviation(count, area)
        return middle - half, middle + half


def _likeliest(kind: type[Scatter], counts: Floats, areas: Floats, differences: Floats) -> Scatter:
    """Return the likeliest parameters, with a quantile of 1."""
    typical, densest = float(np.median(areas)), max(float((counts / areas).max()), 1 / float(areas.max()))
    x = counts / areas / densest
    imagined = np.lexsort((counts, x))[[0, -1]]
    squares = 1.0 + np.array([0.0, IMAGINED_SHARE * counts[imagined[1]]]) ** 2

    def loss(values: Floats) -> float:
        shift, crowded = values[:2]
        spread = _variance(counts, areas / typical, x, np.abs(values[2:]) + LEAST_ROOTS)
        rest = (differences - counts * (shift + crowded * x)) ** 2
        seen, assumed = np.log(spread) + rest / spread, np.log(spread[imagined]) + squares / spread[imagined]
        return float(seen.sum() + assumed.sum() + (shift**2 + crowded**2) / SHIFT_SPREAD**2)

    start = np.array([0.0, 0.0, 0.5, 0.05, 0.01, 0.01])
    found = optimize.minimize(loss, start, method="L-BFGS-B", options={"maxiter": 500}).x
    of_area, of_bead, shared, crowded_shared = (float(root) for root in np.abs(found[2:]) + LEAST_ROOTS)
    return kind(
        images=len(counts),
        typical_area=typical,
        densest=densest,
        shift=float(found[0]),
        crowded_shift=float(found[1]),
        area=of_area**2,
        per_bead=of_bead**2,
        shared=shared,
        crowded_shared=crowded_shared,
        quantile=1.0,
    )


def _variance(counts: Any, areas: Any, x: Any, roots: Any) -> Any:
    area, bead, shared, crowded = roots
    return area**2 * areas + bead**2 * counts + counts**2 * (shared**2 + (crowded * x) ** 2)


def _quantile(scores: Floats) -> float:
    """Return how many standard deviations hold 95 % of new images, given those of images that were left out.

    Student's t for a mean and a variance from so many images, and where there are enough of them at least what holds
    95 % of the left-out ones, however they are distributed (R. F. Barber and others, Annals of Statistics 49 (2021)
    486-507).
    """
    known = len(scores)
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, max(1, known - 1))) * math.sqrt(1 + 1 / known)
    if known >= LEAST_FOR_RANKS:
        quantile = max(quantile, float(np.quantile(scores, LEVEL)))
    return quantile
