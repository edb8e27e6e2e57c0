"""Measure what a data set looks like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from beadseg.data.fingerprint import fingerprint
from beadseg.data.simulate.like import crowd, level, noise, stamps
from beadseg.data.simulate.like.document import Array, FieldLikeness, Likeness, Look
from beadseg.data.simulate.like.load import Kind, pictures, same_kind
from beadseg.data.simulate.like.shapes import Shapes, samples, tile_means
from beadseg.data.simulate.like.survey import Survey, View, survey
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.data.dataset import Dataset
    from beadseg.data.simulate.like.document import Compression, Noise

LEAST_BEADS = 12
"""Beads by themselves that templates need."""
SAMPLES = 80
"""Beads of a field whose differences from their mean are kept."""
EXAMPLES = 200
"""Beads drawn to fit how they lie together."""
NO_DEBRIS = 14.0, 0.3
"""Size, px, and contrast of debris where there is none to measure."""
_DILUTION = re.compile(r"(?:^|[^0-9A-Za-z])([1-9][0-9]{0,8})x(?=[^0-9A-Za-z]|$)")

Floats = NDArray[np.float64]


def measure(dataset: Dataset, on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Likeness:
    """Measure what a data set looks like.

    Bead centres are found in the images; annotations say only how dark a bead is. So masks that are shifted, or belong
    to another image, do little harm.

    Parameters
    ----------
    dataset : Dataset
        Images, grey or RGB, 8 or 16 bit, with annotations.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    InputError
        Too few beads lie by themselves, no ground is bare, or images are of several kinds.
    Cancelled
        When `stop` is set.
    """
    dataset = dataset.with_areas("Simulating images like these", on_event)
    seen = fingerprint(dataset)
    polarity = seen.polarity
    sign = -1.0 if polarity == "dark" else 1.0
    kinds: set[Kind] = set()
    surveys: dict[str, Survey] = {}
    for field in track(dataset.fields, "measure", len(dataset.fields), on_event, stop):
        images = pictures([sample for sample in dataset if sample.field == field])
        kinds |= {image.kind for image in images}
        same_kind(kinds)
        surveys[field] = survey(images, sign, seen.bead_diameter_px)
    likeness = _put_together(dataset, surveys, same_kind(kinds), polarity, seen.bead_diameter_px)
    on_event(
        log(
            f"Measured {plural(likeness.measured_beads, 'bead')} by themselves in "
            f"{plural(len(surveys), 'field of view')}."
        )
    )
    return likeness


@dataclass(frozen=True, eq=False)
class _Frame:
    """What all fields of view share: how beads look, their diameter as annotated, and at half of their density, px."""

    root: Path
    sign: float
    shape: Shapes
    diameter: float
    width: float
    densest: float


def _put_together(
    dataset: Dataset, surveys: dict[str, Survey], kind: Kind, polarity: Literal["dark", "bright"], diameter: float
) -> Likeness:
    views = [view for each in surveys.values() for view in each.views]
    everything = np.concatenate([view.stamps for view in views])
    if len(everything) < LEAST_BEADS:
        raise InputError(
            f"Only {plural(len(everything), 'bead')} lie by themselves; "
            f"{LEAST_BEADS} are needed to see what they look like.",
            dataset.root,
            "Give more images, or some in which the beads are farther apart.",
        )
    shape = Shapes.of(everything)
    width = stamps.width_at_half(shape.mean.mean(axis=0))
    densest = max(each.per_px for each in surveys.values())
    frame = _Frame(dataset.root, -1.0 if polarity == "dark" else 1.0, shape, diameter, width, densest)
    fields = [_field(name, each, frame) for name, each in surveys.items()]
    height, across = (int(side) for side in np.median([view.size for view in views], axis=0))
    return Likeness(
        channels=kind.channels,
        bit_depth=kind.bit_depth,
        polarity=polarity,
        height=height,
        width=across,
        diameter_px=width,
        measured_beads=len(everything),
        bead_mean=Array.of(shape.mean),
        bead_modes=Array.of(shape.modes),
        fields=tuple(sorted(fields, key=lambda field: (field.dilution, field.name))),
    )


def _field(name: str, seen: Survey, frame: _Frame) -> FieldLikeness:
    own = [frame.shape.coefficients(view.stamps) for view in seen.views]
    means = tile_means(own, np.zeros(len(frame.shape.modes)))
    bare = frame.shape.coefficients(np.concatenate([view.bare for view in seen.views]))
    between = samples(own, bare, SAMPLES)
    examples = frame.shape.draw(np.mean(means, axis=0), between, EXAMPLES, np.random.default_rng(0))
    count = sum(view.count for view in seen.views)
    lie = crowd.fit(seen.crowd, count, seen.per_px, examples, frame.diameter)
    grain, looks = _looks(name, seen, means, 1.0 / lie.found, frame)
    number, size, contrast = _debris(seen)
    return FieldLikeness(
        name=name,
        dilution=_dilution(name, frame.densest / max(seen.per_px, 1e-12)),
        looks=looks,
        bead_samples=Array.of(between),
        noise=grain,
        compression=seen.compression,
        cluster_probability=lie.cluster_probability,
        max_overlap=lie.max_overlap,
        contact=float(np.clip(lie.contact * frame.diameter / frame.width, 0.5, 4.0)),
        stacked=lie.stacked,
        debris_per_mpx=number,
        debris_size_px=size,
        debris_contrast=contrast,
    )


def _looks(
    name: str, seen: Survey, means: list[Floats], hidden: float, frame: _Frame
) -> tuple[Noise, tuple[Look, ...]]:
    """Return a field's noise and the looks of its images; `hidden` is how many beads there are for each one found."""
    known = [view.moments for view in seen.views if view.moments is not None]
    if not known:
        text = f"The field of view {name!r} has no bare ground between its beads."
        raise InputError(text, frame.root, "Leave it out with --exclude.")
    moments = noise.pooled(known)
    power, _ = noise.before(moments, seen.compression)
    gains = [_gain(view, power, seen.compression) for view in seen.views]
    grain = noise.matched(moments, np.array(gains), seen.compression)
    looks = tuple(
        Look(
            tile=view.name,
            ground=Array.of(level.before(view.light, grain, np.array(gain), seen.compression, frame.sign)),
            noise_gain=gain,
            beads_per_mpx=view.count * hidden / (view.size[0] * view.size[1]) * 1e6,
            bead_mean=tuple(float(f"{value:.5g}") for value in mean),
        )
        for view, mean, gain in zip(seen.views, means, gains, strict=True)
    )
    return grain, looks


def _debris(seen: Survey) -> tuple[float, float, float]:
    """Return debris per million pixels, its typical size, px, and contrast."""
    sizes = np.concatenate([view.debris_size for view in seen.views])
    contrasts = np.concatenate([view.debris_contrast for view in seen.views])
    if not len(sizes):
        return 0.0, *NO_DEBRIS
    area = sum(view.size[0] * view.size[1] for view in seen.views)
    size, contrast = np.clip(np.median(sizes), 1.0, 1000.0), np.clip(np.median(contrasts), 0.01, 0.9)
    return len(sizes) / area * 1e6, float(size), float(contrast)


def _gain(view: View, power: Floats, compression: Compression | None) -> tuple[float, ...]:
    """Return an image's noise over that of its field, which has the `power` (C, 8, 8) before compression."""
    own = power if view.moments is None else noise.before(view.moments, compression)[0]
    return noise.gains(own, power)


def _dilution(name: str, thinner: float) -> int:
    """Return the dilution factor that a field's name tells, or how much thinner than the densest field it is."""
    told = _DILUTION.search(name)
    return int(told[1]) if told else max(1, round(min(thinner, 1e9)))
