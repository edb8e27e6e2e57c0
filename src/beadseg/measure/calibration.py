"""How a model's counts are to be read: learned where the truth is known, stored with the model, used in prediction.

How far one count lies from another is a mean, a variance and a quantile; intervals put uncertainties together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field
from scipy import special

from beadseg.config.base import Config
from beadseg.config.predict import ObjectConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CALIBRATION = "calibration"
"""What it is called in the description of a model and in ``prediction.json``."""
FLAGGED = 0.001
"""One image in this many is flagged although nothing is wrong with it, if differences are normal."""
TRAINING_WIDER = 2.0
"""Factor on the width of intervals that were learned from training images, where scores are optimistic."""

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

LEVEL = 0.95
"""Level of every interval."""


@dataclass(frozen=True)
class KnownImage:
    """What a model made of an image, or of a part of one, whose beads are known.

    Attributes
    ----------
    pixels : int
        Its area, px².
    found : int
        Beads that the model found and separated.
    misses, false_finds : int
        True beads that it did not find, and beads found where none is: matched one to one by their centres.
    integral : float
        Sum of the probability of being bead, px².
    """

    pixels: int
    found: int
    misses: int
    false_finds: int
    integral: float

    @property
    def true(self) -> int:
        """Beads that are there."""
        return self.found + self.misses - self.false_finds


class Integral(Config):
    """A count without separation: the area that is bead over the area of one, which overlaps make smaller."""

    area: Annotated[float, Field(gt=0.0)]
    """Summed probability per bead in a sparse image, px²."""
    overlap: Annotated[float, Field(ge=0.0)]
    """How much beads hide each other: beads = covered / area * (1 + overlap * covered share of the image)."""

    @classmethod
    def fit(cls, images: Sequence[KnownImage]) -> Integral | None:
        """Learn from images; None where none has beads.

        Least squares of the beads over their number, so that an image of many beads decides no more than its share.
        """
        seen = [image for image in images if image.true > 0 and image.integral > 0]
        if not seen:
            return None
        sums = np.array([image.integral for image in seen])
        true = np.array([image.true for image in seen], np.float64)
        shares = sums / np.array([image.pixels for image in seen])
        weight = 1 / np.sqrt(true)
        design = np.column_stack([sums, sums * shares]) * weight[:, np.newaxis]
        plain = float((sums * weight) @ (true * weight) / ((sums * weight) @ (sums * weight)))
        slopes = np.array([plain, 0.0])
        if len(seen) > 2 and np.ptp(shares) > 0:
            both = np.linalg.lstsq(design, true * weight, rcond=None)[0]
            if both[0] > 0 and both[1] > 0:
                slopes = both
        return cls(area=float(1 / slopes[0]), overlap=float(slopes[1] / slopes[0]))

    def count(self, integral: float, pixels: int) -> float:
        """Return the beads of an image with this summed probability."""
        return integral / self.area * (1 + self.overlap * integral / pixels)


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
        return count * (self.shift + self.crowded_shift * min(1.0, count / area / self.densest))

    def deviation(self, count: float, area: float) -> float:
        """Return the standard deviation of the difference."""
        roots = (math.sqrt(self.area), math.sqrt(self.per_bead), self.shared, self.crowded_shared)
        x = count / area / self.densest
        unseen = SHIFT_SPREAD * count * math.log2(max(1.0, x))
        return math.hypot(math.sqrt(float(_variance(count, area / self.typical_area, x, roots))), unseen)

    def score(self, count: float, area: float, difference: float) -> float:
        """Return how many standard deviations a difference lies from its mean."""
        return (difference - self.mean(count, area)) / self.deviation(count, area)

    def interval(self, count: float, area: float, wider: float = 1.0) -> tuple[float, float]:
        """Return the interval of the other count; `wider` multiplies its width."""
        middle = count + self.mean(count, area)
        half = wider * self.quantile * self.deviation(count, area)
        return middle - half, middle + half


class Calibration(Config):
    """What is known of a model's counts."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    objects: ObjectConfig
    """What a bead was when it was learned: with other choices it does not hold. All beads found were counted."""
    source: Literal["validation", "training"]
    """Images it was learned from."""
    images: Annotated[int, Field(ge=1)]
    """How many there were."""
    beads: Annotated[int, Field(ge=0)]
    """True beads in them."""
    misses: Annotated[int, Field(ge=0)]
    """True beads not found."""
    false_finds: Annotated[int, Field(ge=0)]
    """Beads found where none is."""
    wider: Annotated[float, Field(ge=1.0)]
    """Factor on the width of all intervals."""
    error: Scatter
    """True beads less those found."""
    integral: Integral | None
    """The second count; None where no image had beads."""
    disagreement: Scatter | None
    """Second count less those found."""

    @classmethod
    def of(
        cls, objects: ObjectConfig, source: Literal["validation", "training"], images: int, parts: Sequence[KnownImage]
    ) -> Calibration:
        """Learn from images, or parts of them; there must be at least one."""
        integral = Integral.fit(parts)
        seconds = None if integral is None else [integral.count(part.integral, part.pixels) for part in parts]
        return cls(
            objects=every_bead(objects),
            source=source,
            images=images,
            beads=sum(part.true for part in parts),
            misses=sum(part.misses for part in parts),
            false_finds=sum(part.false_finds for part in parts),
            wider=TRAINING_WIDER if source == "training" else 1.0,
            error=_scatter(parts, [float(part.true) for part in parts]),
            integral=integral,
            disagreement=None if seconds is None else _scatter(parts, seconds),
        )

    def fits(self, objects: ObjectConfig) -> bool:
        """Tell whether it holds for beads that were chosen so; which of them count is of no matter."""
        return self.objects == every_bead(objects)

    def interval(self, count: float, pixels: int) -> tuple[float, float]:
        """Return the 95 % interval of the beads that are in an image, in whole beads; it contains `count`."""
        low, high = self.error.interval(count, pixels, self.wider)
        return max(0.0, min(count, math.floor(low))), max(count, math.ceil(high))

    def second_count(self, integral: float, pixels: int) -> float | None:
        """Return the count by area, without separation; never below 0."""
        return None if self.integral is None else max(0.0, self.integral.count(integral, pixels))

    def disagrees(self, count: float, second: float, pixels: int) -> bool:
        """Tell whether two counts differ by more than chance explains in one image of a thousand."""
        low, high = self.usual_seconds(count, pixels)
        return not low <= second <= high

    def usual_seconds(self, count: float, pixels: int) -> tuple[float, float]:
        """Return between which limits the second count of an image usually lies; never below 0."""
        if self.disagreement is None:
            return 0.0, math.inf
        rarer = float(special.ndtri(1 - FLAGGED / 2) / special.ndtri((1 + LEVEL) / 2))
        low, high = self.disagreement.interval(count, pixels, self.wider * rarer)
        return max(0.0, low), max(0.0, high)


def every_bead(objects: ObjectConfig) -> ObjectConfig:
    """Return the same choice with all beads counted, those at borders and out of focus too."""
    return objects.all_like


def _scatter(parts: Sequence[KnownImage], others: Sequence[float]) -> Scatter:
    found: NDArray[np.float64] = np.array([part.found for part in parts], np.float64)
    pixels: NDArray[np.float64] = np.array([part.pixels for part in parts], np.float64)
    return Scatter.fit(found, pixels, np.asarray(others, np.float64) - found)


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
    from scipy import optimize  # late: only the fit needs it

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
    quantile = float(special.stdtrit(max(1, known - 1), (1 + LEVEL) / 2)) * math.sqrt(1 + 1 / known)
    if known >= LEAST_FOR_RANKS:
        quantile = max(quantile, float(np.quantile(scores, LEVEL)))
    return quantile


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
    # Half the quantiles of chi-squared with 2 count, and 2 count + 2, degrees of freedom.
    low = float(special.gammaincinv(count, tail)) if count > 0 else 0.0
    high = float(special.gammaincinv(count + 1, 1 - tail))
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
