"""Training images in memory: prepared once, cut into patches many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from beadseg.data.dataset import Target
from beadseg.errors import MachineError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.appearance import PixelStats
from beadseg.measure.score import visible_objects
from beadseg.model.inputs import prepare, resized
from beadseg.training.targets import centre_map, centres, instances

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Sample


MEMORY_SHARE = 0.8
"""Training images may take up this share of the free memory."""


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """One annotated plane, ready for the network.

    Attributes
    ----------
    name : str
        Sample name, with the plane's name behind a slash in a stack.
    field : str
        Field of view.
    image : (C, Y, X) float32
        Prepared (normalised) image.
    foreground : (Y, X) uint8
        1 on beads.
    beads : (N, 2) float32
        (y, x) of the centre of every bead, px; of a mask without ids, of its parts.
    counted : (Y, X) uint8
        0 where an ignore mask lies, 1 elsewhere.
    spots : (N,) uint32
        Flat indices of the foreground pixels, for patches that must show a bead.
    centre : (Y, X) float16, optional
        The centre map to learn, for networks with such a head.
    pixels : PixelStats, optional
        The values in the file, for comparison with images that are predicted.
    """

    name: str
    field: str
    image: NDArray[np.float32]
    foreground: NDArray[np.uint8]
    beads: NDArray[np.float32]
    counted: NDArray[np.uint8]
    spots: NDArray[np.uint32]
    centre: NDArray[np.float16] | None = None
    pixels: PixelStats | None = None

    @property
    def targets(self) -> list[NDArray[Any]]:
        """One (Y, X) map per head of the network, in its order."""
        return [self.foreground] if self.centre is None else [self.foreground, self.centre]

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, bytes."""
        parts: list[NDArray[Any]] = [self.image, self.counted, self.spots, self.beads, *self.targets]
        return sum(part.nbytes for part in parts)


def load_images(
    samples: Sequence[Sample],
    config: TrainConfig,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    sharing: int = 1,
) -> list[TrainingImage]:
    """Read and prepare every plane of `samples` for a network with the heads of `config`, which must be complete.

    The memory is divided among `sharing` processes of this machine that all do so.

    Raises
    ------
    ImageError
        One cannot be read.
    MachineError
        They do not fit into memory.
    """
    loaded: list[TrainingImage] = []
    room = MEMORY_SHARE * psutil.virtual_memory().available / sharing
    for sample in track(samples, "reading images", len(samples), on_event, stop):
        for image in _planes(sample, config):
            loaded.append(image)
            room -= image.nbytes
        if room < 0:
            raise MachineError(
                f"{len(loaded)} of {len(samples)} samples fill {MEMORY_SHARE / sharing:.0%} of the free memory.",
                "training images",
                "Train on fewer or smaller images, or ask for more memory.",
            )
    return loaded


def _planes(sample: Sample, config: TrainConfig) -> Iterable[TrainingImage]:
    objects = config.predict.objects
    for plane, pixels, target in sample.planes():
        pixels, target = _seen(pixels, target, config)
        foreground = target.foreground
        counted = np.ones(foreground.shape, np.uint8) if target.ignore is None else (~target.ignore).astype(np.uint8)
        labels = instances(target, objects)
        with_centre = "centre" in config.network.heads
        yield TrainingImage(
            name=f"{sample.name}/{plane}" if plane else sample.name,
            field=sample.field,
            image=prepare(pixels, config.image),
            foreground=foreground.astype(np.uint8),
            beads=centres(visible_objects(labels > 0, labels, target.ignore)),
            counted=counted,
            spots=np.flatnonzero(foreground & (counted > 0)).astype(np.uint32),
            centre=centre_map(labels, config.centre.target, objects) if with_centre else None,
            pixels=PixelStats.of(pixels, config.image),
        )


def _seen(pixels: NDArray[np.generic], target: Target, config: TrainConfig) -> tuple[NDArray[np.generic], Target]:
    """Return a plane and its annotation as the network sees them: resampled where beads have a size for it."""
    known, diameter = config.image.bead_px, config.predict.size.diameter
    if known is None or diameter is None:
        return pixels, target
    small = resized(pixels, known / diameter)
    rows, columns = (
        ((np.arange(now) + 0.5) * before / now).astype(np.int64)
        for now, before in zip(small.shape[-2:], pixels.shape[-2:], strict=True)
    )
    labels, ignore = (None if part is None else part[rows][:, columns] for part in (target.labels, target.ignore))
    return small, Target(target.foreground[rows][:, columns], labels, ignore)
