"""How a model's counts are to be read: learned where the truth is known, stored with the model, used in prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field
from scipy import stats

from beadseg.config.base import Config
from beadseg.config.predict import ObjectConfig
from beadseg.measure.intervals import LEVEL
from beadseg.measure.scatter import Scatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CALIBRATION = "calibration"
"""What it is called in the description of a model and in ``prediction.json``."""
FLAGGED = 0.001
"""One image in this many is flagged although nothing is wrong with it, if differences are normal."""
TRAINING_WIDER = 2.0
"""Factor on the width of intervals that were learned from training images, which a network knows by heart."""


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
        rarer = float(stats.norm.ppf(1 - FLAGGED / 2) / stats.norm.ppf((1 + LEVEL) / 2))
        low, high = self.disagreement.interval(count, pixels, self.wider * rarer)
        return max(0.0, low), max(0.0, high)


def every_bead(objects: ObjectConfig) -> ObjectConfig:
    """Return the same choice with all beads counted, those at borders and out of focus too."""
    return objects.replace(border="count", min_focus=None)


def _scatter(parts: Sequence[KnownImage], others: Sequence[float]) -> Scatter:
    found: NDArray[np.float64] = np.array([part.found for part in parts], np.float64)
    pixels: NDArray[np.float64] = np.array([part.pixels for part in parts], np.float64)
    return Scatter.fit(found, pixels, np.asarray(others, np.float64) - found)
