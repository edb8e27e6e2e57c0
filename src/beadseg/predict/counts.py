"""One row of ``counts.csv``: two counts of a plane, how sure they are, densities, and whether the result is plausible.

What is not plausible gets a flag and an exit code of its own, never "Success".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy import ndimage

from beadseg.measure.appearance import levels
from beadseg.measure.calibration import combined, poisson_interval
from beadseg.model.inputs import percentiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.data.image_io import LazyImage
    from beadseg.measure.appearance import Appearance, PropertyRange, TrainingAppearance, Value
    from beadseg.measure.calibration import Calibration
    from beadseg.predict.prediction import Prediction, Predictor

_DENSITIES = ("beads_per_mpx", "beads_per_mm2")
_LIMITS = ("low", "high", "total_low", "total_high")
COUNT_COLUMNS = (
    "image", "plane", "beads", "beads_low", "beads_high", "beads_integral",
    *(name for unit in _DENSITIES for name in (unit, *(f"{unit}_{limit}" for limit in _LIMITS))),
    "coverage", "diameter_px", "height", "width", "pixel_size_um", "flags",
)  # fmt: skip
"""Columns of ``counts.csv``."""
LATER_COLUMNS = ("diameter_px",)
"""Those of them that tables of earlier versions lack: they are empty there."""

CORRECTED_COLUMNS = (
    "corrected", *(f"corrected_{unit}{limit}" for unit in ("per_mpx", "per_mm2") for limit in
                   ("", "_total_low", "_total_high")),
    "corrected_by", "corrected_when",
)  # fmt: skip
"""Further columns of ``counts.csv``, where a person corrected an image in the viewer; ``beads`` stays as it was."""
TEXT_COLUMNS = ("image", "plane", "flags", "corrected_by", "corrected_when")
"""Columns of both kinds that hold no numbers."""

NEARLY_EVERYTHING = 0.5
"""Share of the image from which a foreground is implausible for separate beads."""
DENSITY_FACTOR = 3.0
"""How far outside the training densities a result may lie before it is flagged."""
SPREADS = 3.0
"""A property may lie so many standard deviations between training images from their mean …"""
FEW_IMAGES = 4.0
"""… more of them where these are few, whose standard deviation is not sure: so many make it twice as many …"""
ERRORS = 3.0
"""… and so many of its own standard errors farther."""
SPOT_SHARE = 0.05
"""Fewer spots that were not counted, as a share of the beads, change no count that matters."""
OFFSET = 5.0
"""Values that vary so many times less, relative to the background, seem to have an offset."""
IMPLAUSIBLE, UNLIKE = "implausible count: ", "unlike the training images: "
"""What a flag begins with, wherever it stands: the count is what is wrong, or the image is not what the model knows."""
STRIP = 256
"""Rows that are looked at together, a multiple of `BLOCK`."""
BLOCK, EMPTY, DISTINCT = 16, 0.05, 0.25
"""An image has an empty part when this share of its blocks (px) holds one value that is so far from the others."""
EVEN = 0.8
"""Share of neighbours with the same value, of pixels above the background, from which an image looks like a mask."""
FAINT = 0.05
"""Beads stand out by more than this share of the background, unless the background holds an offset."""
NO_INTERVAL = "no interval is given, because the image is unlike the training images"
"""Said where a count has no interval for this reason."""

NOT_COMPARED = (
    "Images are not compared with the training images, because the model does not store what these looked like. "
    "Repeat the training command with this version of beadseg to add it; nothing is trained again."
)
"""Said of a model of an earlier version."""


def count_row(name: str, plane: str, image: LazyImage, prediction: Prediction, predictor: Predictor) -> dict[str, Any]:
    """Return one plane's row of ``counts.csv``; what cannot be told is an empty cell."""
    height, width = prediction.shape
    pixels = height * width
    count, size = prediction.count, image.pixel_size_um
    coverage = prediction.coverage
    known = predictor.calibration
    calibration = known if known is not None and known.fits(prediction.objects) else None
    seen = round(prediction.seen_pixels)  # densities and areas are the model's own: of the image as it saw it
    second = None if calibration is None else calibration.second_count(prediction.integral, seen)
    every = prediction.every  # those that do not count are in the area too
    found = [*flags(count, coverage, seen, predictor.fingerprint), *disagreement(every, second, seen, calibration)]
    found += [prediction.doubt] if prediction.doubt else []
    differences = _differences(prediction, predictor, calibration)
    found += empty_parts(prediction.intensity) if predictor.appearance is None else []
    found += like_a_mask(prediction.intensity)
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


