"""Scores of a network on whole images, as they stand in the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from beadseg.measure.metrics import aggregate
from beadseg.measure.overlap import Overlap, count_overlap
from beadseg.predict.inference import probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config import PredictConfig
    from beadseg.events import StopFlag
    from beadseg.model.device import Precision
    from beadseg.model.networks import Network
    from beadseg.training.samples import TrainingImage

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def score(
    network: Network,
    images: Sequence[TrainingImage],
    loss: Loss,
    config: PredictConfig,
    precision: Precision,
    stop: StopFlag | None = None,
) -> dict[str, float]:
    """Return loss, Jaccard and Dice of `network` (in evaluation mode) on whole images at the hard threshold.

    Returns
    -------
    dict
        ``loss`` (mean over images) and ``jaccard_`` and ``dice_`` with ``images``, ``fields`` and ``pooled``.
    """
    overlaps: list[Overlap] = []
    losses: list[float] = []
    for image in images:
        probability = probabilities(network, image.image, config.tiling, precision, stop=stop)
        losses.append(_loss(loss, probability, image))
        predicted = probability[0] >= config.objects.threshold
        overlaps.append(count_overlap(predicted, image.foreground > 0, image.counted == 0))
    return {"loss": float(np.mean(losses)), **aggregate(overlaps, [image.field for image in images])}


def spread(images: Sequence[TrainingImage], count: int) -> list[TrainingImage]:
    """Return `count` of `images`, evenly spaced in the order of their foreground area."""
    order = sorted(images, key=lambda image: (int(image.foreground.sum()), image.name))
    if count >= len(order):
        return order
    return [order[i] for i in np.linspace(0, len(order) - 1, count).round().astype(int)]


def _loss(loss: Loss, probability: NDArray[np.float32], image: TrainingImage) -> float:
    logits = torch.logit(torch.from_numpy(probability[None, :1]), eps=1e-6)
    target = torch.from_numpy(image.foreground[None, None]).float()
    counted = torch.from_numpy(image.counted[None, None]).float()
    with torch.inference_mode():
        return float(loss(logits, target, counted))
