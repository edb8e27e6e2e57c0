"""What is usual in a data set: size and polarity of its beads, and medians over the samples that fit.

So habits of its annotators are not faults.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.document import Baseline
from beadseg.annotation.audit.measure import Settings, at, mask_beads
from beadseg.annotation.audit.response import Polarity, find_peaks, response, strength
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.errors import BeadsegError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.audit.measurement import Measurement, PlaneMeasurement
    from beadseg.data.dataset import Dataset, Sample

FEWEST_SAMPLES = 4
"""With fewer samples that fit, each would be measured against itself: the usual place is taken to be the beads."""
TRIMMED = 0.75
"""Rates of missed and invented beads are pooled over this share of the samples, those with the lowest rates."""

LOOKED_AT = 32
"""Samples looked at, evenly spread over the data set: a minority of wrong ones does not move the medians."""
DIAMETER_STEP = 0.25
"""The diameter is rounded to this, px, so that a few new samples do not make every measurement stale."""
SLIP = 6
"""Masks that lie up to so far beside their beads, px along each axis, still tell what beads look like."""
RESPONSE_STEP = 1.1
"""The response is rounded to a power of this, for the same reason."""


def baseline_of(measurements: Iterable[Measurement], settings: Settings) -> Baseline:
    """Return what is usual among `measurements`."""
    planes = [plane for found in measurements for plane in found.planes]
    fitting = [plane for plane in planes if _fits(plane)]
    shift = _usual_shift(fitting, thresholds.HABIT * settings.radius)
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
        and best.pairs >= thresholds.FEWEST_FOR_PARTS
        and best.agreement >= thresholds.FITS
    )


def _usual_shift(planes: Sequence[PlaneMeasurement], most: float) -> tuple[float, float, float]:
    """Return the median place of masks against beads, dy, dx, and its robust standard deviation, px.

    Masks that usually lie more than `most` px beside the beads are all shifted: their usual place does not excuse them.
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


def calibrate(
    dataset: Dataset,
    diameter_px: float | None = None,
    polarity: Polarity | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Settings:
    """Return what all samples are measured with.

    Parameters
    ----------
    dataset : Dataset
        What is audited.
    diameter_px, polarity : optional
        Known values; measured from the masks when None.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    InputError
        No mask of those looked at marks a bead that is visible in its image.
    """
    spread = np.unique(np.linspace(0, len(dataset) - 1, min(LOOKED_AT, len(dataset))).astype(int))
    samples = [dataset.samples[index] for index in spread]
    size = diameter_px
    if size is None:
        size = median(known.bead_diameter_px for known in _fingerprints(dataset, samples, on_event, stop))
    diameter = max(2.0, round(size / DIAMETER_STEP) * DIAMETER_STEP)
    looks = [look for sample in samples if (look := _contrast(sample, diameter)) is not None]
    kind = polarity or _majority(looks)
    heights = [height for look in looks if (height := look[kind].height) > 0]
    if not heights:
        raise _nothing(dataset, samples)
    return Settings(diameter, kind, _rounded(median(heights)))


@dataclass(frozen=True)
class _Look:
    """What a sample says, if its beads are of one polarity.

    Attributes
    ----------
    height : float
        Median answer of the strongest places of its image, as many as there are marked beads.
    covered : float
        Mean answer under its marked beads where the mask lies best, so that a shifted mask tells as much.
    """

    height: float
    covered: float


def _majority(looks: Sequence[Mapping[Polarity, _Look]]) -> Polarity:
    """Return the polarity of which most masks cover beads; dark where there are none."""
    dark = sum(look["dark"].covered >= look["bright"].covered for look in looks)
    return "dark" if 2 * dark >= len(looks) else "bright"


def _fingerprints(
    dataset: Dataset, samples: list[Sample], on_event: OnEvent, stop: StopFlag | None
) -> list[Fingerprint]:
    """Return the fingerprints of single samples, of those that have one."""
    found = []
    for sample in track(samples, "bead size", len(samples), on_event, stop):
        try:
            found.append(fingerprint(dataset.subset([sample.name])))
        except BeadsegError:
            continue  # without beads, or unreadable, which is reported when it is measured
    if not found:
        raise _nothing(dataset, samples)
    return found


def _contrast(sample: Sample, diameter: float) -> dict[Polarity, _Look] | None:
    """Return what the first plane of a sample says for either polarity; None where nothing is marked."""
    try:
        _, pixels, target = next(iter(sample.planes()))
    except BeadsegError:
        return None
    marked = mask_beads(target.foreground, Settings(diameter, "dark", 1.0)).position
    if len(marked) == 0:
        return None
    answer = response(strength(pixels, "dark", diameter), diameter / 2)
    return {"dark": _seen(answer, marked), "bright": _seen(-answer, marked)}


def _seen(answer: NDArray[np.float32], marked: NDArray[np.float64]) -> _Look:
    heights = np.sort(find_peaks(answer, 0.0).height)[-len(marked) :]
    reach = range(-SLIP, SLIP + 1)
    covered = max(float(at(answer, marked + np.array((dy, dx))).mean()) for dy in reach for dx in reach)
    return _Look(float(np.median(heights)) if len(heights) else 0.0, covered)


def _rounded(value: float) -> float:
    return float(RESPONSE_STEP ** round(math.log(value) / math.log(RESPONSE_STEP)))


def _nothing(dataset: Dataset, samples: Sequence[Sample]) -> InputError:
    """Return the error of a data set without a usable mask, which names the first cause that a file tells."""
    what = "No mask marks a bead that can be seen in its image, so that nothing can be compared."
    remedy = "Check the folders of images and masks, or say how large beads are (--diameter)."
    for sample in samples:
        try:
            doubts = [doubt for _, _, target in sample.planes() for doubt in target.doubts()]
        except BeadsegError as error:
            return InputError(f"{what} {error.where}: {error.what}", dataset.root, error.remedy)
        if doubts:
            return InputError(f"{what} {sample.name}: {doubts[0].text}", dataset.root, doubts[0].remedy)
    return InputError(what, dataset.root, remedy)
