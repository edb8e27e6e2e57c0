"""Measure what a data set looks like: image by image, field of view by field of view, then all of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from beadseg.data.fingerprint import fingerprint
from beadseg.data.simulate.like import background, jpeg_artifacts, templates
from beadseg.data.simulate.like.document import Array, FieldLikeness, Likeness, Look
from beadseg.data.simulate.like.templates import FADE, Shapes, samples, stamp_radius, tile_means
from beadseg.errors import ImageError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from beadseg.data.dataset import Dataset, Sample
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

OWN = 8
"""With at least this many annotated beads, an image's own beads tell how dark they are; else those of its field."""
MOST_BEADS = 150
"""Beads of one image that templates are measured on."""
BARE_STAMPS = 60
"""Places of bare ground in an image that tell how much noise is in the templates."""

BARE = 1.8
"""Ground is bare from this distance to beads on, in their diameters."""
BLOB = 6.0
"""A place off the ground by this many robust standard deviations that is not a bead is debris …"""
BLOB_CONTRAST = 0.03
"""… when it differs from the ground by this share at least …"""
BLOB_AREA = 0.6
"""… and is this large at least, in areas of a bead."""

MOST_TILES = 24
"""Images of a field of view that are looked at, evenly spread."""

_DEPTHS: dict[str, Literal[8, 16]] = {"uint8": 8, "uint16": 16}


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
    width = templates.width_at_half(shape.mean.mean(axis=0))
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
    lie = templates.fit_packing(seen.crowd, count, seen.per_px, examples, frame.diameter)
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
    moments = background.pooled_moments(known)
    power, _ = background.power_before(moments, seen.compression)
    gains = [_gain(view, power, seen.compression) for view in seen.views]
    grain = background.matched_noise(moments, np.array(gains), seen.compression)
    looks = tuple(
        Look(
            tile=view.name,
            ground=Array.of(background.light_before(view.light, grain, np.array(gain), seen.compression, frame.sign)),
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
    own = power if view.moments is None else background.power_before(view.moments, compression)[0]
    return background.noise_gains(own, power)


def _dilution(name: str, thinner: float) -> int:
    """Return the dilution factor that a field's name tells, or how much thinner than the densest field it is."""
    told = _DILUTION.search(name)
    return int(told[1]) if told else max(1, round(min(thinner, 1e9)))


@dataclass(frozen=True, eq=False)
class View:
    """What one image shows.

    Attributes
    ----------
    name : str
        Its name.
    light : numpy.ndarray
        (C, 10) the ground's polynomial.
    size : tuple of int
        Height and width, px.
    count : int
        Beads found.
    stamps, bare : numpy.ndarray
        (N, C, K, K) of beads by themselves, and of bare ground.
    moments : noise.Moments or None
        Its noise.
    debris_size, debris_contrast : numpy.ndarray
        (N,) of each blob that is not a bead.
    """

    name: str
    light: Floats
    size: tuple[int, int]
    count: int
    stamps: Floats
    bare: Floats
    moments: background.Moments | None
    debris_size: Floats
    debris_contrast: Floats


@dataclass(frozen=True, eq=False)
class Survey:
    """What the images of a field of view show: each, their compression, and how the beads lie together."""

    views: tuple[View, ...]
    compression: Compression | None
    crowd: Floats

    @property
    def per_px(self) -> float:
        """Beads found per pixel."""
        return sum(view.count for view in self.views) / sum(view.size[0] * view.size[1] for view in self.views)


def survey(pictures: Sequence[Picture], sign: float, diameter: float) -> Survey:
    """Search the images of a field of view for beads, bare ground, debris and traces of compression."""
    compression = None
    if all(picture.kind.bit_depth == 8 for picture in pictures):
        compression = jpeg_artifacts.find_compression([background.to_ycc(picture.pixels) for picture in pictures])
    tiles = [prepare_tile(each.name, each.pixels, each.foreground, sign, diameter) for each in pictures]
    usual = _usual(tiles)
    beads = [each.beads(height) for each, height in zip(tiles, usual, strict=True)]
    rng = np.random.default_rng(0)
    views = [_view(each, found, compression, diameter, rng) for each, found in zip(tiles, beads, strict=True)]
    scaled = [templates.Peaks(found.centres, found.height / height) for found, height in zip(beads, usual, strict=True)]
    return Survey(tuple(views), compression, templates.describe_packing(scaled, diameter))


def _usual(tiles: Sequence[Tile]) -> list[float]:
    """Return the usual height of a bead in each image; infinite where none is annotated in the whole field."""
    everything = np.concatenate([each.annotated for each in tiles])
    field = float(np.median(everything)) if len(everything) else float("inf")
    return [float(np.median(each.annotated)) if len(each.annotated) >= OWN else field for each in tiles]


def _view(
    each: Tile, beads: templates.Peaks, compression: Compression | None, diameter: float, rng: np.random.Generator
) -> View:
    clear = bare_background(each, beads, diameter)
    ycc = background.to_ycc(each.image)
    offset = (0, 0) if compression is None else jpeg_artifacts.offset_of(ycc, compression.chroma_step)
    apart = isolated_beads(each, beads, diameter)[:MOST_BEADS]
    single = templates.cut_stamps(each.off, apart, diameter)[0]
    size, contrast = debris_of(each, beads, diameter)
    return View(
        each.name,
        each.light,
        each.shape,
        len(beads.centres),
        single[templates.single_beads(single)],
        templates.cut_stamps(each.off, _places(clear, diameter, rng), diameter, rounds=0)[0],
        background.measure_noise(ycc, each.residual(), clear, compression, offset),
        size,
        contrast,
    )


def _places(clear: NDArray[np.bool_], diameter: float, rng: np.random.Generator) -> Floats:
    """Return places (N, 2) of bare ground, away from the rim of the image."""
    reach = templates.stamp_radius(diameter)
    inner = np.zeros_like(clear)
    inner[reach:-reach, reach:-reach] = clear[reach:-reach, reach:-reach]
    places = np.argwhere(inner)
    chosen = rng.choice(len(places), min(BARE_STAMPS, len(places)), replace=False)
    return places[chosen].astype(np.float64)


@dataclass(frozen=True, eq=False)
class Tile:
    """One image to measure on.

    Attributes
    ----------
    name : str
        Sample's name.
    image : numpy.ndarray
        (C, Y, X) float64, 8-bit grey levels.
    light : numpy.ndarray
        (C, 10) the ground's polynomial.
    off : numpy.ndarray
        (C, Y, X) density.
    found : detect.Peaks
        All maxima above the noise.
    annotated : numpy.ndarray
        (N,) heights of the maxima that the annotation names.
    """

    name: str
    image: Floats
    light: Floats
    off: Floats
    found: templates.Peaks
    annotated: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return int(self.image.shape[1]), int(self.image.shape[2])

    def beads(self, usual: float) -> templates.Peaks:
        """Return the maxima that are beads, where beads usually have this height."""
        return self.found.at_least(templates.WEAK * usual)

    def residual(self) -> Floats:
        """Return brightness and colour differences (C, Y, X) less those of the ground."""
        return background.to_ycc(self.image - background.surface(self.light, self.shape))


def prepare_tile(name: str, image: Floats, foreground: NDArray[np.bool_], sign: float, diameter: float) -> Tile:
    """Return an image (C, Y, X) and its annotation (Y, X) as a `Tile`."""
    light = background.fit_background(image, sign)
    off = background.density_of(image, background.surface(light, (image.shape[1], image.shape[2])), sign)
    found = templates.find_peaks(off, diameter)
    return Tile(name, image, light, off, found, templates.usual_height(found, foreground, diameter))


def isolated_beads(tile: Tile, beads: templates.Peaks, diameter: float) -> Floats:
    """Return the centres (N, 2) of beads whose stamp holds nothing else and lies within the image."""
    weak = tile.found.height < beads.height.min(initial=np.inf)
    everything = np.concatenate((beads.centres, tile.found.centres[weak]))
    far = templates.neighbour_distance(everything)[: len(beads.centres)] > (FADE[0] + 1.0) * diameter
    reach = stamp_radius(diameter) + 1
    inside = ((beads.centres >= reach) & (beads.centres < np.array(tile.shape) - reach)).all(axis=1)
    return beads.centres[inside & far]


def bare_background(tile: Tile, beads: templates.Peaks, diameter: float) -> NDArray[np.bool_]:
    """Return where (Y, X) there is nothing but ground: no bead near, and no other maximum."""
    free = np.ones(tile.shape, dtype=bool)
    place = np.clip(np.rint(beads.centres).astype(int), 0, np.array(tile.shape) - 1)
    free[tuple(place.T)] = False
    clear = ndimage.distance_transform_edt(free) > BARE * diameter if len(place) else free
    return np.asarray(clear & ~ndimage.binary_dilation(_dark(tile, diameter), iterations=round(diameter)))


def _dark(tile: Tile, diameter: float) -> NDArray[np.bool_]:
    """Return where (Y, X) something clearly lies off the ground."""
    smooth = ndimage.gaussian_filter(tile.off.mean(axis=0), 0.4 * diameter)
    spread = float(np.subtract(*np.quantile(smooth, (0.25, 0.05)))) / 0.970
    return np.asarray(smooth - np.median(smooth) > max(BLOB * spread, BLOB_CONTRAST))


def debris_of(tile: Tile, beads: templates.Peaks, diameter: float) -> tuple[Floats, Floats]:
    """Return sizes, px, and contrasts, shares of the ground, of blobs that are not beads, each (N,)."""
    free = np.ones(tile.shape, dtype=bool)
    place = np.clip(np.rint(beads.centres).astype(int), 0, np.array(tile.shape) - 1)
    free[tuple(place.T)] = False
    near = ndimage.distance_transform_edt(free) < diameter if len(place) else ~free
    blobs, count = ndimage.label(_dark(tile, diameter))
    with_beads = np.unique(blobs[near])
    names = np.arange(1, count + 1)
    area = np.bincount(blobs.ravel(), minlength=count + 1)[1:]
    contrast = np.asarray(ndimage.mean(tile.off.mean(axis=0), blobs, names), dtype=np.float64).reshape(-1)
    large = (area >= BLOB_AREA * np.pi / 4 * diameter**2) & ~np.isin(names, with_beads)
    return 2.0 * np.sqrt(area[large] / np.pi), contrast[large]


@dataclass(frozen=True)
class Kind:
    """What all images of a data set have in common."""

    channels: Literal[1, 3]
    bit_depth: Literal[8, 16]

    @property
    def unit(self) -> float:
        """Values per 8-bit grey level."""
        return 1.0 if self.bit_depth == 8 else 257.0


@dataclass(frozen=True, eq=False)
class Picture:
    """One image: (C, Y, X) float64, 8-bit grey levels, and its annotation (Y, X) bool."""

    name: str
    kind: Kind
    pixels: NDArray[np.float64]
    foreground: NDArray[np.bool_]


def pictures(samples: Sequence[Sample]) -> list[Picture]:
    """Read the images of a field of view.

    Raises
    ------
    ImageError
        One cannot be read, is neither grey nor RGB, or has neither 8 nor 16 bits.
    """
    step = max(1, -(-len(samples) // MOST_TILES))
    return [picture for sample in samples[::step] for picture in _planes(sample)]


def _planes(sample: Sample) -> Iterator[Picture]:
    for plane, pixels, target in sample.planes():
        depth, channels = _DEPTHS.get(pixels.dtype.name), len(pixels)
        if depth is None or channels not in (1, 3):
            raise ImageError(
                f"Has {plural(channels, 'channel')} of {pixels.dtype.name}; "
                "grey or RGB images of 8 or 16 bits can be measured.",
                sample.image_path,
                "Convert it, or leave it out with --exclude.",
            )
        kind = Kind(1 if channels == 1 else 3, depth)
        name = f"{sample.name}_{plane}" if plane else sample.name
        yield Picture(name, kind, pixels / kind.unit, target.foreground)


def same_kind(kinds: set[Kind]) -> Kind:
    """Return the one kind of all images; raise `InputError` when they are of several."""
    if len(kinds) > 1:
        text = " and ".join(
            sorted(f"{'RGB' if kind.channels == 3 else 'grey'} of {kind.bit_depth} bits" for kind in kinds)
        )
        raise InputError(f"The images are of several kinds: {text}.", None, "Choose those of one with --include.")
    return next(iter(kinds))
