"""Images, annotations and predicted labels of folders as pictures that are read when they are looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.data.image_io import read_image, read_labels
from beadseg.data.lazy import open_image
from beadseg.widgets.io.layer_data import Picture, as_rgb

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.data.dataset import Sample


def image_picture(name: str, path: Path) -> Picture:
    """Return an image file as a picture; raises `ImageError` where it cannot be opened."""
    image = open_image(path)
    axes = image.axes
    example = as_rgb(np.broadcast_to(np.zeros(1, image.dtype), image.shape), axes)

    def read() -> NDArray[Any]:
        return as_rgb(read_image(path).data, axes)

    return Picture(name, example.shape, image.dtype, read)


def is_rgb(picture: Picture) -> bool:
    """Tell whether the last axis of a picture of an image holds colours."""
    return len(picture.shape) > 2 and picture.shape[-1] == 3


def size_of(picture: Picture) -> tuple[int, ...]:
    """Return the shape of the labels that belong to a picture."""
    return picture.shape[:-1] if is_rgb(picture) else picture.shape


def annotation_picture(sample: Sample, shape: tuple[int, ...]) -> Picture:
    """Return a sample's annotation as labels: its ids, or 1 on foreground; empty where it has none."""

    def read() -> NDArray[Any]:
        if sample.mask_path is None:
            return np.zeros(shape, np.uint32)
        mask = sample.read_mask()
        return mask.foreground.astype(np.uint32) if mask.labels is None else mask.labels

    return Picture(sample.name, shape, np.dtype(np.uint32), read)


def labels_picture(name: str, path: Path, shape: tuple[int, ...]) -> Picture:
    """Return a label file as a picture of the given shape."""

    def read() -> NDArray[Any]:
        labels = read_labels(path).labels
        return np.zeros(shape, np.uint32) if labels is None else labels

    return Picture(name, shape, np.dtype(np.uint32), read)
