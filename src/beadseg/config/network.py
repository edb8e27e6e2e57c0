"""Networks, one small class each, and the image that they see: channels, then normalisation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from beadseg.config.base import Config

NETWORK_KINDS = ("unet", "attention-unet", "attention-resunet")
"""The three networks of the laboratory's presets, in the order of its tables."""

Head = Literal["foreground", "centre", "size"]


class NetworkBase(Config):
    """What all networks share."""

    depth: Annotated[int, Field(ge=2, le=7)] | None = None
    """Levels, the full-resolution one and the bottleneck included. None: planned from the bead diameter."""
    width: Annotated[int, Field(ge=4, le=256)] = 16
    """Channels of the first level; every level below has twice as many."""
    max_width: Annotated[int, Field(ge=4, le=2048)] = 256
    """No level has more channels than this."""
    first_stride: Literal[1, 2] | None = None
    """1 keeps a full-resolution level and skip; 2 halves at once (faster, loses small beads). None: planned."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of features dropped in training."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation layer. Instance norm makes the result depend on the size of the tile."""
    prior_logit: Annotated[float, Field(ge=-20.0, le=20.0)] | None = -3.0
    """Logit of the foreground probability that the network starts from (-3: 0.05). None: torch's own first weights."""
    heads: tuple[Head, ...] = ("foreground",)
    """Output maps: the foreground, alone or followed by the centre map, which tells touching beads apart, and by the
    size of the bead that a pixel belongs to."""

    @field_validator("heads")
    @classmethod
    def _known_order(cls, heads: tuple[Head, ...]) -> tuple[Head, ...]:
        if heads != ("foreground", "centre", "size")[: len(heads)] or not heads:
            raise ValueError("heads are [foreground], [foreground, centre] or [foreground, centre, size]")
        return heads


class UNetConfig(NetworkBase):
    """MONAI's `UNet`."""

    kind: Literal["unet"] = "unet"
    residual_units: Annotated[int, Field(ge=0, le=4)] = 2
    """Residual units per level; 0 for plain convolutions."""


class AttentionUnetConfig(NetworkBase):
    """MONAI's `AttentionUnet`, with its instance norms replaced by the norm chosen here."""

    kind: Literal["attention-unet"] = "attention-unet"

    @model_validator(mode="after")
    def _refuse(self) -> AttentionUnetConfig:
        if self.first_stride == 2:
            raise ValueError("attention-unet always has a full-resolution first level: set first_stride to 1")
        return self


class AttentionResUnetConfig(NetworkBase):
    """An attention residual U-Net composed from MONAI's `AttentionBlock` and `ResidualUnit`."""

    kind: Literal["attention-resunet"] = "attention-resunet"
    residual_units: Annotated[int, Field(ge=1, le=4)] = 2
    """Convolutions per residual unit."""


class HalfUNetConfig(NetworkBase):
    """A U-Net that works at half resolution between a space-to-depth stem and a sub-pixel head: the general model's."""

    kind: Literal["half-unet"] = "half-unet"
    compress: Annotated[float, Field(ge=0.0, le=100.0)] = 4.0
    """The input x becomes ``asinh(compress * x)``, so that weak and strong contrasts look alike. 0: as it is."""


NetworkConfig = Annotated[
    UNetConfig | AttentionUnetConfig | AttentionResUnetConfig | HalfUNetConfig, Field(discriminator="kind")
]


class GreyConfig(Config):
    """All colour channels combined into luminance (ITU-R BT.601 weights); a grey image is itself. One input channel."""

    kind: Literal["grey"] = "grey"


class RgbConfig(Config):
    """Red, green and blue as three input channels; a grey image is repeated."""

    kind: Literal["rgb"] = "rgb"


class SingleChannelConfig(Config):
    """One channel of the image, alone. One input channel."""

    kind: Literal["single"] = "single"
    index: Annotated[int, Field(ge=0)] = 0
    """Which channel, from 0."""


ChannelConfig = Annotated[GreyConfig | RgbConfig | SingleChannelConfig, Field(discriminator="kind")]


class BackgroundNormConfig(Config):
    """Difference to the local background, relative to it: does not change with how many beads an image has."""

    kind: Literal["background"] = "background"
    window: Annotated[int, Field(ge=8, le=4096)] = 64
    """Side of the blocks whose median is the local background, px; several bead diameters."""
    gain: Annotated[float, Field(gt=0.0, le=1000.0)] = 4.0
    """Factor that brings a bead's contrast to about 1."""


class RangeNormConfig(Config):
    """Division by the largest value of the dtype (255 for uint8): what the laboratory's scripts do."""

    kind: Literal["range"] = "range"


class ZScoreNormConfig(Config):
    """Mean 0 and standard deviation 1 per image. Changes with the number of beads; for comparison only."""

    kind: Literal["zscore"] = "zscore"


class PercentileNormConfig(Config):
    """Linear between two percentiles of the image, 0 to 1 (StarDist's way)."""

    kind: Literal["percentile"] = "percentile"
    low: Annotated[float, Field(ge=0.0, lt=100.0)] = 1.0
    """Lower percentile, per cent."""
    high: Annotated[float, Field(gt=0.0, le=100.0)] = 99.8
    """Upper percentile, per cent."""


NormConfig = Annotated[
    BackgroundNormConfig | RangeNormConfig | ZScoreNormConfig | PercentileNormConfig, Field(discriminator="kind")
]


class ImageConfig(Config):
    """Channels and normalisation."""

    channels: ChannelConfig = GreyConfig()
    """Which channels the network sees."""
    norm: NormConfig = BackgroundNormConfig()
    """How intensities are normalised, per whole image and never per tile."""
    bead_px: Annotated[float, Field(ge=3.0, le=64.0)] | None = None
    """Diameter of a bead as the network sees it, px: images are resampled so that their beads have it. None: images
    stay as they are."""

    def seen_at(self, factor: float) -> ImageConfig:
        """Return what prepares an image before it is enlarged by `factor`: the window of the background shrinks."""
        if not isinstance(self.norm, BackgroundNormConfig):
            return self
        window = min(4096, max(8, round(self.norm.window / factor)))
        return self.replace(norm=self.norm.replace(window=window))
