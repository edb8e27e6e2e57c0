"""One row of ``counts.csv``: two counts of a plane, how sure the first one is, densities, and what is implausible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beadseg.measure.intervals import combined, poisson_interval
from beadseg.predict.flags import NO_INTERVAL, disagreement, empty_parts, flags, in_words, nothing_because, unlike

if TYPE_CHECKING:
    from beadseg.data.lazy import LazyImage
    from beadseg.measure.calibration import Calibration
    from beadseg.predict.prediction import Prediction
    from beadseg.predict.predictor import Predictor

_DENSITIES = ("beads_per_mpx", "beads_per_mm2")
_LIMITS = ("low", "high", "total_low", "total_high")
COUNT_COLUMNS = (
    "image", "plane", "beads", "beads_low", "beads_high", "beads_integral",
    *(name for unit in _DENSITIES for name in (unit, *(f"{unit}_{limit}" for limit in _LIMITS))),
    "coverage", "diameter_px", "height", "width", "pixel_size_um", "flags",
)  # fmt: skip
"""Columns of ``counts.csv``."""


def count_row(name: str, plane: str, image: LazyImage, prediction: Prediction, predictor: Predictor) -> dict[str, Any]:
    """Return one plane's row of ``counts.csv``; what cannot be told is an empty cell."""
    height, width = prediction.labels.shape
    pixels = height * width
    count, size = prediction.count, image.pixel_size_um
    coverage = float((prediction.labels > 0).mean())
    known = predictor.calibration
    calibration = known if known is not None and known.fits(prediction.objects) else None
    seen = round(prediction.seen_pixels)  # densities and areas are the model's own: of the image as it saw it
    second = None if calibration is None else calibration.second_count(prediction.integral, seen)
    every = int(prediction.labels.max(initial=0))  # those that do not count are in the area too
    found = [*flags(count, coverage, seen, predictor.fingerprint), *disagreement(every, second, seen, calibration)]
    found += [prediction.doubt] if prediction.doubt else []
    differences = _differences(prediction, predictor, calibration)
    found += empty_parts(prediction.intensity) if predictor.appearance is None else []
    found += nothing_because(prediction.intensity) if not every and not differences else []
    if differences and calibration is not None:
        differences.append(NO_INTERVAL)
    counting = None if calibration is None or differences else calibration.interval(count, seen)
    return {
        "image": name,
        "plane": plane,
        "beads": count,
        **_limits("beads", counting, 1.0, 0),
        "beads_integral": "" if second is None else round(second, 1),
        **_density("beads_per_mpx", count, counting, 1e6 / pixels, 2),
        **_density("beads_per_mm2", count, counting, None if size is None else 1e6 / (pixels * size**2), 3),
        "coverage": round(coverage, 5),
        "diameter_px": "" if prediction.doubt and not every else round(prediction.diameter, 2),
        "height": height,
        "width": width,
        "pixel_size_um": "" if size is None else size,
        "flags": in_words(found, differences),
    }


def _differences(prediction: Prediction, predictor: Predictor, calibration: Calibration | None) -> list[str]:
    """Return in what an image is unlike the training images."""
    training = predictor.appearance
    image = None if training is None else prediction.appearance(training.diameter)
    if training is None or image is None:
        return []
    return unlike(training, image, same_choice=calibration is not None)


def _density(
    name: str, count: float, counting: tuple[float, float] | None, factor: float | None, digits: int
) -> dict[str, Any]:
    """Return a density with its interval from the errors of counting, and from these and sampling together."""
    if factor is None:
        return dict.fromkeys((name, *(f"{name}_{limit}" for limit in _LIMITS)), "")
    total = None if counting is None else combined(count, counting, poisson_interval(count))
    return {
        name: round(count * factor, digits),
        **_limits(name, counting, factor, digits),
        **_limits(f"{name}_total", total, factor, digits),
    }


def _limits(name: str, interval: tuple[float, float] | None, factor: float, digits: int) -> dict[str, Any]:
    low, high = ("", "") if interval is None else (round(limit * factor, digits or None) for limit in interval)
    return {f"{name}_low": low, f"{name}_high": high}
