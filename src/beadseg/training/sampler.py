"""Which patches a step sees. Depends on the seed, the epoch and the step only, so that a resumed run repeats itself."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from beadseg.config.centre import GaussianTargetConfig
from beadseg.config.train import ImageEpochConfig, PatchEpochConfig
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.model.augment import Augmenter
from beadseg.model.inputs import prepare
from beadseg.predict.separation import needed_diameter
from beadseg.training.targets import look_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from beadseg.config import TrainConfig
    from beadseg.data.simulate.look_config import Family
    from beadseg.training.samples import TrainingImage


SMALLEST_LOOK = 128
"""Simulated images are at least so large, px; smaller patches are cut out of them."""


@dataclass(frozen=True)
class Batch:
    """One batch of patches, or one process' share of it.

    Attributes
    ----------
    image : (N, C, Y, X) float32
    target : (N, K, Y, X) float32
        One map per head: 1 on beads, then the centre map where there is one.
    counted : (N, 1 or 2, Y, X) float32
        0 where the loss must not look; of two, the second is for the centre map.
    places : (N,) int64
        Where in the whole batch these patches stand.
    size : int
        Patches of the whole batch.
    """

    image: Tensor
    target: Tensor
    counted: Tensor
    places: Tensor
    size: int

    def parts(self, count: int) -> list[Batch]:
        """Return the batch in `count` nearly equal parts of the whole one, each with what is here of it."""
        if count == 1:
            return [self]
        parts = []
        for places in torch.arange(self.size).chunk(count):
            first = int(places[0])
            here = (self.places >= first) & (self.places < first + len(places))
            image, target, counted = self.image[here], self.target[here], self.counted[here]
            parts.append(Batch(image, target, counted, self.places[here] - first, len(places)))
        return parts


@dataclass(frozen=True, eq=False)
class Stack:
    """A patch that is not augmented yet.

    Attributes
    ----------
    pixels : (C + K + W, Y, X) float32
        Image, targets and counted (`Batch.counted`), one over the other.
    channels : int
        C.
    seed : int
        Of its augmentation.
    """

    pixels: NDArray[np.float32]
    channels: int
    seed: int


class Sampler:
    """Draws the batches of a run.

    Patch epochs draw an image, then a place in it; with ``balance=fields`` first a field of view, so that all fields
    weigh the same however many tiles each has. Image epochs take every image once, in random order.

    Of several processes each makes its share of a batch: patch number ``rank``, ``rank + size`` … of those that one
    process would make.
    """

    def __init__(self, images: Sequence[TrainingImage], config: TrainConfig, rank: int = 0, size: int = 1) -> None:
        self.images = images
        self.rank, self.size = rank, size
        self.seed, self._config = config.seed, config
        self.batch = config.batch or 8
        self.epoch = config.epoch
        self._augment, self._by_thread = config.augment, threading.local()
        self._counts = 2 if any(image.certain is not None for image in images) else 1
        by_field: dict[str, list[int]] = {}
        for number, image in enumerate(images):
            by_field.setdefault(image.field, []).append(number)
        self._by_field = [by_field[field] for field in sorted(by_field)]
        if isinstance(self.epoch, PatchEpochConfig) and self.epoch.balance == "images":
            self._by_field = [[i] for i in range(len(images))]

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch."""
        if isinstance(self.epoch, PatchEpochConfig):
            return self.epoch.steps or 100
        return math.ceil(len(self.images) / self.batch)

    def draw(self, epoch: int, step: int, *, pin: bool = False) -> Batch:
        """Return the batch of `step` (from 0) of `epoch` (from 1), or this process' share of it.

        Several threads may draw at once. With `pin` it lies in memory that a GPU reads while the processor goes on.
        """
        rng = np.random.default_rng([self.seed, epoch, step])
        stacks: list[Stack] = []
        if isinstance(self.epoch, ImageEpochConfig):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            chosen = order[step * self.batch : (step + 1) * self.batch]
            stacks = [self._whole(self.images[i], self.epoch, rng) for i in chosen]
        else:
            stacks = [self._drawn(self.epoch, rng) for _ in range(self.batch)]
        own = stacks[self.rank :: self.size]
        # An empty share has the shape of a patch, too.
        patches = [self._augmented(stack) for stack in own or stacks[:1]]
        image, target, counted = (torch.stack(parts)[: len(own)] for parts in zip(*patches, strict=True))
        if pin:
            image, target, counted = image.pin_memory(), target.pin_memory(), counted.pin_memory()
        return Batch(image, target, counted, torch.arange(self.rank, len(stacks), self.size), len(stacks))

    def _drawn(self, epoch: PatchEpochConfig, rng: np.random.Generator) -> Stack:
        """Return a patch of an image or, with the share that is asked for, a simulated one."""
        if not epoch.simulated or rng.random() >= epoch.simulated:
            return self._patch(epoch, rng)
        return self._simulated(epoch, int(rng.integers(2**62)), rng)

    def _simulated(self, epoch: PatchEpochConfig, seed: int, rng: np.random.Generator) -> Stack:
        """Return a simulated patch, all of whose centres are known."""
        diameter = needed_diameter(self._config.predict.objects)
        look = draw_look(patch_looks(epoch, diameter), seed)
        plane = np.moveaxis(look.image, -1, 0) if look.image.ndim == 3 else look.image[None]
        target = look_target(look, diameter, _sigma(self._config)).astype(np.float32)
        heads = len(self.images[0].targets)
        parts = [prepare(plane, self._config.image), target[:heads], *([target[-1:]] * self._counts)]
        side = epoch.size or SMALLEST_LOOK
        pixels = np.ascontiguousarray(np.concatenate(parts)[:, :side, :side])
        return Stack(pixels, len(parts[0]), int(rng.integers(2**31)))

    def _patch(self, epoch: PatchEpochConfig, rng: np.random.Generator) -> Stack:
        members = self._by_field[rng.integers(len(self._by_field))]
        image = self.images[members[rng.integers(len(members))]]
        size = epoch.size or 128
        centre = None
        if rng.random() < epoch.on_bead and len(image.spots):
            centre = divmod(int(image.spots[rng.integers(len(image.spots))]), image.foreground.shape[1])
        return self._stack(crop(image, size, rng, centre, self._counts), image, rng)

    def _whole(self, image: TrainingImage, epoch: ImageEpochConfig, rng: np.random.Generator) -> Stack:
        return self._stack(crop(image, epoch.size, rng, None, self._counts), image, rng)

    def _stack(self, pixels: NDArray[np.float32], image: TrainingImage, rng: np.random.Generator) -> Stack:
        return Stack(pixels, len(image.image), int(rng.integers(2**31)))

    def _augmented(self, stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
        """Return image, targets and counted of a stack of all three, changed together."""
        pixels, channels = stack.pixels, stack.channels
        if not hasattr(self._by_thread, "augment"):  # an `Augmenter` belongs to one thread
            self._by_thread.augment = Augmenter(self._augment)
        image, target = self._by_thread.augment(
            torch.from_numpy(pixels[:channels]), torch.from_numpy(pixels[channels:]), stack.seed
        )
        return image, target[: -self._counts], target[-self._counts :]


def patch_looks(epoch: PatchEpochConfig, diameter: float) -> LookConfig:
    """Return the ranges of simulated patches: beads of about `diameter` px, dark or bright, mostly touching."""
    families: dict[Family, float] = {"dark": 0.7, "ring": 0.15, "opaque": 0.15}
    if epoch.looks == "bright":
        families = {"fluorescence": 0.4, "bright": 0.3, "ring": 0.15, "opaque": 0.15}
    return LookConfig(
        side=max(SMALLEST_LOOK, epoch.size or 0), families=families, empty=0.05,
        diameter=(0.8 * diameter, 1.25 * diameter),
        labelled=(0.5 * diameter, 2.1 * diameter), ignored=(0.35 * diameter, 2.9 * diameter),
        arrangements={"sparse": 0.1, "free": 0.2, "chains": 0.25, "clumps": 0.35, "packed": 0.1},
    )  # fmt: skip


def _sigma(config: TrainConfig) -> float:
    target = config.centre.target
    return target.sigma if isinstance(target, GaussianTargetConfig) else GaussianTargetConfig().sigma


def crop(
    image: TrainingImage, size: int, rng: np.random.Generator, centre: tuple[int, int] | None, counts: int = 1
) -> NDArray[np.float32]:
    """Return image channels, targets and counted as one (C + K + counts, Y, X) stack: a random `size` x `size` crop.

    With `centre` the crop lies around it, within a quarter of its side.
    An image smaller than the crop is padded: mirrored pixels, marked as not counted.
    """
    tops = []
    for axis, length in enumerate(image.foreground.shape):
        room = max(0, length - size)
        if centre is None:
            tops.append(int(rng.integers(room + 1)))
        else:
            jitter = int(rng.integers(-(size // 4), size // 4 + 1))
            tops.append(min(max(centre[axis] - size // 2 + jitter, 0), room))
    window = (slice(tops[0], tops[0] + size), slice(tops[1], tops[1] + size))
    parts: list[NDArray[Any]] = [
        image.image[(slice(None), *window)],
        *(target[window][None] for target in image.targets),
        *(counted[window][None] for counted in (image.counted, image.judged)[:counts]),
    ]
    patch = np.concatenate([part.astype(np.float32) for part in parts])
    missing = [(0, size - length) for length in patch.shape[1:]]
    if not any(after for _, after in missing):
        return patch
    padded = np.pad(patch, [(0, 0), *missing], mode="symmetric")
    padded[-counts:, patch.shape[1] :] = 0
    padded[-counts:, :, patch.shape[2] :] = 0
    return padded
