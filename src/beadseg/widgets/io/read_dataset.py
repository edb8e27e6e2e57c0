"""A dataset folder as layers: its images, and its annotations over them; samples of one size are one stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.data.dataset import Dataset, natural_key
from beadseg.data.raw import IMAGE_SUFFIXES
from beadseg.widgets.io.layer_data import LayerData, grouped, named, stacked, title
from beadseg.widgets.io.pictures import annotation_picture, image_picture, is_rgb, size_of

if TYPE_CHECKING:
    from pathlib import Path


def read_dataset(root: Path) -> list[LayerData]:
    """Return the layers of a dataset folder; samples are read when they are looked at.

    Raises
    ------
    InputError
        It holds no image that can be used.
    ImageError
        An image cannot be opened.
    """
    return sample_layers(Dataset.open(root, require_masks=False))


def sample_layers(dataset: Dataset) -> list[LayerData]:
    """Return images and annotations of a dataset's samples."""
    layers: list[LayerData] = []
    for group in grouped(image_picture(sample.name, sample.image_path) for sample in dataset):
        annotations = [annotation_picture(dataset[picture.name], size_of(picture)) for picture in group]
        metadata = named(group, dataset.root)
        shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": metadata}
        kind = {"beadseg": {**metadata["beadseg"], "kind": "annotation"}}
        over = {"name": title(group, "annotation"), "opacity": 0.6, "metadata": kind}
        layers += [(stacked(group), shown, "image"), (stacked(annotations), over, "labels")]
    return layers


def read_images(folder: Path) -> list[LayerData]:
    """Return the images of a folder that is no dataset as layers; those of one size are one stack.

    Raises
    ------
    ImageError
        An image cannot be opened.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    paths = sorted(found, key=lambda path: natural_key(path.name))
    layers: list[LayerData] = []
    for group in grouped(image_picture(path.stem, path) for path in paths):
        shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": named(group, folder)}
        layers.append((stacked(group), shown, "image"))
    return layers
