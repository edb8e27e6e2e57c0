"""Networks: one small class each, joined in a union; a network refuses what it cannot do."""

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
