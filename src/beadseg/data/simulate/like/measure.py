"""Measure what a data set looks like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from beadseg.data.fingerprint import fingerprint
from beadseg.data.simulate.like import crowd, noise, stamps
from beadseg.data.simulate.like.document import Array, FieldLikeness, Likeness, Look
from beadseg.data.simulate.like.load import Kind, pictures, same_kind
from beadseg.data.simulate.like.shapes import Shapes, samples, tile_means
from beadseg.data.simulate.like.survey import Survey, View, survey
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, log, track

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset
    from beadseg.data.simulate.like.document import Compression

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
    on_event(log(f"Measured {likeness.measured_beads} beads by themselves in {len(surveys)} fields of view."))
    return likeness


def _put_together(
    dataset: Dataset, surveys: dict[str, Survey], kind: Kind, polarity: Literal["dark", "bright"], diameter: float
) -> Likeness:
    views = [view for each in surveys.values() for view in each.views]
    everything = np.concatenate([view.stamps for view in views])
    if len(everything) < LEAST_BEADS:
        raise InputError(
            f"Only {len(everything)} beads lie by themselves; {LEAST_BEADS} are needed to see what they look like.",
            dataset.root,
            "Give more images, or some in which the beads are farther apart.",
        )
    shape = Shapes.of(everything)
    densest = max(each.per_px for each in surveys.values())
    width = stamps.width_at_half(shape.mean.mean(axis=0))
    fields = [_field(dataset, name, each, shape, (diameter, width), densest) for name, each in surveys.items()]
    sizes = np.array([view.size for view in views])
    return Likeness(
        channels=kind.channels,
        bit_depth=kind.bit_depth,
        polarity=polarity,
        height=int(np.median(sizes[:, 0])),
        width=int(np.median(sizes[:, 1])),
        diameter_px=width,
        measured_beads=len(everything),
        bead_mean=Array.of(shape.mean),
        bead_modes=Array.of(shape.modes),
        fields=tuple(sorted(fields, key=lambda field: (field.dilution, field.name))),
    )


def _field(
    dataset: Dataset, name: str, seen: Survey, shape: Shapes, diameters: tuple[float, float], densest: float
) -> FieldLikeness:
    """Return one field's likeness; `diameters`, px: that of the annotations, and that at half of a bead's density."""
    diameter, width = diameters
    known = [view.moments for view in seen.views if view.moments is not None]
    if not known:
        raise InputError(
            f"The field of view {name!r} has no bare ground between its beads.", dataset.root, "Leave it out."
        )
    moments = noise.pooled(known)
    power, _ = noise.before(moments, seen.compression)
    own = [shape.coefficients(view.stamps) for view in seen.views]
    means = tile_means(own, np.zeros(len(shape.modes)))
    between = samples(own, shape.coefficients(np.concatenate([view.bare for view in seen.views])), SAMPLES)
    examples = shape.draw(np.mean(means, axis=0), between, EXAMPLES, np.random.default_rng(0))
    count = sum(view.count for view in seen.views)
    lie = crowd.fit(seen.crowd, count, seen.per_px, examples, diameter)
    looks = [
        _look(view, mean, 1.0 / lie.found, power, seen.compression)
        for view, mean in zip(seen.views, means, strict=True)
    ]
    sizes = np.concatenate([view.debris_size for view in seen.views])
    contrasts = np.concatenate([view.debris_contrast for view in seen.views])
    area = sum(view.size[0] * view.size[1] for view in seen.views)
    return FieldLikeness(
        name=name,
        dilution=_dilution(name, densest / max(seen.per_px, 1e-12)),
        looks=tuple(looks),
        bead_samples=Array.of(between),
        noise=noise.matched(moments, np.array([look.noise_gain for look in looks]), seen.compression),
        compression=seen.compression,
        cluster_probability=lie.cluster_probability,
        max_overlap=lie.max_overlap,
        contact=float(np.clip(lie.contact * diameter / width, 0.5, 4.0)),
        stacked=lie.stacked,
        debris_per_mpx=len(sizes) / area * 1e6,
        debris_size_px=float(np.clip(np.median(sizes), 1.0, 1000.0)) if len(sizes) else NO_DEBRIS[0],
        debris_contrast=float(np.clip(np.median(contrasts), 0.01, 0.9)) if len(sizes) else NO_DEBRIS[1],
    )


def _look(view: View, mean: Floats, hidden: float, power: Floats, compression: Compression | None) -> Look:
    """Return an image's look; `hidden` is how many beads there are for each that is found."""
    own = power if view.moments is None else noise.before(view.moments, compression)[0]
    return Look(
        tile=view.name,
        ground=Array.of(view.light),
        noise_gain=noise.gains(own, power),
        beads_per_mpx=view.count * hidden / (view.size[0] * view.size[1]) * 1e6,
        bead_mean=tuple(float(f"{value:.5g}") for value in mean),
    )


def _dilution(name: str, thinner: float) -> int:
    """Return the dilution factor that a field's name tells, or how much thinner than the densest field it is."""
    told = _DILUTION.search(name)
    return int(told[1]) if told else max(1, round(min(thinner, 1e9)))
