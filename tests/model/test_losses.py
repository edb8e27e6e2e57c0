from __future__ import annotations

import pytest
import torch
from monai.losses.dice import DiceCELoss, DiceFocalLoss, DiceLoss
from monai.losses.focal_loss import FocalLoss
from monai.losses.tversky import TverskyLoss
from torch import Tensor, nn

from beadseg.config.train import (
    CentreConfig,
    DiceCELossConfig,
    DiceFocalLossConfig,
    DiceLossConfig,
    FocalLossConfig,
    LossConfig,
    TverskyLossConfig,
)
from beadseg.errors import ConfigError
from beadseg.model.losses import CentreLoss, build_heads_loss, build_loss

ALL: list[LossConfig] = [
    DiceLossConfig(),
    DiceLossConfig(batch=False),
    FocalLossConfig(gamma=2.0),
    FocalLossConfig(gamma=0.0),
    DiceCELossConfig(),
    DiceFocalLossConfig(),
    TverskyLossConfig(),
]
every = pytest.mark.parametrize("config", ALL, ids=str)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(3, 1, 16, 16, generator=generator)
    return logits, (torch.rand(3, 1, 16, 16, generator=generator) < 0.2).float()


@pytest.mark.parametrize(
    ("config", "peer"),
    [
        (DiceLossConfig(batch=True), DiceLoss(sigmoid=True, batch=True)),
        (DiceLossConfig(batch=False), DiceLoss(sigmoid=True, batch=False)),
        (FocalLossConfig(gamma=1.5), FocalLoss(gamma=1.5)),
        (FocalLossConfig(gamma=0.0), nn.BCEWithLogitsLoss()),
        (
            DiceCELossConfig(dice_weight=0.7, ce_weight=0.4),
            DiceCELoss(sigmoid=True, batch=True, lambda_dice=0.7, lambda_ce=0.4),
        ),
        (
            DiceFocalLossConfig(gamma=3.0, dice_weight=0.7, focal_weight=5.0),
            DiceFocalLoss(sigmoid=True, batch=True, gamma=3.0, lambda_dice=0.7, lambda_focal=5.0),
        ),
        (TverskyLossConfig(alpha=0.2, beta=0.8), TverskyLoss(sigmoid=True, batch=True, alpha=0.2, beta=0.8)),
    ],
)
def test_the_value_is_monais(config: LossConfig, peer: nn.Module) -> None:
    logits, target = batch()
    torch.testing.assert_close(build_loss(config)(logits, target), peer(logits, target))


def test_cross_entropy_is_really_added_to_one_channel() -> None:
    logits, target = batch()
    dice = build_loss(DiceLossConfig())(logits, target)
    both = build_loss(DiceCELossConfig())(logits, target)
    torch.testing.assert_close(both - dice, nn.functional.binary_cross_entropy_with_logits(logits, target))


@every
def test_ignored_pixels_do_not_matter(config: LossConfig) -> None:
    loss = build_loss(config)
    logits, target = batch()
    weight = torch.ones_like(target)
    weight[..., :6] = 0
    changed, flipped = logits.clone(), target.clone()
    changed[..., :6], flipped[..., :6] = torch.tensor([1e3, -1e3, float("nan"), 5.0, 0.0, float("inf")]), 1.0
    changed.requires_grad_()
    value = loss(changed, flipped, weight)
    torch.testing.assert_close(value, loss(logits, target, weight), rtol=0, atol=0)
    value.backward()
    assert changed.grad is not None
    assert not changed.grad[..., :6].any()
    assert changed.grad[..., 6:].abs().sum() > 0


@every
def test_ignoring_is_as_if_the_pixels_were_not_there(config: LossConfig) -> None:
    loss = build_loss(config)
    logits, target = batch()
    weight = torch.ones_like(target)
    weight[..., :6] = 0
    torch.testing.assert_close(loss(logits, target, weight), loss(logits[..., 6:], target[..., 6:]))
    torch.testing.assert_close(loss(logits, target, torch.ones_like(target)), loss(logits, target))


