"""Losses by MONAI, with pixels that count for nothing where the annotation says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

import torch
from monai.losses.dice import DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from torch import Tensor, nn

from beadseg.config.train import (
    DiceCELossConfig,
    DiceFocalLossConfig,
    DiceLossConfig,
    FocalLossConfig,
    TverskyLossConfig,
)
from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.config.train import CentreConfig, LossConfig

SIZE_WEIGHT = 10.0
"""Factor on the loss of the size, whose values differ by tenths only."""
_SURELY_BACKGROUND = -1e4
"""A logit whose sigmoid, cross-entropy and focal loss against background are exactly 0 in float32."""


class SegmentationLoss(nn.Module):
    """A weighted sum of an overlap loss and a loss per pixel, over logits with one sigmoid per channel.

    With one channel, `monai.losses.DiceCELoss` and `DiceFocalLoss` are these same sums; they are added up here because
    the mean over pixels must leave ignored ones out, and because with several channels MONAI's `DiceCELoss` changes
    to a softmax over them.

    Parameters
    ----------
    overlap, pixels : nn.Module or None
        MONAI's or torch's loss modules, called as ``loss(logits, target)``.
    overlap_weight, pixels_weight : float
        Factors.
    mean : bool
        `pixels` takes the mean over pixels, which must leave ignored ones out.
    """

    def __init__(
        self,
        overlap: nn.Module | None = None,
        pixels: nn.Module | None = None,
        overlap_weight: float = 1.0,
        pixels_weight: float = 1.0,
        *,
        mean: bool = True,
    ) -> None:
        super().__init__()
        self.overlap = overlap
        self.pixels = pixels
        self.overlap_weight = overlap_weight
        self.pixels_weight = pixels_weight
        self.mean = mean

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss, a scalar computed in float32 under any autocast.

        Parameters
        ----------
        logits : (N, K, Y, X) float
            The network's output.
        target : (N, K, Y, X)
            0 to 1.
        weight : (N, 1, Y, X), optional
            0 where a pixel counts for nothing, anything above where it counts. None: all count.
        """
        with torch.autocast(logits.device.type, enabled=False):
            logits, target = logits.float(), target.float()
            share = logits.new_ones(())
            if weight is not None:
                counted = (weight > 0).expand_as(logits)
                # Zero probability against zero truth adds nothing to any sum, and masked_fill stops the gradient.
                logits = logits.masked_fill(~counted, _SURELY_BACKGROUND)
                target = target.masked_fill(~counted, 0.0)
                share = counted.sum().clamp(min=1) / counted.numel()
            total = logits.new_zeros(())
            if self.overlap is not None:
                total = total + self.overlap_weight * self.overlap(logits, target)
            if self.pixels is not None:
                total = total + self.pixels_weight * self.pixels(logits, target) / (share if self.mean else 1.0)
            return total


class CrossEntropyPerArea(nn.Module):
    """Binary cross-entropy summed over a patch, relative to the patch's foreground area; the mean over patches.

    A mean over pixels is decided by dense patches: a field of view with four beads in an image hardly counts. Here an
    image weighs the same however many beads it has, as it does in the mean over images that validation reports.

    Parameters
    ----------
    offset : float
        Added to the area, px², so that an empty patch counts too.
    """

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits and target, both (N, K, Y, X)."""
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        return (loss.sum((1, 2, 3)) / (target.sum((1, 2, 3)) + self.offset)).mean()


class CentreLoss(nn.Module):
    """A loss per pixel of the centre map, summed over a patch, relative to the sum of its map; the mean over patches.

    Parameters
    ----------
    config : CentreConfig
        Kind, and what is added to the sum of the map.
    """

    def __init__(self, config: CentreConfig) -> None:
        super().__init__()
        self.squared = config.loss == "squared"
        self.offset = config.per_area

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of (N, 1, Y, X) logits, computed in float32; as in `SegmentationLoss`."""
        with torch.autocast(logits.device.type, enabled=False):
            logits, target = logits.float(), target.float()
            if self.squared:
                loss = (logits.sigmoid() - target).square()
            else:
                loss = nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
            if weight is not None:
                counted = weight > 0
                loss, target = loss.masked_fill(~counted, 0.0), target.masked_fill(~counted, 0.0)
            return (loss.sum((1, 2, 3)) / (target.sum((1, 2, 3)) + self.offset)).mean()


