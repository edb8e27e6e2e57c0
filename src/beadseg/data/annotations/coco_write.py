"""Write labels as COCO instance annotations.

Every object is one annotation; its pixels are compressed run lengths, which hold any shape without loss, or, on
request, outlines along the pixel edges, which enclose exactly the same pixels (objects with holes keep run lengths,
since COCO's polygons know no holes). Beside COCO's own fields an annotation has ``attributes.label_id``, its id in the
label image, and an image ``pixel_size_um`` where it is known and ``plane`` where it is one plane of a stack. Ignore
masks become crowds.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from beadseg.data.annotations import outlines, rle
from beadseg.data.annotations.coco_read import LABEL_ID, PIXEL_SIZE, PLANE
from beadseg.data.annotations.model import LabelledImage, Region, regions_of, tight
from beadseg.data.image_io import plane_names
from beadseg.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

CATEGORY = "bead"
"""Name of the category when none is given."""


def write_coco(
    path: Path, samples: Iterable[LabelledImage], *, category: str = CATEGORY, polygons: bool = False
) -> None:
    """Write one COCO file of all samples; they are taken one by one and not kept.

    Parameters
    ----------
    path : pathlib.Path
        The JSON file.
    samples : iterable of LabelledImage
        The labels. A plane of a stack is an image of its own, with the stack's file name.
    category : str
        Name of the only category.
    polygons : bool
        Outlines instead of run lengths, where the object has no hole.

    Raises
    ------
    MachineError
        The file cannot be written.
    """

    def fill(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            _write(file, samples, category, polygons)

    write_atomically(path, fill)


def _write(file: TextIO, samples: Iterable[LabelledImage], category: str, polygons: bool) -> None:
    images: list[str] = []
    head = {
        "info": {"description": "Instance labels written by beadseg", "version": "1.0"},
        "licenses": [],
        "categories": [{"id": 1, "name": category, "supercategory": ""}],
    }
    file.write(f'{json.dumps(head)[:-1]}, "annotations": [')
    number = 0
    for sample in samples:
        for plane, (labels, ignore) in zip(_planes(sample), sample.planes(), strict=True):
            images.append(json.dumps(_image(sample, plane, len(images) + 1)))
            for annotation in _annotations(labels, ignore, polygons):
                number += 1
                row = {"id": number, "image_id": len(images), "category_id": 1, **annotation}
                file.write(("\n" if number == 1 else ",\n") + json.dumps(row))
    file.write('\n], "images": [\n' + ",\n".join(images) + "\n]}\n")


def _planes(sample: LabelledImage) -> list[str]:
    return plane_names(sample.axes, sample.labels.shape[:-2])


def _image(sample: LabelledImage, plane: str, number: int) -> dict[str, Any]:
    height, width = sample.labels.shape[-2:]
    image: dict[str, Any] = {"id": number, "file_name": sample.file_name, "height": height, "width": width}
    if plane:
        image[PLANE] = plane
    if sample.pixel_size_um is not None:
        image[PIXEL_SIZE] = sample.pixel_size_um
    return image


def _annotations(
    labels: NDArray[np.uint32], ignore: NDArray[np.bool_] | None, polygons: bool
) -> Iterator[dict[str, Any]]:
    height, width = labels.shape
    for number, region in regions_of(labels):
        described = _annotation(region, (height, width), polygons)
        yield {**described, "iscrowd": 0, "attributes": {LABEL_ID: number}}
    hidden = None if ignore is None else tight(ignore)
    if hidden is not None:
        yield {**_annotation(hidden, (height, width), polygons=False), "iscrowd": 1}


def _annotation(region: Region, size: tuple[int, int], polygons: bool) -> dict[str, Any]:
    height, width = region.mask.shape
    segmentation = _outlines(region) if polygons else None
    if segmentation is None:
        segmentation = {"size": list(size), "counts": rle.encode(region, size)}
    box = [region.left, region.top, width, height]
    return {"segmentation": segmentation, "area": region.area, "bbox": box}


def _outlines(region: Region) -> Any:
    """Return the outlines as flat lists x, y, x, y …; None where there is a hole."""
    rings = outlines.rings(region)
    if any(_is_hole(ring) for ring in rings):
        return None
    return [ring.ravel().tolist() for ring in rings]


def _is_hole(ring: NDArray[np.int64]) -> bool:
    """Tell by its direction whether a ring encloses a hole (shoelace formula; y points down)."""
    x, y = ring[:, 0], ring[:, 1]
    return bool(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0)
