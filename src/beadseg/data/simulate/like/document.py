"""What was measured on a data set: statistics and templates from which images like it are rendered. No pixel of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from beadseg.config.base import Config
from beadseg.errors import ConfigError, InputError
from beadseg.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Literal[1] = 1
"""Version of the document."""
LIGHT_TERMS = 10
"""Terms of the ground's polynomial: order 3 in two coordinates."""
BLOCK = 8
"""Side of the blocks in which noise is measured, and of those of JPEG, px."""
MOTTLE_PX = (6.0, 12.0, 24.0)
"""Sigmas of the smooth parts of the noise (uneven ground), px."""
NOISE_TERMS = BLOCK * BLOCK + len(MOTTLE_PX)
"""Terms of a channel's noise spectrum."""

Floats = NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class Array(Config):
    """Numbers with a shape."""

    shape: tuple[Annotated[int, Field(ge=0, le=4096)], ...]
    """Length of every axis."""
    values: tuple[Finite, ...]
    """The numbers, last axis fastest."""

    @model_validator(mode="after")
    def _filled(self) -> Self:
        if math.prod(self.shape) != len(self.values):
            raise ValueError(f"shape {list(self.shape)} needs {math.prod(self.shape)} values, not {len(self.values)}")
        return self

    @classmethod
    def of(cls, array: NDArray[Any]) -> Array:
        """Return `array` rounded to five significant digits."""
        return cls(shape=array.shape, values=tuple(float(f"{value:.5g}") for value in array.ravel()))

    def numpy(self) -> Floats:
        """Return a new array of float64."""
        return np.array(self.values, dtype=np.float64).reshape(self.shape)


class Compression(Config):
    """A round trip through JPEG, as its traces tell it."""

    luma: Array
    """(8, 8) quantisation steps of the brightness, grey levels of an orthonormal DCT; 0 where none was seen."""
    chroma: Array
    """(8, 8) quantisation steps of the colour differences."""
    chroma_step: tuple[Literal[1, 2], Literal[1, 2]]
    """Pixels per sample of the colour differences, along rows and columns."""
    shift: tuple[Finite, ...]
    """What the decoder added to every channel, 8-bit grey levels: not all round alike."""
    offsets: Annotated[tuple[tuple[int, int], ...], Field(min_length=1)]
    """First row and column of the block grid, modulo 16 px, in the measured images."""


class Noise(Config):
    """Noise as a stationary Gaussian field: its power spectrum in brightness and two colour differences."""

    spectrum: Array
    """(channels, 67) weights, squared 8-bit grey levels: 64 DCT functions of 8 px, then `MOTTLE_PX`."""
    correlation: Array
    """(channels, channels) correlation between the channels."""
    unevenness: NotNegative = 0.0
    """Standard deviation of the logarithm of its strength, from place to place."""


class Look(Config):
    """What differs between the tiles of a field of view."""

    tile: str
    """Name of the measured image."""
    ground: Array
    """(channels, 10) polynomial of the ground's level, 8-bit grey levels, in coordinates from -1 to 1."""
    noise_gain: tuple[NotNegative, ...]
    """Standard deviation of the noise relative to that of the field, per channel (brightness, colour differences)."""
    beads_per_mpx: NotNegative
    """Beads found per million pixels."""
    bead_mean: tuple[Finite, ...]
    """Mean coefficients of the bead modes."""


class FieldLikeness(Config):
    """One field of view."""

    name: str
    """Its name in the data set."""
    dilution: Annotated[int, Field(ge=1, le=10**9)]
    """Dilution factor: from its name, or the densest field's density over its own."""
    looks: Annotated[tuple[Look, ...], Field(min_length=1)]
    """Its tiles."""
    bead_samples: Array
    """(samples, modes) how coefficients of the beads of a tile differ from their mean."""
    noise: Noise
    """Its noise before compression."""
    compression: Compression | None
    """Its compression; None where no traces of any were seen."""
    cluster_probability: Annotated[float, Field(ge=0.0, le=0.95)]
    """Share of the beads placed in contact with another one. These four are fitted to what is found in the images."""
    max_overlap: Annotated[float, Field(ge=0.0, le=0.9)]
    """Largest overlap of two beads, as a share of their distance in contact."""
    contact: Annotated[float, Field(ge=0.5, le=4.0)]
    """Distance of two beads in contact, in diameters."""
    stacked: Annotated[float, Field(ge=0.0, le=0.9)]
    """Share of the beads that lie on another one."""
    debris_per_mpx: NotNegative
    """Blobs that are not beads, per million pixels."""
    debris_size_px: Annotated[float, Field(ge=1.0, le=1000.0)]
    """Their typical size, px."""
    debris_contrast: Annotated[float, Field(gt=0.0, lt=1.0)]
    """Their typical contrast, as a share of the ground."""


