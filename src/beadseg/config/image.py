"""How pixels become the network's input: channels, then normalisation. Stored in every run, used everywhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from beadseg.config.base import Config


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