def corrected_cells(
    count: int, by: str, when: str, size: tuple[int, int], pixel_size_um: float | None
) -> dict[str, Any]:
    """Return the `CORRECTED_COLUMNS` of an image (height, width, px) whose beads a person corrected (UTC).

    The intervals are those of sampling alone (Poisson): how certain automatic counts are says nothing about a count
    that a person corrected.
    """
    pixels = size[0] * size[1]
    factors = {"per_mpx": (1e6 / pixels, 2)}
    factors |= {} if pixel_size_um is None else {"per_mm2": (1e6 / (pixels * pixel_size_um**2), 3)}
    found: dict[str, Any] = dict.fromkeys(CORRECTED_COLUMNS, "") | {"corrected": count}
    for unit, (factor, digits) in factors.items():
        found[f"corrected_{unit}"] = round(count * factor, digits)
        found |= _limits(f"corrected_{unit}_total", poisson_interval(count), factor, digits)
    return found | {"corrected_by": by, "corrected_when": when}


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


@dataclass(frozen=True)
class _Property:
    """How a property of an image is compared with the training images, and how the difference is worded.

    Attributes
    ----------
    text : str
        What is said, with the ``value``, the training's ``low`` and ``high``, and what `PixelStats` holds.
    below, above : float
        How far outside of the range a value may lie at least: a factor where `relative`, else in its own units.
    relative : bool
        Whether they are factors.
    certain : bool
        It says what is unlike. Others only tell that the network is less sure, and are reported where nothing else is.
    """

    text: str
    below: float
    above: float
    relative: bool = True
    certain: bool = True


_PROPERTIES = {
    "clipped": _Property("{value:.0%} of the pixels have the largest or the smallest value "
                         "(training images: at most {high:.1%}): is it overexposed or clipped?",
                         math.inf, 0.02, relative=False),
    "variation": _Property("brightness varies by {value:.1%} of the background "
                           "(training images: {low:.0%} to {high:.0%})", 6.0, 4.0),
    "contrast": _Property("contrast of beads {value:.2f}{unit} (training images: {low:.2f} to {high:.2f})", 1.15, 1.15),
    "noise": _Property("noise {value:.2g}{unit} (training images: {low:.2g} to {high:.2g})", 3.0, 1.3),
    "sharpness": _Property("sharpness of bead edges {value:.2f} (training images: {low:.2f} to {high:.2f})",
                           0.03, 0.06, relative=False),
    "diameter": _Property("bead diameter {value:.1f} px (training images: {low:.1f} to {high:.1f} px)", 1.06, 1.06),
    "red": _Property("{value:.0%} of the contrast of beads is red (training images: {low:.0%} to {high:.0%})",
                     0.02, 0.02, relative=False),
    "blue": _Property("{value:.0%} of the contrast of beads is blue (training images: {low:.0%} to {high:.0%})",
                      0.02, 0.02, relative=False),
    "left_out": _Property("{value:.0%} of the candidates for beads are left out as too small or too uncertain "
                          "(training images: {low:.0%} to {high:.0%})", math.inf, 0.1, relative=False, certain=False),
    "confidence": _Property("confidence of beads {value:.2f} (training images: {low:.2f} to {high:.2f})",
                            0.06, math.inf, relative=False, certain=False),
    "probability": _Property("mean probability inside beads {value:.3f} (training images: {low:.3f} to {high:.3f})",
                             0.006, math.inf, relative=False, certain=False),
}  # fmt: skip
"""By property, in the order in which differences are reported."""


