"""How large beads are in this data set, whether they are dark or bright, and how strongly they answer the filter."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.audit.filters import Polarity, response, strength
from beadseg.annotation.audit.measure import Settings, at, mask_beads
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.errors import BeadsegError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset, Sample

LOOKED_AT = 32
"""Samples looked at, evenly spread over the data set: a minority of wrong ones does not move the medians."""
DIAMETER_STEP = 0.25
"""The diameter is rounded to this, px, so that a few new samples do not make every measurement stale."""
RESPONSE_STEP = 1.1
"""The response is rounded to a power of this, for the same reason."""


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
    size, kind = diameter_px, polarity
    if size is None or kind is None:
        prints = _fingerprints(dataset, samples, on_event, stop)
        dark = sum(known.polarity == "dark" for known in prints)
        size = size or median(known.bead_diameter_px for known in prints)
        kind = kind or ("dark" if 2 * dark >= len(prints) else "bright")
    rough = Settings(max(2.0, round(size / DIAMETER_STEP) * DIAMETER_STEP), kind, 1.0)
    answers = [answer for sample in samples if (answer := _typical(sample, rough)) is not None]
    if not answers:
        raise _nothing(dataset)
    return Settings(rough.diameter, kind, _rounded(median(answers)))


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
        raise _nothing(dataset)
    return found


def _typical(sample: Sample, settings: Settings) -> float | None:
    """Return the median answer at the marked beads of a sample's first plane, where it is positive."""
    try:
        _, pixels, target = next(iter(sample.planes()))
    except BeadsegError:
        return None
    marked = mask_beads(target.foreground, settings)
    if len(marked) == 0:
        return None
    answer = response(strength(pixels, settings.polarity, settings.diameter), settings.radius)
    typical = float(np.median(at(answer, marked.position)))
    return typical if typical > 0 else None


def _rounded(value: float) -> float:
    return float(RESPONSE_STEP ** round(math.log(value) / math.log(RESPONSE_STEP)))


def _nothing(dataset: Dataset) -> InputError:
    return InputError(
        "No mask marks a bead that can be seen in its image, so that nothing can be compared.",
        dataset.root,
        "Check the folders of images and masks, or say how large beads are (--diameter).",
    )
