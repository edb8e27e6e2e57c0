"""Draw images that look like a measured data set, one or a dilution series of them; what is in them is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from beadseg.config.base import Config
from beadseg.data.simulate import particles
from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.like import background, templates
from beadseg.data.simulate.like.templates import Shapes, arrange
from beadseg.data.simulate.scene import WHITE, Scene, truth
from beadseg.data.simulate.series import Dilution, grid, seed_of, write_tiles
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.files import LIKENESS
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from beadseg.data.simulate.like.document import FieldLikeness, Likeness, Look
    from beadseg.data.simulate.particles import Beads

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Appearance:
    """How one tile looks: somewhere between two measured ones of a field of view.

    Attributes
    ----------
    likeness : Likeness
        What was measured.
    field : FieldLikeness
        The field of view.
    looks : tuple of Look
        Two of its tiles, which may be the same.
    share : float
        Share of the second one, 0-1.
    noise, contrast : float
        Factors on the measured noise, and on the density of beads.
    """

    likeness: Likeness
    field: FieldLikeness
    looks: tuple[Look, Look]
    share: float = 0.0
    noise: float = 1.0
    contrast: float = 1.0

    def mixed(self, first: Any, second: Any) -> Floats:
        """Return what lies between the numbers of the first and the second tile."""
        return (1.0 - self.share) * np.asarray(first, float) + self.share * np.asarray(second, float)


def render(appearance: Appearance, config: SceneConfig, seed: int) -> Scene:
    """Draw one image.

    Parameters
    ----------
    appearance : Appearance
        How it looks.
    config : SceneConfig
        Its size, the beads and how they lie together, and debris; all else is taken from `appearance`.
    seed : int
        Non-negative. The same arguments give the same image.

    Returns
    -------
    Scene
        ``defocus_px`` of its beads is NaN: the templates hold the blur.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    placing, looks, dirt, grain = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence((seed, 2)).spawn(4)
    )
    shape = (config.height, config.width)
    beads = arrange(config, appearance.field.contact, appearance.field.stacked, placing)
    off = _beads(appearance, beads, shape, looks) + _debris(appearance, config, shape, dirt)
    first, second = appearance.looks
    level = background.surface(appearance.mixed(first.ground.numpy(), second.ground.numpy()), shape)
    sign = -1.0 if appearance.likeness.polarity == "dark" else 1.0
    image = _expose(appearance, background.light_of(off, level, sign), grain)
    return Scene(_digits(image, appearance.likeness.bit_depth), *truth(shape, beads, np.full(len(beads), np.nan)))


def _beads(appearance: Appearance, beads: Beads, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the density (C, Y, X) of all beads."""
    likeness, (first, second) = appearance.likeness, appearance.looks
    shapes = Shapes(likeness.bead_mean.numpy(), likeness.bead_modes.numpy())
    mean = appearance.mixed(first.bead_mean, second.bead_mean)
    drawn = shapes.draw(mean, appearance.field.bead_samples.numpy(), len(beads), rng)
    return appearance.contrast * templates.lay_stamps(shape, drawn, beads.y, beads.x)


def _debris(appearance: Appearance, config: SceneConfig, shape: tuple[int, int], rng: np.random.Generator) -> Floats:
    """Return the density (C, Y, X) of debris, of the beads' colour."""
    layer = particles.draw_debris(config, shape, 1.0, rng)
    middle = appearance.likeness.bead_mean.numpy().max(axis=(1, 2))
    tint = middle / max(float(middle.mean()), 1e-9)
    return np.asarray(tint[:, None, None] * layer)


def _expose(appearance: Appearance, light: Floats, rng: np.random.Generator) -> Floats:
    """Add noise to light (C, Y, X), compress it, and return red, green and blue, or grey."""
    packed = appearance.field.compression
    offset = (0, 0) if packed is None else packed.offsets[int(rng.integers(len(packed.offsets)))]
    first, second = appearance.looks
    gain = appearance.noise * appearance.mixed(first.noise_gain, second.noise_gain)
    shape = (light.shape[1], light.shape[2])
    grain = background.draw_noise(appearance.field.noise, shape, background.chroma_step(packed), offset, rng)
    image = background.to_ycc(light) + gain[:, None, None] * grain
    return background.to_rgb(image if packed is None else background.jpeg_round_trip(image, packed, offset))


def _digits(image: Floats, bit_depth: int) -> NDArray[Any]:
    """Return the numbers of a file, (Y, X) or (Y, X, 3), uint8 or uint16, of 8-bit grey levels (C, Y, X)."""
    values = np.clip(image, 0.0, WHITE) * (1.0 if bit_depth == 8 else 257.0)
    digits = np.rint(values).astype(np.uint8 if bit_depth == 8 else np.uint16)
    return digits[0] if len(digits) == 1 else np.ascontiguousarray(np.moveaxis(digits, 0, 2))


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


def write_like(
    out: Path, likeness: Likeness, series: LikeSeriesConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> pd.DataFrame:
    """Simulate a dilution series that looks like a measured data set, and write it as a dataset folder.

    Parameters
    ----------
    out : pathlib.Path
        A new or empty folder. Gets what `beadseg.data.simulate.write_dataset` writes, and ``likeness.json``. The two
        JSON files are all it takes to make it again. ``defocus_px`` stays empty in ``truth.csv``: the measured
        templates hold the blur.
    likeness : Likeness
        What was measured.
    series : LikeSeriesConfig
        What to simulate.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    InputError
        When the folder is not empty, a dilution is named twice, there are fewer tiles than fields of view, or an
        image has no room for its beads.
    MachineError
        When the disk is full or the folder not writable.
    Cancelled
        When `stop` is set; nothing is written.
    """
    tiles = plan_like(likeness, series)
    recipe = {"like": LIKENESS, "like_series": series.model_dump(mode="json")}
    return write_tiles(out, tiles, recipe, on_event, stop, {LIKENESS: f"{likeness.model_dump_json()}\n"})