def flags(count: int, coverage: float, pixels: int, fingerprint: Mapping[str, Any]) -> list[str]:
    """Return what is implausible about a count, in plain words; empty when nothing is.

    Parameters
    ----------
    count : int
        Beads found.
    coverage : float
        Share of foreground pixels, 0 to 1.
    pixels : int
        Pixels of the image.
    fingerprint : mapping
        Of the training data (`beadseg.data.fingerprint.Fingerprint`).
    """
    found: list[str] = []
    highest = float(fingerprint["objects_per_mpx_max"])
    lowest = float(fingerprint["objects_per_mpx_min"])
    density = count / pixels * 1e6
    expected_least = lowest / DENSITY_FACTOR * pixels / 1e6
    if count == 0:
        if expected_least >= 1:
            found.append("nothing found, although every training image had beads")
        else:
            found.append("nothing found")
    nearly = max(NEARLY_EVERYTHING, float(fingerprint["positive_ratio_max"]))
    if coverage >= nearly or coverage > 3 * float(fingerprint["positive_ratio_max"]) + 0.05:
        found.append(f"{coverage:.0%} of the image is foreground (training images: at most "
                     f"{float(fingerprint['positive_ratio_max']):.0%})")  # fmt: skip
    if density > highest * DENSITY_FACTOR:
        found.append(f"{density:.0f} beads per megapixel, training images had at most {highest:.0f}")
    elif count and count < expected_least - 2:
        found.append(f"{density:.0f} beads per megapixel, training images had at least {lowest:.0f}")
    return found


def in_words(implausible: Sequence[str], differences: Sequence[str]) -> str:
    """Return the cell ``flags`` of ``counts.csv``: what is implausible about the count, then what the image is unlike.

    Parameters
    ----------
    implausible : sequence of str
        See `flags` and `disagreement`.
    differences : sequence of str
        See `unlike`.
    """
    told = ((IMPLAUSIBLE, implausible), (UNLIKE, differences))
    return "; ".join(f"{kind}{'; '.join(texts)}" for kind, texts in told if texts)


def sentence(flags: str) -> str:
    """Return the cell ``flags`` as a sentence: a capital letter first, a full stop last."""
    return f"{flags[:1].upper()}{flags[1:].rstrip('.')}."


class Brightness(Protocol):
    """The brightness (Y, X) float32 of an image, in memory or read row by row."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Y and X."""

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        """Return some rows."""


def _strips(intensity: Brightness) -> Iterator[NDArray[np.float32]]:
    for top in range(0, intensity.shape[0], STRIP):
        yield intensity[top : top + STRIP]


def nothing_because(intensity: Brightness) -> list[str]:
    """Return why nothing may have been found in an image, as far as its brightness (Y, X) alone tells it."""
    percents = [0.1, 50, 99.9]
    whole = isinstance(intensity, np.ndarray)
    found: Any = np.percentile(np.asarray(intensity), percents) if whole else None
    found = percentiles(lambda: _strips(intensity), percents) if found is None else found
    low, middle, high = (float(value) for value in found)
    if low == high:
        return [f"nearly all pixels have the value {middle:,.6g}"]
    if max(high - middle, middle - low) < FAINT * abs(middle):
        varies = max(high - middle, middle - low) / abs(middle)
        return [f"brightness varies by {varies:.2%} of the background, values are {low:,.9g} to {high:,.9g}: "
                "was an offset added?"]  # fmt: skip
    return []