class SizeLoss(nn.Module):
    """The mean absolute difference of the size map, over pixels of beads.

    The map is the probability scale of ``log2(diameter / known) / range + 0.5``, see `beadseg.predict.bead_size`.
    """

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of (N, 1, Y, X) logits; pixels whose target is 0 belong to no bead."""
        with torch.autocast(logits.device.type, enabled=False):
            counted = target > 0 if weight is None else (target > 0) & (weight > 0)
            off = (logits.float().sigmoid() - target.float()).abs().masked_fill(~counted, 0.0)
            return off.sum() / counted.sum().clamp(min=1)


class HeadsLoss(nn.Module):
    """The loss of the foreground, plus those of the centre map and of the size where the network has them.

    Parameters
    ----------
    foreground : SegmentationLoss
        Of channel 0.
    centre : CentreLoss, optional
        Of channel 1.
    weight : float
        Factor on `centre`.
    size : SizeLoss, optional
        Of channel 2.
    """

    def __init__(
        self,
        foreground: SegmentationLoss,
        centre: CentreLoss | None = None,
        weight: float = 1.0,
        size: SizeLoss | None = None,
    ) -> None:
        super().__init__()
        self.foreground, self.centre, self.weight, self.size = foreground, centre, weight, size

    def forward(self, logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the loss of logits and targets (N, K, Y, X), one channel per head.

        `weight` has one channel for all heads, or a second one for the centre map.
        """
        certain = None if weight is None else weight[:, -1:]
        weight = None if weight is None else weight[:, :1]
        total: Tensor = self.foreground(logits[:, :1], target[:, :1], weight)
        if self.centre is not None:
            total = total + self.weight * self.centre(logits[:, 1:2], target[:, 1:2], certain)
        if self.size is not None and target.shape[1] > 2:
            total = total + SIZE_WEIGHT * self.size(logits[:, 2:3], target[:, 2:3], weight)
        return total


def build_heads_loss(loss: LossConfig, centre: CentreConfig, heads: Sequence[str]) -> HeadsLoss:
    """Return the loss of a network with these heads; raises `ConfigError` as `build_loss` does."""
    size = SizeLoss() if "size" in heads else None
    return HeadsLoss(build_loss(loss), CentreLoss(centre) if "centre" in heads else None, centre.weight, size)


def build_loss(config: LossConfig) -> SegmentationLoss:
    """Return the configured loss.

    Raises
    ------
    ConfigError
        Both parts of a sum have the weight 0.
    """
    if isinstance(config, DiceLossConfig):
        return SegmentationLoss(overlap=_dice(config.batch))
    if isinstance(config, FocalLossConfig):
        return SegmentationLoss(pixels=_focal(config.gamma))
    if isinstance(config, DiceCELossConfig):
        _check_weights(config.dice_weight, config.ce_weight)
        if config.ce_per_area is not None:
            patches = CrossEntropyPerArea(config.ce_per_area)
            return SegmentationLoss(_dice(config.batch), patches, config.dice_weight, config.ce_weight, mean=False)
        return SegmentationLoss(_dice(config.batch), nn.BCEWithLogitsLoss(), config.dice_weight, config.ce_weight)
    if isinstance(config, DiceFocalLossConfig):
        _check_weights(config.dice_weight, config.focal_weight)
        return SegmentationLoss(_dice(config.batch), _focal(config.gamma), config.dice_weight, config.focal_weight)
    if isinstance(config, TverskyLossConfig):
        loss = TverskyLoss(sigmoid=True, alpha=config.alpha, beta=config.beta, batch=config.batch)
        return SegmentationLoss(overlap=loss)
    assert_never(config)


def _dice(batch: bool) -> DiceLoss:
    return DiceLoss(sigmoid=True, batch=batch)


def _focal(gamma: float) -> FocalLoss:
    return FocalLoss(gamma=gamma, use_softmax=False)


def _check_weights(*weights: float) -> None:
    if not any(weights):
        raise ConfigError("All parts of the loss have the weight 0.", "loss", "Give at least one a weight above 0.")