@every
@pytest.mark.parametrize("bias", [-3.0, -60.0, 60.0])
def test_an_empty_target_has_finite_gradients(config: LossConfig, bias: float) -> None:
    logits = torch.full((2, 1, 8, 8), bias, requires_grad=True)
    value = build_loss(config)(logits, torch.zeros(2, 1, 8, 8))
    value.backward()
    assert torch.isfinite(value)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@every
def test_a_batch_ignored_altogether_costs_nothing(config: LossConfig) -> None:
    logits, target = batch()
    logits.requires_grad_()
    value = build_loss(config)(logits, target, torch.zeros_like(target))
    value.backward()
    assert value.item() == pytest.approx(0.0, abs=1e-6)
    assert logits.grad is not None
    assert not logits.grad.any()


@every
def test_a_better_prediction_costs_less(config: LossConfig) -> None:
    logits, target = batch()
    loss = build_loss(config)
    assert loss(8 * (2 * target - 1), target) < 0.1 * loss(-8 * (2 * target - 1), target)
    assert loss(8 * (2 * target - 1), target) < loss(logits, target)


@every
def test_autocast_computes_in_float32(config: LossConfig) -> None:
    logits, target = batch()
    low = logits.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value = build_loss(config)(low, target)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, build_loss(config)(low.float(), target))


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="weight 0"):
        build_loss(DiceCELossConfig(dice_weight=0, ce_weight=0))
    with pytest.raises(ConfigError, match="weight 0"):
        build_loss(DiceFocalLossConfig(dice_weight=0, focal_weight=0))


def test_cross_entropy_per_area_weighs_patches_alike_however_many_beads_they_have() -> None:
    sparse, dense = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    sparse[..., 4:8, 4:8] = 1
    dense[..., ::2, ::2] = 1
    loss = build_loss(DiceCELossConfig(dice_weight=0.0, ce_per_area=1.0))
    # Every bead pixel missed by the same logit, every background pixel certain: the loss is that of one bead pixel.
    missed = [loss(torch.where(target > 0, -2.0, -50.0), target) for target in (sparse, dense)]
    one = torch.nn.functional.softplus(torch.tensor(2.0))
    assert missed[0] == pytest.approx(float(one * 16 / 17), rel=1e-5)
    assert missed[1] == pytest.approx(float(one * 256 / 257), rel=1e-5)


def heads_batch() -> tuple[Tensor, Tensor]:
    logits, foreground = batch()
    return torch.cat([logits, logits.flip(-1)], 1), torch.cat([foreground, foreground * 0.5], 1)


@pytest.mark.parametrize("kind", ["cross-entropy", "squared"])
def test_the_centre_map_adds_its_loss_to_that_of_the_foreground(kind: str):
    centre = CentreConfig.parse({"loss": kind, "weight": 2.0})
    both = build_heads_loss(DiceCELossConfig(), centre, ("foreground", "centre"))
    logits, target = heads_batch()
    alone = build_loss(DiceCELossConfig())(logits[:, :1], target[:, :1])
    added = CentreLoss(centre)(logits[:, 1:], target[:, 1:])
    assert added > 0
    assert both(logits, target) == pytest.approx(float(alone + 2 * added), rel=1e-6)


@pytest.mark.parametrize("kind", ["cross-entropy", "squared"])
def test_the_centre_loss_is_least_at_the_map_itself_and_blind_to_ignored_pixels(kind: str):
    loss = CentreLoss(CentreConfig.parse({"loss": kind}))
    target = 0.1 + 0.8 * torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    right = torch.logit(target)
    assert loss(right, target) < loss(right + 0.3, target)
    assert loss(right, target) < loss(right - 0.3, target)
    counted = torch.ones(2, 1, 8, 8)
    counted[..., :4] = 0
    wrong = right.clone()
    wrong[..., :4] += 5
    assert loss(wrong, target, counted) == loss(right, target, counted)


def test_without_a_centre_head_the_loss_is_that_of_the_foreground():
    logits, target = batch()
    found = build_heads_loss(DiceCELossConfig(), CentreConfig(weight=50.0), ("foreground",))(logits, target)
    assert found == build_loss(DiceCELossConfig())(logits, target)
