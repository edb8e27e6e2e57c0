"""Scores of a network on whole images, as they stand in the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from beadseg.errors import Cancelled
from beadseg.measure.matching import Counted, count_scores, density_scores
from beadseg.measure.scores import Overlap, aggregate, count_overlap, visible_objects
from beadseg.model.backends import TorchBackend
from beadseg.predict.blocks import probabilities
from beadseg.predict.instances import needed_diameter
from beadseg.predict.prediction import Maps
from beadseg.training.distributed import Team
from beadseg.training.targets import centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config import ObjectConfig, PredictConfig
    from beadseg.events import StopFlag
    from beadseg.model.backends import Precision
    from beadseg.model.networks import Network
    from beadseg.predict.instances import Separation
    from beadseg.training.batches import TrainingImage

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class ImageScore:
    """What is scored of one image: shared pixels, loss, and beads."""

    overlap: Overlap | None
    loss: float
    counted: Counted


def score(
    network: Network,
    images: Sequence[TrainingImage],
    loss: Loss,
    config: PredictConfig,
    precision: Precision,
    stop: StopFlag | None = None,
    team: Team | None = None,
) -> dict[str, float]:
    """Return the scores of `network` (in evaluation mode) on whole images; each process of `team` looks at its share.

    Returns
    -------
    dict
        ``loss`` (mean over images); ``jaccard_`` and ``dice_`` with ``images``, ``fields`` and ``pooled``, at the hard
        threshold, of images with annotated areas; `COUNT_METRICS` of the separated beads, and the same by density
        (`density_scores`).

    Raises
    ------
    Cancelled
        `stop` was set, here or in another process.
    """
    team = Team() if team is None else team
    own: list[ImageScore] = []
    cancelled = None
    try:
        for image in team.share(images):
            maps = probabilities(TorchBackend(network, precision), image.image, config.tiling, stop=stop)
            own.append(_scored(maps, image, loss, config))
    except Cancelled as error:
        cancelled = error
    team.check(cancelled)
    found = team.shared(own)
    counts = [item.counted for item in found]
    with_areas = [(item.overlap, image.field) for item, image in zip(found, images, strict=True) if item.overlap]
    pixels = aggregate(*map(list, zip(*with_areas, strict=True))) if with_areas else {}
    mean = float(np.mean([item.loss for item in found]))
    return {"loss": mean, **pixels, **count_scores(counts), **density_scores(counts)}


def _scored(maps: NDArray[np.float32], image: TrainingImage, loss: Loss, config: PredictConfig) -> ImageScore:
    """Return the scores of the maps (K, Y, X) of one image."""
    predicted = maps[0] >= config.objects.threshold
    overlap = count_overlap(predicted, image.foreground > 0, image.counted == 0) if image.areas else None
    beads = counted(Maps.of_heads(maps).separated(config.objects), config.objects, image)
    return ImageScore(overlap, _loss(loss, maps, image), beads)


def counted(separation: Separation, objects: ObjectConfig, image: TrainingImage) -> Counted:
    """Match the beads that `objects` selects with the true ones of `image`; ignored ones are left out."""
    labels = separation.chosen(objects)
    seen = visible_objects(labels > 0, labels, image.judged == 0)
    return Counted.of(centres(seen), image.beads, needed_diameter(objects))


def spread(images: Sequence[TrainingImage], count: int) -> list[TrainingImage]:
    """Return `count` of `images`, evenly spaced in the order of their foreground area."""
    order = sorted(images, key=lambda image: (int(image.foreground.sum()), image.name))
    if count >= len(order):
        return order
    return [order[i] for i in np.linspace(0, len(order) - 1, count).round().astype(int)]


def _loss(loss: Loss, probability: NDArray[np.float32], image: TrainingImage) -> float:
    logits = torch.logit(torch.from_numpy(probability[None]), eps=1e-6)
    target = torch.from_numpy(np.stack(image.targets)[None].astype(np.float32))
    counted = torch.from_numpy(np.stack([image.counted, image.judged])[None]).float()
    with torch.inference_mode():
        return float(loss(logits, target, counted))
