"""Is the gradient proportional to the objects in an image? Its norm, its noise, and what Adam makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from study_cells import COUNTS, FEW, LOSSES, MANY, SAME_AREA, SAME_SIZE
from study_data import SMALL, same_area, scene

from beadseg.config import TrainConfig
from beadseg.data.simulate import simulate
from beadseg.model.inputs import prepare
from beadseg.model.losses import SegmentationLoss, build_loss
from beadseg.model.networks import Network, build_network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

BATCH = 6
EARLY = 10
"""Steps of Adam at 1e-3 after which "early in training" is measured."""
FACTOR = MANY / FEW
"""The document's ratio of objects: 36."""
SERIES = {SAME_AREA: same_area, SAME_SIZE: lambda objects: SMALL}
"""Diameter, px, by the number of objects."""


def gradients(seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row per series, number of objects and loss: the gradient's norm at the start and early in training."""
    for series, diameter in SERIES.items():
        for objects in COUNTS:
            image, target = _batch(objects, diameter(objects), seed)
            for loss_name, changes in LOSSES.items():
                network, loss = _network(seed, changes)
                row = {"series": series, "objects": objects, "loss": loss_name, "seed": seed}
                row |= {"area": float(target.mean()), "start": _norm(network, loss, image, target)}
                if series == SAME_AREA and objects in (FEW, MANY):
                    row["noise"] = _noise(network, loss, image, target)
                    _train(network, loss, image, target, torch.optim.Adam(network.parameters(), 1e-3))
                    row["early"] = _norm(network, loss, image, target)
                yield row


def scaled(seed: int) -> Iterator[dict[str, Any]]:
    """Yield how far the weights move in `EARLY` steps when the loss, hence the gradient, is 1 or 36 times as large."""
    image, target = _batch(MANY, SMALL, seed)
    kinds = {"Adam, lr 1e-3": (torch.optim.Adam, 1e-3), "SGD, lr 1e-2": (torch.optim.SGD, 1e-2)}
    for name, (kind, rate) in kinds.items():
        moved = []
        for factor in (1.0, FACTOR):
            network, loss = _network(seed, LOSSES["Dice"])
            before = _weights(network)
            _train(network, loss, image, target, kind(network.parameters(), rate), factor)
            moved.append(float((_weights(network) - before).norm()))
        yield {"optimizer": name, "seed": seed, "moved": moved[0], "moved_scaled": moved[1]}


def _batch(objects: int, diameter: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return images (N, 3, Y, X) and targets (N, 1, Y, X), float32."""
    scenes = [simulate(scene(objects, diameter), 100 * seed + number) for number in range(BATCH)]
    config = TrainConfig.preset("microbeads").image
    images = np.stack([prepare(np.moveaxis(made.image, -1, 0), config) for made in scenes])
    targets = np.stack([made.labels[None] > 0 for made in scenes]).astype(np.float32)
    return torch.from_numpy(images), torch.from_numpy(targets)


def _network(seed: int, changes: tuple[str, ...]) -> tuple[Network, SegmentationLoss]:
    settings = ["network.width=8", "network.depth=4", "network.dropout=0", *changes]
    config = TrainConfig.preset("microbeads").with_overrides(settings)
    torch.manual_seed(seed)
    return build_network(config.network, 3).train(), build_loss(config.loss)


def _gradient(network: Network, loss: SegmentationLoss, image: Tensor, target: Tensor) -> Tensor:
    network.zero_grad()
    loss(network(image), target).backward()
    return torch.cat([weight.grad.flatten() for weight in network.parameters() if weight.grad is not None])


def _norm(network: Network, loss: SegmentationLoss, image: Tensor, target: Tensor) -> float:
    return float(_gradient(network, loss, image, target).norm())


def _noise(network: Network, loss: SegmentationLoss, image: Tensor, target: Tensor) -> float:
    """Return the spread of the single images' gradients about their mean, relative to the mean's norm."""
    single = torch.stack([_gradient(network, loss, image[[i]], target[[i]]) for i in range(len(image))])
    mean = single.mean(0)
    return float((single - mean).norm(dim=1).square().mean().sqrt() / mean.norm())


def _train(
    network: Network,
    loss: SegmentationLoss,
    image: Tensor,
    target: Tensor,
    optimizer: torch.optim.Optimizer,
    factor: float = 1.0,
) -> None:
    for _ in range(EARLY):
        optimizer.zero_grad()
        (factor * loss(network(image), target)).backward()
        optimizer.step()


def _weights(network: Network) -> Tensor:
    return torch.cat([weight.detach().flatten().clone() for weight in network.parameters()])
