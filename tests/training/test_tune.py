from __future__ import annotations

import numpy as np
import pytest
import torch

from beadseg.config import PredictConfig
from beadseg.data.dataset import Target
from beadseg.training.batches import TrainingImage
from beadseg.training.postprocessing import ENOUGH, tune
from beadseg.training.targets import centres


class Shown(torch.nn.Module):
    """Has the maps of two heads in its input, as logits."""

    size_multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


def image(step: int, ghost: float) -> TrainingImage:
    """Beads on a grid, and between them ghosts: foreground that is not a bead, with a low peak in the centre map."""
    y, x = np.mgrid[:160, :160]
    truth = np.zeros((160, 160), np.uint32)
    maps = np.full((2, 160, 160), 0.01, np.float32)
    for number, (cy, cx) in enumerate(np.ndindex(8, 8), start=1):
        away = np.hypot(y - 10 - step * cy, x - 10 - step * cx)
        truth[away <= 3.5] = number
        maps[0][away <= 3.5] = 0.95
        maps[1] = np.maximum(maps[1], 0.8 * np.exp(-(away**2) / 3))
        if number % 4 == 0:
            between = np.hypot(y - 10 - step * cy - step / 2, x - 10 - step * cx - step / 2)
            maps[0][between <= 3.5] = 0.7
            maps[1] = np.maximum(maps[1], ghost * np.exp(-(between**2) / 3))
    target = Target(truth > 0, truth)
    logits = np.log(maps / (1 - maps)).astype(np.float32)
    foreground = target.foreground.astype(np.uint8)
    return TrainingImage("a", "A", logits, foreground, centres(truth), np.ones_like(foreground), np.zeros(0, np.uint32))


def test_a_confidence_is_found_that_tells_beads_from_ghosts():
    config = PredictConfig().with_overrides(["objects.diameter=7", "tiling.whole_image_pixels=1000000"])
    found = tune(Shown(), [image(18, ghost=0.25)], config, "fp32")  # type: ignore[arg-type]
    assert found.beads == 64
    assert found.tried[0]["f1"] < 0.95
    assert 0.25 < found.objects.min_confidence <= 0.5
    best = max(row["f1"] for row in found.tried)
    assert best == pytest.approx(1.0)
    assert found.objects.threshold == config.objects.threshold


def test_nothing_is_fitted_to_a_few_beads():
    few = image(18, ghost=0.25)
    keep = few.beads[: ENOUGH - 1]
    few = TrainingImage("a", "A", few.image, few.foreground, keep, few.counted, few.spots)
    config = PredictConfig().with_overrides(["objects.diameter=7"])
    found = tune(Shown(), [few], config, "fp32")  # type: ignore[arg-type]
    assert found.objects == config.objects
    assert len(found.tried) == 1
