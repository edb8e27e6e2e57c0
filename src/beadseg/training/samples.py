"""Training images in memory: prepared once, cut into patches many times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.model.inputs import prepare

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from beadseg.config import ImageConfig
    from beadseg.data.dataset import Sample


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
    spots : (N,) int64
        Flat indices of the foreground pixels, for patches that must show a bead.
    """

    name: str
    field: str
    image: NDArray[np.float32]
    foreground: NDArray[np.uint8]
    counted: NDArray[np.uint8]
    spots: NDArray[np.int64]


def load_images(
    samples: Sequence[Sample], config: ImageConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> list[TrainingImage]:
    """Read and prepare every plane of `samples`; raise `ImageError` for one that cannot be read."""
    loaded: list[TrainingImage] = []
    for sample in track(samples, "reading images", len(samples), on_event, stop):
        loaded.extend(_planes(sample, config))
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
            spots=np.flatnonzero(foreground & (counted > 0)),
        )
