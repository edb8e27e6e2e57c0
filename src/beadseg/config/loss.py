"""Losses, all computed by MONAI; one small class each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from beadseg.config.base import Config

Weight = Annotated[float, Field(ge=0.0, le=100.0)]


class DiceLossConfig(Config):
    """`monai.losses.DiceLoss` over the whole batch, so that an empty patch does no harm."""

    kind: Literal["dice"] = "dice"
    batch: bool = True
    """Sum over the batch before the ratio is taken (MONAI's ``batch``)."""


class FocalLossConfig(Config):
    """`monai.losses.FocalLoss`."""

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 2.0
    """Focusing exponent; 0 is cross-entropy."""


class DiceCELossConfig(Config):
    """`monai.losses.DiceCELoss`: Dice plus binary cross-entropy."""

    kind: Literal["dice-ce"] = "dice-ce"
    dice_weight: Weight = 1.0
    """Weight of the Dice part."""
    ce_weight: Weight = 1.0
    """Weight of the cross-entropy part."""
    ce_per_area: Annotated[float, Field(gt=0.0)] | None = None
    """Divide each patch's summed cross-entropy by its foreground area plus this many px²: a patch with two beads weighs
    as much as one with sixty. None: the mean over pixels, as MONAI has it."""
    batch: bool = True
    """Sum over the batch before the Dice ratio is taken."""


class DiceFocalLossConfig(Config):
    """`monai.losses.DiceFocalLoss`."""

    kind: Literal["dice-focal"] = "dice-focal"
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 2.0
    """Focusing exponent of the focal part."""
    dice_weight: Weight = 1.0
    """Weight of the Dice part."""
    focal_weight: Weight = 1.0
    """Weight of the focal part."""
    batch: bool = True
    """Sum over the batch before the Dice ratio is taken."""


class TverskyLossConfig(Config):
    """`monai.losses.TverskyLoss`."""

    kind: Literal["tversky"] = "tversky"
    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Weight of false positives."""
    beta: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    """Weight of false negatives."""
    batch: bool = True
    """Sum over the batch before the ratio is taken."""


LossConfig = Annotated[
    DiceLossConfig | FocalLossConfig | DiceCELossConfig | DiceFocalLossConfig | TverskyLossConfig,
    Field(discriminator="kind"),
]
