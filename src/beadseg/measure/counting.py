"""How well beads are counted: detection F1, count bias and mean absolute error, overall and by density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.measure.matching import Detection, match_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COUNT_METRICS = ("f1", "count_bias", "count_mae")
"""Scores of counts: F1 of all beads together; found less true beads, and the size of that error, mean over images."""
DENSITIES = ("sparse", "middle", "dense")
"""Thirds of the images, by their true beads."""


@dataclass(frozen=True)
class Counted:
    """The beads of one image.

    Attributes
    ----------
    detection : Detection
        Centres matched one to one.
    """

    detection: Detection

    @classmethod
    def of(cls, found: NDArray[np.floating], true: NDArray[np.floating], diameter: float) -> Counted:
        """Match centres (N, 2), px, that are at most half a bead `diameter` apart."""
        return cls(match_points(found, true, diameter / 2).counts)

    @property
    def true(self) -> int:
        """Beads in the truth."""
        return self.detection.tp + self.detection.fn

    @property
    def error(self) -> int:
        """Found less true beads."""
        return self.detection.fp - self.detection.fn


def count_scores(images: Sequence[Counted]) -> dict[str, float]:
    """Return `COUNT_METRICS` over at least one image."""
    errors = [image.error for image in images]
    return {
        "f1": sum((image.detection for image in images), Detection(0, 0, 0)).f1,
        "count_bias": float(np.mean(errors)),
        "count_mae": float(np.mean(np.abs(errors))),
    }


def density_scores(images: Sequence[Counted]) -> dict[str, float]:
    """Return `COUNT_METRICS` of each third of the images by density, ``f1_sparse`` …; empty thirds are left out."""
    order = sorted(images, key=lambda image: image.true)
    thirds = [[order[i] for i in part] for part in np.array_split(np.arange(len(order)), len(DENSITIES))]
    return {
        f"{name}_{density}": value
        for density, members in zip(DENSITIES, thirds, strict=True)
        if members
        for name, value in count_scores(members).items()
    }
