"""What the images of one field of view show, before the fields are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beadseg.data.simulate.like import colour, crowd, detect, noise, shapes, stamps, tile, traces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.data.simulate.like.document import Compression
    from beadseg.data.simulate.like.load import Picture

OWN = 8
"""With at least this many annotated beads, an image's own beads tell how dark they are; else those of its field."""
MOST_BEADS = 150
"""Beads of one image that templates are measured on."""
BARE_STAMPS = 60
"""Places of bare ground in an image that tell how much noise is in the templates."""

Floats = NDArray[np.float64]


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
    moments: noise.Moments | None
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
        compression = traces.find_compression([colour.to_ycc(picture.pixels) for picture in pictures])
    tiles = [tile.prepare(each.name, each.pixels, each.foreground, sign, diameter) for each in pictures]
    usual = _usual(tiles)
    beads = [each.beads(height) for each, height in zip(tiles, usual, strict=True)]
    rng = np.random.default_rng(0)
    views = [_view(each, found, compression, diameter, rng) for each, found in zip(tiles, beads, strict=True)]
    scaled = [detect.Peaks(found.centres, found.height / height) for found, height in zip(beads, usual, strict=True)]
    return Survey(tuple(views), compression, crowd.describe(scaled, diameter, 1.0))


def _usual(tiles: Sequence[tile.Tile]) -> list[float]:
    """Return the usual height of a bead in each image; infinite where none is annotated in the whole field."""
    everything = np.concatenate([each.annotated for each in tiles])
    field = float(np.median(everything)) if len(everything) else float("inf")
    return [float(np.median(each.annotated)) if len(each.annotated) >= OWN else field for each in tiles]


def _view(
    each: tile.Tile, beads: detect.Peaks, compression: Compression | None, diameter: float, rng: np.random.Generator
) -> View:
    clear = tile.bare(each, beads, diameter)
    ycc = colour.to_ycc(each.image)
    offset = (0, 0) if compression is None else traces.offset_of(ycc, compression.chroma_step)
    apart = tile.alone(each, beads, diameter)[:MOST_BEADS]
    single = stamps.cut(each.off, apart, diameter)[0]
    size, contrast = tile.debris(each, beads, diameter)
    return View(
        each.name,
        each.light,
        each.shape,
        len(beads.centres),
        single[shapes.usual(single)],
        stamps.cut(each.off, _places(clear, diameter, rng), diameter, rounds=0)[0],
        noise.measure(ycc, each.residual(), clear, compression, offset),
        size,
        contrast,
    )


def _places(clear: NDArray[np.bool_], diameter: float, rng: np.random.Generator) -> Floats:
    """Return places (N, 2) of bare ground, away from the rim of the image."""
    reach = stamps.radius(diameter)
    inner = np.zeros_like(clear)
    inner[reach:-reach, reach:-reach] = clear[reach:-reach, reach:-reach]
    places = np.argwhere(inner)
    chosen = rng.choice(len(places), min(BARE_STAMPS, len(places)), replace=False)
    return places[chosen].astype(np.float64)
