"""Label images with everything that an outline can get wrong, and the way through the importer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from beadseg.data.annotations.importing import ImportResult, import_annotations
from beadseg.data.annotations.regions import AnnotationSource, LabelledImage
from beadseg.data.dataset import Dataset


def hard_labels(seed: int = 0, shape: tuple[int, int] = (41, 53)) -> NDArray[np.uint32]:
    """Blots of random pixels: touching, in pieces, with holes, joined at corners only, at the border, large ids."""
    random = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number in (*range(1, 40), 70_000, 4_000_000_000):
        top, left = random.integers(-3, shape[0]), random.integers(-3, shape[1])
        rows, columns = slice(max(top, 0), max(top + 7, 0)), slice(max(left, 0), max(left + 7, 0))
        view = labels[rows, columns]
        view[random.random(view.shape) < random.choice([0.3, 0.7, 1.0])] = number
    return labels


def special_labels() -> NDArray[np.uint32]:
    """A ring with an island, a diagonal, two pieces, a single pixel, and the four corners."""
    labels = np.zeros((24, 30), np.uint32)
    labels[2:9, 2:9] = 5
    labels[4:7, 4:7] = 0
    labels[5, 5] = 5
    labels[np.arange(12, 18), np.arange(3, 9)] = 66_000
    labels[12:15, 14:17] = labels[18:20, 20:27] = 7
    labels[3, 20] = 9
    labels[0, 0] = labels[0, -1] = labels[-1, 0] = 12
    labels[-1, -1] = 2**32 - 1
    return labels


def labelled(labels: NDArray[np.uint32], name: str = "a", axes: str = "YX", **more: object) -> LabelledImage:
    return LabelledImage(name, f"{name}.tif", labels, axes, **more)  # type: ignore[arg-type]


def write_images(folder: Path, *names: str, shape: tuple[int, ...] = (24, 30), axes: str = "YX") -> Path:
    folder.mkdir(exist_ok=True)
    image = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    for name in names:
        tifffile.imwrite(folder / f"{name}.tif", image, metadata={"axes": axes}, photometric="minisblack")
    return folder


def imported(source: AnnotationSource, images: Path, out: Path) -> tuple[ImportResult, Dataset]:
    result = import_annotations(source, images, out)
    return result, Dataset.open(out)


def labels_in(dataset: Dataset, name: str = "a") -> NDArray[np.uint32]:
    """Return the labels as the file holds them: read as annotations, blots in pieces would be refused."""
    path = dataset[name].mask_path
    assert path is not None
    return np.asarray(tifffile.imread(path))