class Likeness(Config):
    """What a data set looks like, as far as `beadseg.data.simulate.like` can measure it.

    A bead is a template of its *density*: how far it lies from the ground, ``-ln(value / ground)`` for dark beads,
    ``value / ground - 1`` for bright ones, in every channel (red, green, blue, or grey).
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    """Version of this document."""
    channels: Literal[1, 3]
    """Grey, or red, green and blue."""
    bit_depth: Literal[8, 16]
    """Bits per value."""
    polarity: Literal["dark", "bright"]
    """Dark beads on bright ground, or bright beads on dark ground."""
    height: Annotated[int, Field(ge=16, le=32768)]
    """Median height of the images, px."""
    width: Annotated[int, Field(ge=16, le=32768)]
    """Median width of the images, px."""
    diameter_px: Annotated[float, Field(ge=2.0, le=500.0)]
    """Diameter of a bead at half of its density, px."""
    measured_beads: Annotated[int, Field(ge=0)]
    """Beads by themselves that the templates were measured on."""
    bead_mean: Array
    """(channels, side, side) mean density of a bead, its centre in the middle."""
    bead_modes: Array
    """(modes, channels, side, side) orthonormal patterns by which beads differ from the mean."""
    fields: Annotated[tuple[FieldLikeness, ...], Field(min_length=1)]
    """The fields of view, densest first."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        side, modes = self.bead_mean.shape[-1], self.bead_modes.shape[0]
        _check("bead_mean", self.bead_mean, (self.channels, side, side))
        _check("bead_modes", self.bead_modes, (modes, self.channels, side, side))
        if side % 2 == 0:
            raise ValueError(f"the side of a bead's template must be odd (given: {side})")
        for field in self.fields:
            _check_field(field, self.channels, modes)
        return self

    @classmethod
    def read(cls, path: Path) -> Likeness:
        """Read a likeness that `write` wrote; raise `ConfigError` when it is none."""
        remedy = "Measure the data set again: beadseg-batch simulate OUT --like DATASET."
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError("No such file.", path, "Check the path.") from None
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            text = f"Is not a likeness of version {SCHEMA_VERSION} ({where}: {first['msg']})."
            raise ConfigError(text, path, remedy) from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"Cannot be read ({error}).", path, "Check the file.") from None

    def write(self, path: Path) -> None:
        """Write the document as JSON."""
        write_atomically(path, self.model_dump_json() + "\n")

    def nearest(self, dilution: int) -> tuple[FieldLikeness, ...]:
        """Return the fields of this dilution, or else of the nearest measured one (on a logarithmic scale)."""
        if dilution < 1:
            raise InputError(f"{dilution} is not a dilution factor.", "dilutions", "Give whole numbers from 1 on.")
        best = min((field.dilution for field in self.fields), key=lambda factor: abs(math.log(factor / dilution)))
        return tuple(field for field in self.fields if field.dilution == best)


def _check(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape {list(shape)} (given: {list(array.shape)})")


def _check_field(field: FieldLikeness, channels: int, modes: int) -> None:
    _check("bead_samples", field.bead_samples, (max(field.bead_samples.shape[0], 1), modes))
    _check("spectrum", field.noise.spectrum, (channels, NOISE_TERMS))
    _check("correlation", field.noise.correlation, (channels, channels))
    if field.compression is not None:
        _check("luma", field.compression.luma, (BLOCK, BLOCK))
        _check("chroma", field.compression.chroma, (BLOCK, BLOCK))
        if len(field.compression.shift) != channels:
            raise ValueError(f"shift must have {channels} numbers (given: {len(field.compression.shift)})")
    for look in field.looks:
        _check("ground", look.ground, (channels, LIGHT_TERMS))
        if (len(look.noise_gain), len(look.bead_mean)) != (channels, modes):
            raise ValueError(f"look {look.tile!r} needs {channels} noise gains and {modes} coefficients of the bead")
