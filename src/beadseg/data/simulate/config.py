"""What a simulated microscope image looks like: one frozen, flat model, so that every field can be set by its name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from beadseg.config.base import Config

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SceneConfig(Config):
    """One simulated image of beads; the defaults resemble dark 7-px beads in brightfield, as a compressed colour photo.

    Lengths are in pixels of the written image, grey levels in units of an 8-bit image (0-255) for every bit depth.
    Light, gradient, vignetting, tilt and lateral colour belong to a field of view and are shared by its tiles.
    """

    height: Annotated[int, Field(ge=16, le=32768, title="Height")] = 512
    """Image height, px."""
    width: Annotated[int, Field(ge=16, le=32768, title="Width")] = 512
    """Image width, px."""
    channels: Annotated[Literal["rgb", "grey"], Field(title="Channels")] = "rgb"
    """Colour (Y, X, 3) or grey (Y, X) image."""
    bit_depth: Annotated[Literal[8, 16], Field(title="Bit depth")] = 8
    """Bits per sample: 8 gives uint8, 16 gives uint16."""
    polarity: Annotated[Literal["dark", "bright"], Field(title="Polarity")] = "dark"
    """Dark beads on bright ground, or bright beads on dark ground."""

    beads: Annotated[float, Field(ge=0.0, le=1e6, title="Beads per image")] = 150.0
    """Expected number of bead centres in one image."""
    poisson: Annotated[bool, Field(title="Poisson counts")] = True
    """Draw the number of beads from a Poisson distribution; otherwise place exactly ``beads``, rounded."""
    diameter_px: Annotated[float, Field(ge=2.0, le=500.0, title="Bead diameter")] = 7.0
    """Mean diameter of a bead, px."""
    diameter_spread: Annotated[float, Field(ge=0.0, le=0.5, title="Diameter spread")] = 0.06
    """Standard deviation of the diameter as a share of the mean; values stay within half and twice the mean."""
    cluster_probability: Annotated[float, Field(ge=0.0, le=0.95, title="Cluster probability")] = 0.25
    """Share of the beads placed in contact with another one: touching, or overlapping up to ``max_overlap``."""
    max_overlap: Annotated[float, Field(ge=0.0, le=0.9, title="Largest overlap")] = 0.3
    """Largest overlap of two beads as a share of their mean diameter: their centres are never closer than
    ``(1 - max_overlap)`` mean diameters."""

    contrast: Annotated[float, Field(gt=0.0, le=20.0, title="Contrast")] = 0.52
    """Difference between a sharp bead and the ground, as a share of the ground; below 1 for dark beads."""
    contrast_spread: Annotated[float, Field(ge=0.0, le=0.5, title="Contrast spread")] = 0.15
    """Standard deviation of the contrast between beads, as a share of the contrast."""
    channel_contrast: Annotated[tuple[Share, Share, Share], Field(title="Contrast per channel")] = (0.82, 1.0, 0.4)
    """Share of the contrast that shows in red, green and blue."""
    halo: Annotated[float, Field(ge=0.0, le=0.5, title="Halo")] = 0.1
    """Strength of the opposite rim around a bead (first diffraction ring), as a share of the bead's contrast."""
    defocus_px: Annotated[float, Field(ge=0.0, le=50.0, title="Defocus")] = 1.6
    """Mean sigma of the Gaussian blur of a bead, px."""
    defocus_spread_px: Annotated[float, Field(ge=0.0, le=20.0, title="Defocus spread")] = 0.35
    """Standard deviation of the blur's sigma between beads, px."""
    tilt_px: Annotated[float, Field(ge=0.0, le=50.0, title="Tilt")] = 0.4
    """Blur's sigma gained from one side of the field of view to the other because the slide is tilted, px."""
    lateral_shift_px: Annotated[float, Field(ge=0.0, le=20.0, title="Lateral colour shift")] = 1.0
    """Red is shifted by this much against green, blue by as much the other way, px."""
    lateral_scale: Annotated[float, Field(ge=0.0, le=0.05, title="Lateral colour scale")] = 0.001
    """Red is magnified by this share about the centre of the field of view against green, blue shrunk by it."""

    background_min: Annotated[float, Field(gt=0.0, le=255.0, title="Darkest ground")] = 85.0
    """Lowest mean level of the ground, 8-bit grey levels; one level is drawn for a field of view."""
    background_max: Annotated[float, Field(gt=0.0, le=255.0, title="Brightest ground")] = 150.0
    """Highest mean level of the ground, 8-bit grey levels."""
    background_tint: Annotated[
        tuple[
            Annotated[float, Field(gt=0.0, le=2.0)],
            Annotated[float, Field(gt=0.0, le=2.0)],
            Annotated[float, Field(gt=0.0, le=2.0)],
        ],
        Field(title="Colour of the ground"),
    ] = (0.99, 1.0, 0.96)
    """Level of red, green and blue relative to the ground's level."""
    gradient: Annotated[float, Field(ge=0.0, le=1.0, title="Light gradient")] = 0.2
    """Change of the light from one side of the field of view to the other, as a share of its mean."""
    vignetting: Annotated[float, Field(ge=0.0, le=0.9, title="Vignetting")] = 0.1
    """Loss of light in the corners of the field of view, as a share."""

    debris: Annotated[float, Field(ge=0.0, le=1e5, title="Debris per image")] = 1.0
    """Expected number of specks and fibres, which are not beads and not in the truth."""
    debris_size_px: Annotated[float, Field(ge=1.0, le=1000.0, title="Debris size")] = 14.0
    """Typical size of a speck, px; fibres are about four times as long."""
    debris_contrast: Annotated[float, Field(gt=0.0, lt=1.0, title="Debris contrast")] = 0.3
    """Typical contrast of debris, as a share of the ground, of the beads' polarity."""
    fibre_share: Annotated[Share, Field(title="Share of fibres")] = 0.3
    """Share of the debris that are fibres; the others are irregular specks."""

    read_noise: Annotated[float, Field(ge=0.0, le=100.0, title="Read noise")] = 2.5
    """Standard deviation of the noise of the sensor's electronics, 8-bit grey levels."""
    shot_noise: Annotated[float, Field(ge=0.0, le=100.0, title="Shot noise")] = 5.5
    """Standard deviation of the photon noise at full scale, 8-bit grey levels; it falls with the root of the light."""
    upscaling: Annotated[float, Field(ge=1.0, le=8.0, title="Upscaling")] = 2.0
    """Pixels of the written image per pixel of the sensor, along an axis; above 1 it is a blurred enlargement."""
    jpeg_quality: Annotated[int | None, Field(ge=1, le=100, title="JPEG quality")] = 88
    """Quality of a round trip through a JPEG encoder, none when empty; a 16-bit image is never JPEG-compressed."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.polarity == "dark" and self.contrast >= 1:
            raise ValueError(f"contrast must be below 1 for dark beads (given: {self.contrast})")
        if self.background_min > self.background_max:
            raise ValueError(f"background_min {self.background_min} is above background_max {self.background_max}")
        return self
