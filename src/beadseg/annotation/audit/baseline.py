"""What is usual in a data set: medians over the samples that fit, so that habits of its painters are not faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.audit import limits
from beadseg.annotation.audit.document import Baseline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beadseg.annotation.audit.measure import Settings
    from beadseg.annotation.audit.measurement import Measurement, PlaneMeasurement

FEWEST_SAMPLES = 4
"""With fewer samples that fit, each would be measured against itself: the usual place is taken to be the beads."""
TRIMMED = 0.75
"""Rates of missed and invented beads are pooled over this share of the samples, those with the lowest rates."""


def baseline_of(measurements: Iterable[Measurement], settings: Settings) -> Baseline:
    """Return what is usual among `measurements`."""
    planes = [plane for found in measurements for plane in found.planes]
    fitting = [plane for plane in planes if _fits(plane)]
    shift = _usual_shift(fitting, limits.HABIT * settings.radius)
    radii = [plane.radii for plane in fitting if plane.radii is not None]
    offset, spread = _robust([found.mask - found.image for found in radii])
    width, width_spread = _robust([found.width for found in radii])
    enough = len(radii) >= FEWEST_SAMPLES
    return Baseline(
        bead_diameter_px=settings.diameter,
        polarity=settings.polarity,
        response=settings.response,
        dy=shift[0],
        dx=shift[1],
        shift_spread=shift[2],
        radius_offset=offset if enough else None,
        radius_spread=spread if enough else 0.0,
        edge_width=width if enough else None,
        edge_spread=width_spread if enough else 0.0,
        contrast=_robust([found.contrast for found in radii])[0] if enough else None,
        missing=_rate([(plane.missing.groups, plane.missing.of) for plane in fitting]),
        extra=_rate([(plane.extra.groups, plane.extra.of) for plane in fitting]),
        unevenness=_robust([plane.unevenness for plane in planes])[0],
        saturated=_robust([max(plane.saturated_low, plane.saturated_high) for plane in planes])[0],
        samples=len(fitting),
    )


def _fits(plane: PlaneMeasurement) -> bool:
    best = plane.best
    return (
        best is not None
        and best.orientation == 0
        and best.pairs >= limits.FEWEST_FOR_PARTS
        and best.agreement >= limits.FITS
    )


def _usual_shift(planes: Sequence[PlaneMeasurement], most: float) -> tuple[float, float, float]:
    """Return the median place of masks against beads, dy, dx, and its robust standard deviation, px.

    Masks that usually lie more than `most` px beside the beads are all shifted: their usual place is no excuse.
    """
    places = np.array([(-plane.best.dy, -plane.best.dx) for plane in planes if plane.best is not None])
    if len(places) < FEWEST_SAMPLES:
        return 0.0, 0.0, 0.0
    middle = np.median(places, axis=0)
    spread = 1.4826 * float(np.median(np.abs(places - middle)))
    if float(np.hypot(*middle)) > most:
        return 0.0, 0.0, spread
    return float(middle[0]), float(middle[1]), spread


def _robust(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the robust standard deviation; zeros of nothing."""
    if not values:
        return 0.0, 0.0
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(np.array(values) - middle)))


def _rate(counts: Sequence[tuple[int, int]]) -> float:
    """Return the pooled rate of the samples with the lowest rates."""
    known = sorted(((count / of, count, of) for count, of in counts if of), key=lambda item: item[0])
    kept = known[: max(1, round(TRIMMED * len(known)))]
    total = sum(of for _, _, of in kept)
    return sum(count for _, count, _ in kept) / total if total else 0.0
