"""LabelMe's own files, one JSON per image, as the COCO document that they amount to.

Polygons, rectangles, circles and masks become objects; shapes of one ``group_id`` are one object. Points and lines have
no area and are listed as failures. https://github.com/wkentaro/labelme
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as PilImage

from beadseg.data.annotations import regions
from beadseg.data.annotations.regions import Failure, tight
from beadseg.data.scan import natural_key
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_Json = dict[str, Any]


def is_labelme(document: object) -> bool:
    """Tell whether a JSON document is a file of LabelMe."""
    return isinstance(document, dict) and isinstance(document.get("shapes"), list) and "imagePath" in document


def files_of(folder: Path) -> list[Path]:
    """Return the JSON files of a folder, in natural order; raises `InputError` where there are none."""
    found = [path for path in folder.iterdir() if path.suffix.lower() == ".json" and not path.name.startswith(".")]
    if not found:
        raise InputError("Holds no .json file.", folder, "Give a COCO file, or the folder of LabelMe's files.")
    return sorted(found, key=lambda path: natural_key(path.name))


def as_coco(paths: Iterable[Path]) -> tuple[_Json, list[Failure]]:
    """Return LabelMe's files as one COCO document, and what of them could not be used.

    Raises
    ------
    InputError
        None of the files is LabelMe's.
    """
    images: list[_Json] = []
    annotations: list[_Json] = []
    names: dict[str, int] = {}
    failures: list[Failure] = []
    first: Path | None = None
    for path in paths:
        first = first or path
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            document = None
        if not is_labelme(document):
            failures.append(Failure(path.name, "Is not a file of LabelMe."))
            continue
        number = len(images) + 1
        height, width = document.get("imageHeight"), document.get("imageWidth")
        images.append({"id": number, "file_name": _image_name(document, path), "height": height, "width": width})
        for annotation in _objects(document, path, (height, width), failures):
            key = names.setdefault(annotation.pop("label"), len(names) + 1)
            more = {"id": len(annotations) + 1, "image_id": number, "category_id": key, "iscrowd": 0}
            annotations.append({**more, **annotation})
    if not images:
        raise InputError("Is not a file of LabelMe.", first, "Give a COCO file, or the folder of LabelMe's files.")
    categories = [{"id": key, "name": name} for name, key in names.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, failures


def _image_name(document: _Json, path: Path) -> str:
    """Return the name of the image, without the folder that it was in on the computer where it was annotated."""
    name = document["imagePath"]
    return PureWindowsPath(name).name if isinstance(name, str) and PureWindowsPath(name).name else f"{path.stem}.png"


def _objects(document: _Json, path: Path, size: tuple[Any, Any], failures: list[Failure]) -> list[_Json]:
    """Return the annotations of one file; polygons of one group are one."""
    found: list[_Json] = []
    groups: dict[Any, _Json] = {}
    for number, shape in enumerate(document["shapes"]):
        try:
            annotation = _object(shape, size)
        except (
            InputError,
            AttributeError,
            KeyError,
            TypeError,
            ValueError,
            IndexError,
            binascii.Error,
            OSError,
        ) as error:
            what = error.what if isinstance(error, InputError) else f"cannot be read ({type(error).__name__})."
            failures.append(Failure(path.name, f"Shape {number} {what}"))
            continue
        group = None if shape.get("group_id") is None else str(shape["group_id"])
        known = groups.get((group, annotation["label"])) if group is not None else None
        if known is not None and isinstance(annotation.get("segmentation"), list):
            known["segmentation"] += annotation["segmentation"]
            continue
        found.append(annotation)
        if group is not None and isinstance(annotation.get("segmentation"), list):
            groups[group, annotation["label"]] = annotation
    return found


def _object(shape: _Json, size: tuple[Any, Any]) -> _Json:
    """Return one shape as an annotation with its label; raises `InputError` for one without area."""
    kind = shape.get("shape_type") or "polygon"
    label = {"label": str(shape.get("label"))}
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if kind == "polygon":
        return {**label, "segmentation": [[value for point in points for value in point]]}
    (x0, y0), (x1, y1) = points[0], points[-1]
    if kind == "rectangle":
        return {**label, "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]]}
    if kind == "circle":  # its centre and a point on it; a box is read as the ellipse inside
        radius = math.hypot(x1 - x0, y1 - y0)
        return {**label, "bbox": [x0 - radius, y0 - radius, 2 * radius, 2 * radius]}
    if kind == "mask":
        return {**label, "segmentation": _runs(shape["mask"], (round(y0), round(x0)), size)}
    raise InputError(f"is a {kind}, which has no area.")


def _runs(mask: str, corner: tuple[int, int], size: Sequence[Any]) -> _Json:
    """Return a mask, a PNG whose upper left corner lies at (row, column), as run lengths."""
    with PilImage.open(io.BytesIO(base64.b64decode(mask)), formats=("PNG",)) as image:
        pixels = np.array(image.convert("L")) > 0
    height, width = int(size[0]), int(size[1])
    top, left = corner
    full = np.zeros((height, width), bool)
    part = pixels[max(0, -top) : height - top, max(0, -left) : width - left]
    full[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]] = part
    region = tight(full)
    if region is None:
        raise InputError("covers no pixel of the image.")
    return {"size": [height, width], "counts": regions.encode_rle(region, (height, width))}