def like_a_mask(intensity: Brightness) -> list[str]:
    """Return a flag where parts of an image (Y, X) are like a mask, or labels: even areas on an even background."""
    tops = range(0, intensity.shape[0], max(1, intensity.shape[0] // STRIP // 8) * STRIP)
    part = np.concatenate([intensity[top : top + STRIP][:, : 16 * STRIP] for top in tops])
    inside = part > part.min()
    beside = inside[:, 1:] & inside[:, :-1]
    if not 0 < inside.mean() < 0.5 or not beside.any():
        return []
    if float((part[:, 1:] == part[:, :-1])[beside].mean()) < EVEN:
        return []
    return ["the image consists of even areas, as masks and labels do: is it an image?"]


def empty_parts(intensity: Brightness) -> list[str]:
    """Return a flag where much of an image (Y, X) holds one value that its background does not have.

    Black borders, corners of a stitched or turned image, the bar with the legend: beads beside these are measured
    against a background that is not one. They reach the border of the image; large overexposed beads hardly do.
    """
    height, width = (side - side % BLOCK for side in intensity.shape)
    if min(height, width) == 0:
        return []
    strips = (strip[: len(strip) // BLOCK * BLOCK, :width] for strip in _strips(intensity))
    blocks = (strip.reshape(-1, BLOCK, width // BLOCK, BLOCK) for strip in strips)
    ends = [(each.min(axis=(1, 3)), each.max(axis=(1, 3))) for each in blocks]
    low, high = (np.concatenate(each) for each in zip(*ends, strict=True))
    even = low == high
    if not even.any() or even.all():
        return []
    value = float(np.median(low[even]))
    if ((low <= value) & (value <= high))[~even].mean() > 0.5:  # the background itself is so even
        return []
    parts, _ = ndimage.label(even & (low == value))
    beside = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    share = float(np.isin(parts, beside[beside > 0]).mean())
    elsewhere = float(np.median((low[~even] + high[~even]) / 2))
    if share < EMPTY or abs(elsewhere - value) < DISTINCT * max(abs(elsewhere), abs(value)):
        return []
    return [f"{share:.0%} of the image is empty (all {value:,.6g}), and beads beside that may be missed: crop it"]


def disagreement(count: float, second: float | None, pixels: int, calibration: Calibration | None) -> list[str]:
    """Return a flag where the count by separation and the count by area differ by more than they usually do.

    Parameters
    ----------
    count : float
        Beads that were separated.
    second : float or None
        Beads by area; None where there is no such count.
    pixels : int
        Pixels of the image.
    calibration : Calibration or None
        Of the model.
    """
    if second is None or calibration is None or not calibration.disagrees(count, second, pixels):
        return []
    low, high = calibration.usual_seconds(count, pixels)
    low = max(0.0, low)
    return [f"two counts disagree: {count:.0f} beads separated, {second:.0f} by area (usual: {low:.0f} to {high:.0f})"]


def unlike(training: TrainingAppearance, image: Appearance, *, same_choice: bool = True) -> list[str]:
    """Return in what an image is unlike the training images, in plain words with numbers; empty where in nothing.

    Parameters
    ----------
    training : TrainingAppearance
        Of the model.
    image : Appearance
        Of the image.
    same_choice : bool
        Beads were chosen with the thresholds of the model, so that what was left out can be compared too.
    """
    spreads = SPREADS * (1 + FEW_IMAGES / training.images)
    beyond = {
        name: _beyond(training.ranges[name], image.values[name], compared, image.measured, spreads)
        for name, compared in _PROPERTIES.items()
        if name in training.ranges and name in image.values and (compared.certain or same_choice)
    }
    # One property far outside the range, or several that are a little outside of theirs.
    whole = math.hypot(*beyond.values())
    least = min(1.0, whole / 2, max(beyond.values(), default=0.0))
    told = [name for name, far in beyond.items() if far >= least] if whole > 1 else []
    certain = [name for name in told if _PROPERTIES[name].certain]
    found = [_property_text(name, image.values[name].value, image, training) for name in certain]
    found = [*_channels(training, image), *found, *_spots(training, image)]
    return found or [_property_text(name, image.values[name].value, image, training) for name in told]


def _channels(training: TrainingAppearance, image: Appearance) -> list[str]:
    channels = image.pixels.channels
    if channels < training.channels_min:
        return ["grey or one colour only (training images: colour)"]
    return ["colour (training images: grey)"] if channels > training.channels_max else []


def _beyond(known: PropertyRange, value: Value, compared: _Property, beads: int, spreads: float) -> float:
    """Return how far a value lies outside the training images' range: 0 inside, 1 where it is certainly outside.

    What chance and the images' variety explain is allowed for.
    """
    chance = ERRORS * max(value.error, known.scatter / math.sqrt(max(1, beads)))
    at, low, high = value.value, known.low, known.high
    below, above = compared.below, compared.above
    if compared.relative:
        if low * high < 0:  # dark beads in some images, bright ones in others
            return 0.0
        if at * (low + high) < 0:
            return _ratio(abs(at), chance)
        at, low, high = (max(abs(number), 1e-9) for number in (at, *sorted((low, high), key=abs)))
        chance /= at
        at, low, high, below, above = (math.log(number) for number in (at, low, high, below, above))
    below = max(below, low - known.middle + spreads * known.spread)
    above = max(above, known.middle + spreads * known.spread - high)
    return max(0.0, _ratio(low - at, below + chance), _ratio(at - high, above + chance))


def _ratio(value: float, scale: float) -> float:
    return value / scale if scale > 0 else math.copysign(math.inf, value) if value else 0.0


def _property_text(name: str, value: float, image: Appearance, training: TrainingAppearance) -> str:
    """Tell a property with the range that it has in the training images."""
    low, high = training.ranges[name].low, training.ranges[name].high
    if name == "contrast" and value * (low + high) < 0:
        words = ("darker", "brighter") if value < 0 else ("brighter", "darker")
        return f"beads are {words[0]} than the background (training images: {words[1]})"
    if name == "variation":
        return _range_text(value, low, high, image)
    low, high = sorted((abs(low), abs(high)))
    unit = " of the background" if training.relative else ""
    return _PROPERTIES[name].text.format(value=abs(value), low=low, high=high, unit=unit)


def _range_text(value: float, low: float, high: float, image: Appearance) -> str:
    """Tell a difference in the range of the file's values, with its usual cause."""
    pixels = image.pixels
    values = f"{pixels.lowest:,.5g} to {pixels.highest:,.5g}"
    if value > high:
        return f"the background is {pixels.background:,.3g}, with values of {values}: was it already subtracted?"
    text = _PROPERTIES["variation"].text.format(value=value, low=low, high=high)
    cause = ": was an offset added?" if value < low / OFFSET else ""
    return f"{text}, values are {values}{cause}"


def _spots(training: TrainingAppearance, image: Appearance) -> list[str]:
    """Tell of spots as strong as beads that were not counted."""
    found: list[str] = []
    usually = training.ranges["response"].low if "response" in training.ranges else 0.0
    opposite = "bright" if usually < 0 else "dark"
    strong, rates = levels(training.ranges), (training.dark_per_mpx, training.bright_per_mpx)
    for kind, most, responses in zip(("dark", "bright"), rates, image.spots, strict=True):
        for level, per_mpx in zip(strong, most, strict=True):
            number, usual = sum(response >= level for response in responses), per_mpx * image.area / 1e6
            if number > max(2 + 1.5 * usual + ERRORS * math.sqrt(usual + 1), SPOT_SHARE * image.found):
                text = (f"{number} {kind} spots as strong as beads are not counted "
                        f"(training images: at most {math.ceil(usual)} in such an area)")  # fmt: skip
                inverted = kind == opposite and number > image.found
                found.append(f"{text}: is the image inverted?" if inverted else text)
                break
    return found
