"""Training images in memory: prepared once, cut into patches many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import psutil

from beadseg.errors import MachineError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.model.inputs import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from beadseg.config import ImageConfig
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
    counted : (Y, X) uint8
        0 where an ignore mask lies, 1 elsewhere.
    spots : (N,) uint32
        Flat indices of the foreground pixels, for patches that must show a bead.
    """

    name: str
    field: str
    image: NDArray[np.float32]
    foreground: NDArray[np.uint8]
    counted: NDArray[np.uint8]
    spots: NDArray[np.uint32]


def load_images(
    samples: Sequence[Sample], config: ImageConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> list[TrainingImage]:
    """Read and prepare every plane of `samples`.

    Raises
    ------
    ImageError
        One cannot be read.
    MachineError
        They do not fit into memory.
    """
    loaded: list[TrainingImage] = []
    room = MEMORY_SHARE * psutil.virtual_memory().available
    for sample in track(samples, "reading images", len(samples), on_event, stop):
        for image in _planes(sample, config):
            loaded.append(image)
            room -= image.image.nbytes + image.foreground.nbytes + image.counted.nbytes + image.spots.nbytes
        if room < 0:
            raise MachineError(
                f"{len(loaded)} of {len(samples)} samples fill {MEMORY_SHARE:.0%} of the free memory.",
                "training images",
                "Train on fewer or smaller images, or ask for more memory.",
            )
    return loaded


def _planes(sample: Sample, config: ImageConfig) -> Iterable[TrainingImage]:
    for plane, pixels, target in sample.planes():
        foreground = target.foreground
        counted = np.ones(foreground.shape, np.uint8) if target.ignore is None else (~target.ignore).astype(np.uint8)
        yield TrainingImage(
            name=f"{sample.name}/{plane}" if plane else sample.name,
            field=sample.field,
            image=prepare(pixels, config),
            foreground=foreground.astype(np.uint8),
            counted=counted,
            spots=np.flatnonzero(foreground & (counted > 0)).astype(np.uint32),
        )
