"""What changes with the steps of a run: the learning rate, and how much the averaged weights keep."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

    from beadseg.config import TrainConfig


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0) of a run of `steps`."""
    schedule, peak = config.schedule, config.optimizer.lr
    warmup = int(schedule.warmup * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule.decay == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, ema: float, step: int) -> None:
    """Move the averaged weights towards the present ones; faster at the start of a run."""
    if average is network:
        return
    keep = min(ema, (step + 1) / (step + 10))
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)
