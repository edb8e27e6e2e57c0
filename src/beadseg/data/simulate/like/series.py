"""A dilution series that looks like a measured data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from beadseg.config.base import Config
from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.like.render import Appearance, render
from beadseg.data.simulate.series import Dilution, grid, seed_of
from beadseg.errors import InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.data.simulate.like.document import FieldLikeness, Likeness
    from beadseg.data.simulate.scene import Scene


class LikeSeriesConfig(Config):
    """Images like those of a measured data set; what is empty is taken from there."""

    tiles: Annotated[int, Field(ge=1, le=10**6, title="Tiles")] = 24
    """Number of images in all, spread evenly over fields of view."""
    height: Annotated[int | None, Field(ge=16, le=32768, title="Height")] = None
    """Image height, px."""
    width: Annotated[int | None, Field(ge=16, le=32768, title="Width")] = None
    """Image width, px."""
    beads: Annotated[float | None, Field(ge=0.0, le=1e6, title="Beads per image")] = None
    """Beads expected in an image of the least dilution, on average; the others keep their ratio to it."""
    dilutions: Annotated[tuple[Dilution, ...] | None, Field(min_length=1, title="Dilutions")] = None
    """Dilution factors. One that was not measured looks like the nearest that was, with its density by 1 / factor."""
    fields: Annotated[int | None, Field(ge=1, le=10**4, title="Fields per dilution")] = None
    """Fields of view of every dilution; each looks like one of the measured ones, in turn."""
    seed: Annotated[int, Field(ge=0, title="Seed")] = 0
    """Seed of everything random."""
    noise: Annotated[float, Field(ge=0.0, le=100.0, title="Noise")] = 1.0
    """Factor on the measured noise."""
    contrast: Annotated[float, Field(ge=0.0, le=10.0, title="Contrast")] = 1.0
    """Factor on the measured density of beads."""
    cluster_probability: Annotated[float | None, Field(ge=0.0, le=0.95, title="Cluster probability")] = None
    """Share of the beads placed in contact with another one."""
    max_overlap: Annotated[float | None, Field(ge=0.0, le=0.9, title="Largest overlap")] = None
    """Largest overlap of two beads, as a share of the diameter."""
    debris: Annotated[float | None, Field(ge=0.0, le=1e5, title="Debris per image")] = None
    """Specks and fibres expected in an image."""


@dataclass(frozen=True)
class LikeTile:
    """One image to be simulated: as `beadseg.data.simulate.series.Tile`, with an `appearance` in place of a window."""

    name: str
    field: str
    dilution: int
    config: SceneConfig
    seed: int
    appearance: Appearance

    def simulate(self) -> Scene:
        """Simulate the image."""
        return render(self.appearance, self.config, self.seed)

    def describe(self) -> dict[str, object]:
        """Return what the list of scenes says of it beside name, seed and beads."""
        looks = [look.tile for look in self.appearance.looks]
        return {"like": self.appearance.field.name, "looks": looks, "share": self.appearance.share}


def plan_like(likeness: Likeness, series: LikeSeriesConfig) -> list[LikeTile]:
    """Return the tiles of a series, in order of dilution, field of view, row and column.

    Raises
    ------
    InputError
        When a dilution is named twice, or there are fewer tiles than fields of view.
    """
    factors = series.dilutions or tuple(sorted({field.dilution for field in likeness.fields}))
    if len(set(factors)) < len(factors):
        raise InputError(f"A dilution is named twice in {list(factors)}.", "dilutions", "Name each once.")
    views = [
        (factor, number, sources[number % len(sources)])
        for factor in factors
        for sources in [likeness.nearest(factor)]
        for number in range(series.fields or len(sources))
    ]
    if series.tiles < len(views):
        raise InputError(
            f"{plural(series.tiles, 'tile')}: too few for {plural(len(views), 'field of view')}.",
            "tiles",
            f"Ask for {plural(len(views), 'tile')} or more, or for fewer dilutions or fields.",
        )
    scale = _scale(likeness, series, min(factors))
    tiles: list[LikeTile] = []
    for index, (factor, number, source) in enumerate(views):
        size = series.tiles // len(views) + (index < series.tiles % len(views))
        tiles.extend(_field(likeness, series, source, factor, number, size, scale * source.dilution / factor))
    return tiles


def _shape(likeness: Likeness, series: LikeSeriesConfig) -> tuple[int, int]:
    return series.height or likeness.height, series.width or likeness.width


def _scale(likeness: Likeness, series: LikeSeriesConfig, factor: int) -> float:
    """Return the factor on all densities that gives the least dilution the number of beads asked for."""
    if series.beads is None:
        return 1.0
    height, width = _shape(likeness, series)
    sources = likeness.nearest(factor)
    measured = [look.beads_per_mpx * source.dilution / factor for source in sources for look in source.looks]
    expected = float(np.mean(measured)) * height * width / 1e6
    if expected <= 0 < series.beads:
        raise InputError(f"No beads were measured at dilution {factor}.", "beads", "Leave --beads out.")
    return series.beads / expected if expected else 1.0


def _field(
    likeness: Likeness,
    series: LikeSeriesConfig,
    source: FieldLikeness,
    factor: int,
    number: int,
    size: int,
    scale: float,
) -> Iterator[LikeTile]:
    """Yield the tiles of one field of view, each between two neighbouring measured ones."""
    name = f"{factor}x_like-s{series.seed}-{number + 1:03d}"
    rng = np.random.default_rng(seed_of(series.seed, factor, number, 3))
    start = int(rng.integers(len(source.looks)))
    for index, (row, column) in enumerate(grid(size)):
        first = (start + index) % len(source.looks)
        looks = source.looks[first], source.looks[min(first + 1, len(source.looks) - 1)]
        appearance = Appearance(likeness, source, looks, round(float(rng.random()), 4), series.noise, series.contrast)
        seed = seed_of(series.seed, factor, number, row, column)
        config = _scene(likeness, series, appearance, scale)
        yield LikeTile(f"{name}_grid_r{row}_c{column}", name, factor, config, seed, appearance)


def _scene(likeness: Likeness, series: LikeSeriesConfig, appearance: Appearance, scale: float) -> SceneConfig:
    """Return what placement, debris and truth need to know."""
    height, width = _shape(likeness, series)
    source, (first, second) = appearance.field, appearance.looks
    area = height * width / 1e6
    density = float(appearance.mixed(first.beads_per_mpx, second.beads_per_mpx))
    cluster, overlap = series.cluster_probability, series.max_overlap
    return SceneConfig(
        height=height,
        width=width,
        channels="grey" if likeness.channels == 1 else "rgb",
        bit_depth=likeness.bit_depth,
        polarity=likeness.polarity,
        beads=density * scale * area,
        diameter_px=likeness.diameter_px,
        diameter_spread=0.0,
        cluster_probability=source.cluster_probability if cluster is None else cluster,
        max_overlap=source.max_overlap if overlap is None else overlap,
        debris=source.debris_per_mpx * area if series.debris is None else series.debris,
        debris_size_px=source.debris_size_px,
        debris_contrast=source.debris_contrast,
        fibre_share=0.0,
    )
