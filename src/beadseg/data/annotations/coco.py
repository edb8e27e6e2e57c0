"""Read and write COCO instance annotations (https://cocodataset.org/#format-data), as annotation tools write them."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal, TextIO
from urllib.parse import unquote

import numpy as np

from beadseg.data.annotations import labelme, regions
from beadseg.data.annotations.regions import (
    MAX_ID,
    AnnotationSource,
    Entry,
    Failure,
    Instance,
    LabelledImage,
    Region,
    regions_of,
    tight,
)
from beadseg.data.fields import listed
from beadseg.data.image_io import plane_names
from beadseg.data.raw import plausible_pixel_size
from beadseg.data.scan import stem_of
from beadseg.errors import InputError
from beadseg.files import write_atomically
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from beadseg.data.annotations.regions import Instances
    from beadseg.data.image_io import LazyImage

Crowd = Literal["auto", "ignore", "objects"]
"""What ``iscrowd: 1`` means; ``auto``: ignored, except in files of CVAT."""

LABEL_ID, PLANE, PIXEL_SIZE = "label_id", "plane", "pixel_size_um"
"""What beadseg adds: an attribute of annotations, and two fields of images (see `coco_write`)."""

_Json = dict[str, Any]

CATEGORY = "bead"
"""Name of the category when none is given."""


def read_coco(path: Path, categories: Sequence[str] = (), crowd: Crowd = "auto") -> AnnotationSource:
    """Read a COCO file.

    Parameters
    ----------
    path : pathlib.Path
        The JSON file; or a file of LabelMe, or a folder of them. It is read as a whole.
    categories : sequence of str
        Names of the categories to take; all when empty.
    crowd : {"auto", "ignore", "objects"}
        What ``iscrowd: 1`` means, see the module.

    Returns
    -------
    AnnotationSource
        One entry per image file, also for images without annotations.

    Raises
    ------
    InputError
        The file is missing or no COCO file, has no category of that name, or all its annotations belong to images
        that are not in it.
    """
    if not all(name.strip() for name in categories):
        raise InputError("The name of the category is empty.", "--category", "Give a name, or leave the option out.")
    document, unread = _document(path)
    images, failures = _images(document, path)
    failures += unread
    chosen, note, unlisted = _categories(document, categories, path)
    failures += unlisted
    by_image: dict[Any, list[_Json]] = {image["id"]: [] for image in images}
    disputed = _disputed(document)
    belonging = 0
    for annotation in document["annotations"]:
        image = _key(annotation.get("image_id")) if isinstance(annotation, dict) else None
        if image in disputed:
            disputed[image] += 1
            continue
        if image not in by_image:
            failures.append(Failure(path.name, f"{_called(annotation)} belongs to no image of the file."))
            continue
        belonging += 1
        if not _has_category(annotation):
            failures.append(Failure(path.name, f"{_called(annotation)}: Its category_id is neither number nor text."))
        elif _key(annotation.get("category_id")) in chosen:
            by_image[image].append(annotation)
    failures += [
        Failure(path.name, f"{plural(count, 'annotation')} of the image id {key} left out: several images have it.")
        for key, count in disputed.items()
        if count
    ]
    if document["annotations"] and not belonging and not any(disputed.values()):
        first = f" The first failure: {failures[0]}" if failures else ""
        text = f"None of its annotations belongs to an image of the file.{first}"
        raise InputError(text, path, "Check image_id of its annotations and id of its images.")
    taken = [annotation for some in by_image.values() for annotation in some]
    ignored, crowds = _crowd_is_ignored(taken, crowd)
    notes = [note, *crowds, *_box_note(taken)]
    return AnnotationSource(list(_entries(images, by_image, ignored, failures)), failures, notes)


def _document(path: Path) -> tuple[dict[str, list[Any]], list[Failure]]:
    """Return the COCO document of a file, or of LabelMe's file or folder, and what of that could not be used."""
    if path.is_dir():
        return labelme.as_coco(labelme.files_of(path))
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except OSError as error:
        raise InputError(f"Cannot be read: {error.strerror}.", path, "Check the path.") from None
    except (ValueError, RecursionError) as error:
        if zipfile.is_zipfile(path):
            remedy = "Extract it, and give the JSON file in it."
            raise InputError("Is a zip file, not the JSON file in it.", path, remedy) from None
        raise InputError(f"Is not JSON ({error}).", path, "Export it again.") from None
    remedy = "Export it as COCO (instances): one file with images, annotations and categories."
    if labelme.is_labelme(document):
        return labelme.as_coco([path])
    other = _other_program(document)
    if other:
        raise InputError(f"Is not COCO but {other}.", path, remedy)
    if not isinstance(document, dict):
        raise InputError("Is not a COCO file.", path, remedy)
    document.setdefault("categories", [])  # without any, all annotations are of one category without a name
    for part in ("images", "annotations", "categories"):
        if not isinstance(document.get(part), list):
            raise InputError(f"Is not a COCO file of instances: it has no list {part!r}.", path, remedy)
    return document, []


def _other_program(document: object) -> str:
    """Return which other format a JSON file is in, in words; empty where that is not known."""
    first = document[0] if isinstance(document, list) and document else document
    if not isinstance(first, dict):
        return ""
    keys = set(first)
    known = {
        "the format of VIA (VGG Image Annotator)": ({"_via_img_metadata"}, {"filename", "regions"}),
        "a GeoJSON export, as of QuPath": ({"type", "features"}, {"type", "geometry"}),
        "a Label Studio export": ({"annotations", "data"},),
        "a Supervisely file": ({"objects", "size"},),
        "a list of COCO results, without images and categories": ({"image_id", "category_id"},),
    }
    for name, marks in known.items():
        if any(mark <= keys for mark in marks):
            return name
    inner = next(iter(first.values()), None)
    if isinstance(inner, dict) and {"filename", "regions"} <= set(inner):
        return "the format of VIA (VGG Image Annotator)"
    return ""


def _images(document: _Json, path: Path) -> tuple[list[_Json], list[Failure]]:
    """Return the images that can be looked for, and what is wrong with the others."""
    images: list[_Json] = []
    failures: list[Failure] = []
    named: dict[Any, list[str]] = {}
    for image in document["images"]:
        if isinstance(image, dict) and _key(image.get("id")) is not None:
            named.setdefault(_key(image["id"]), []).append(str(image.get("file_name")))
    for number, image in enumerate(document["images"]):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not _basename(image):
            failures.append(Failure(path.name, f"Image {number} of its list has no file_name."))
            continue
        key = _key(image.get("id"))
        if key is None:
            failures.append(Failure(image["file_name"], "Has no id."))
        elif len(named[key]) > 1:
            text = f"Its id, {key}, is that of {len(named[key])} images ({listed(named[key])}): none of them was taken."
            failures.append(Failure(image["file_name"], text))
        elif not all(_is_size(image.get(side)) for side in ("height", "width")):
            failures.append(Failure(image["file_name"], "Its height or width is not a whole number."))
        else:
            images.append({**image, "id": key})
    return images, failures


def _is_size(value: object) -> bool:
    """Tell whether a height or width is one, or is not given: some programs leave it out, or write 0."""
    key = _key(value)
    return value is None or (isinstance(key, int) and key >= 0)


def _disputed(document: _Json) -> dict[Any, int]:
    """Return the ids that several images have, each with 0."""
    ids = Counter(_key(image.get("id")) for image in document["images"] if isinstance(image, dict))
    return {key: 0 for key, count in ids.items() if key is not None and count > 1}


def _basename(image: _Json) -> str:
    """Return the last part of the file name, whichever way its slashes lean."""
    return PureWindowsPath(image["file_name"]).name


def _key(value: object) -> int | str | None:
    """Return an id; some programs write whole numbers as 1.0 or as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | str) else None


def _has_category(annotation: object) -> bool:
    """Tell whether an annotation has a usable category, or none at all, which is taken as one without a name."""
    if not isinstance(annotation, dict):
        return False
    value = annotation.get("category_id")
    return value is None or _key(value) is not None


def _called(annotation: object) -> str:
    return (
        f"Annotation {annotation.get('id')}" if isinstance(annotation, dict) else "An annotation that is not an object"
    )


def _categories(document: _Json, wanted: Sequence[str], path: Path) -> tuple[set[Any], str, list[Failure]]:
    """Return the ids of the categories taken, a sentence that names them with their numbers, and ids without a name."""
    names: dict[Any, str] = {}
    for item in document["categories"]:
        key = _key(item.get("id")) if isinstance(item, dict) else None
        name = str(item.get("name") or f"(unnamed {key})") if key is not None else ""
        if key is not None and names.setdefault(key, name) != name:
            text = f"Its categories {names[key]!r} and {name!r} have the same id, {key}."
            raise InputError(text, path, "Give each category an id of its own.")
    known = bool(names)
    used = Counter(_key(item.get("category_id")) for item in document["annotations"] if _has_category(item))
    unlisted = [key for key in used if key not in names]
    names.update({key: "(no category)" if key is None else f"(unlisted {key})" for key in unlisted})
    unknown = sorted(set(wanted) - set(names.values()))
    if unknown:
        others = ", ".join(sorted(set(names.values()))) or "none"
        raise InputError(f"Has no category {unknown[0]!r}.", path, f"Its categories: {others}.")
    chosen = {key for key, name in names.items() if not wanted or name in wanted}
    taken = ", ".join(f"{names[key]} ({used[key]})" for key in names if key in chosen) or "none"
    rest = ", ".join(f"{names[key]} ({used[key]})" for key in names if key not in chosen)
    if used and not any(used[key] for key in chosen):
        text = f"None of its annotations is of the category {', '.join(wanted)}: they are of {rest}."
        raise InputError(text, path, "Give another --category, or leave the option out to take all.")
    failures = [
        Failure(path.name, f"{plural(used[key], 'annotation')} of the category id {key}, which its list of categories "
                f"lacks: {'taken' if key in chosen else 'left out'}.")
        for key in unlisted if known and key is not None
    ]  # fmt: skip
    return chosen, f"Categories taken: {taken}." + (f" Left out: {rest}." if rest else ""), failures


def _crowd_is_ignored(annotations: Iterable[_Json], crowd: Crowd) -> tuple[bool, list[str]]:
    """Tell whether crowds are to be ignored, and say so where there are some."""
    flagged = from_cvat = 0
    for annotation in annotations:
        flagged += _is_crowd(annotation)
        from_cvat += isinstance(annotation.get("attributes"), dict) and "occluded" in annotation["attributes"]
    ignored = crowd == "ignore" or (crowd == "auto" and not from_cvat)
    if not flagged:
        return ignored, []
    if ignored:
        return True, [f"Turned into ignore masks: {plural(flagged, 'crowd annotation')} (iscrowd)."]
    why = "" if crowd == "objects" else " CVAT, which wrote the file, flags all its masks so (--crowd ignore if not)."
    return False, [f"Taken as objects: {plural(flagged, 'annotation')} with the flag iscrowd.{why}"]


def _is_crowd(annotation: _Json) -> bool:
    """Tell whether an annotation is flagged as a crowd; some programs write the flag as text."""
    return annotation.get("iscrowd") not in (None, False, 0, "", "0", "0.0", "false", "False")


def _box_note(annotations: Iterable[_Json]) -> list[str]:
    boxes = sum(_is_box(annotation) and not _is_crowd(annotation) for annotation in annotations)
    text = f"{plural(boxes, 'annotation is a box', 'annotations are boxes')} without an outline"
    return [f"{text}: the inscribed ellipse was taken."] if boxes else []


def _entries(
    images: list[_Json], by_image: dict[Any, list[_Json]], ignored: bool, failures: list[Failure]
) -> Iterable[Entry]:
    """Yield one entry per image file: the planes of a stack are images of one file name."""
    groups: dict[str, list[_Json]] = {}
    for image in images:
        groups.setdefault(image["file_name"], []).append(image)
    for file_name, group in groups.items():
        first = group[0]
        kept = {str(image.get(PLANE) or ""): image for image in reversed(group)}
        if len(kept) < len(group):
            failures.append(Failure(file_name, "Is listed more than once; the first was taken."))
        planes = {plane: by_image.pop(image["id"]) for plane, image in kept.items()}
        yield Entry(
            file_name,
            _names(file_name, _basename(first)),
            partial(_draw, planes=planes, file_name=file_name, ignored=ignored),
            _size(first),
            _pixel_size(first),
        )


def _names(file_name: str, basename: str) -> tuple[str, ...]:
    """Return the names under which an image is looked for; Label Studio escapes them and puts 8 digits before them."""
    plain = re.sub(r"^[0-9a-f]{8}-", "", unquote(basename))
    stems = (stem_of(Path(basename)), stem_of(Path(plain)))
    return tuple(dict.fromkeys((file_name, PureWindowsPath(file_name).as_posix(), basename, plain, *stems)))


def _size(image: _Json) -> tuple[int, int] | None:
    """Return height and width that the file gives; None where it leaves them out."""
    height, width = _key(image.get("height")), _key(image.get("width"))
    return (int(height), int(width)) if height and width else None


def _pixel_size(image: _Json) -> float | None:
    value = image.get(PIXEL_SIZE)
    return plausible_pixel_size(value, value) if isinstance(value, int | float) else None


def _draw(image: LazyImage, planes: dict[str, list[_Json]], file_name: str, ignored: bool) -> Instances:
    """Return the instances of all planes of an image file."""
    known = image.names
    instances: list[Instance] = []
    failures: list[Failure] = []
    for plane, drawn in planes.items():
        if plane not in known:
            what = f"plane {plane!r}" if plane else "no plane that its annotations are of"
            raise InputError(f"Has {len(known)} planes, but {what} in the annotations.", file_name, "Name its planes.")
        for annotation in drawn:
            what = _called(annotation)
            try:
                region = _region(annotation, image.size)
            except InputError as error:
                failures.append(Failure(file_name, f"{what}: {error.what}"))
                continue
            if region is None:
                failures.append(Failure(file_name, f"{what} covers no pixel of the image."))
                continue
            hidden = ignored and _is_crowd(annotation)
            instances.append(Instance(region, what, _label_id(annotation), known.index(plane), hidden))
    return instances, failures


def _region(annotation: _Json, size: tuple[int, int]) -> Region | None:
    segmentation = annotation.get("segmentation")
    try:
        if _is_box(annotation):
            return _from_box(annotation, size)
        if isinstance(segmentation, dict):
            return _from_runs(segmentation, size)
        if isinstance(segmentation, list):
            nested = segmentation if isinstance(segmentation[0], list) else [segmentation]
            return regions.union([_from_ring(ring, size) for ring in nested])
    except (TypeError, ValueError, OverflowError):
        raise InputError("Its outline holds something other than numbers.") from None
    raise InputError("Its outline is neither polygons nor run lengths.")


def _is_box(annotation: _Json) -> bool:
    """Tell whether an annotation has no outline, not even an unusable one."""
    return annotation.get("segmentation") in (None, [], {})


def _from_runs(segmentation: _Json, size: tuple[int, int]) -> Region | None:
    if segmentation.get("size") != list(size):
        text = f"Its run lengths are for an image of {segmentation.get('size')}, the image has {list(size)}."
        raise InputError(text)
    counts = segmentation.get("counts")
    if not isinstance(counts, str | list):
        raise InputError("Has no run lengths.")
    return regions.decode_rle(counts, size)


def _from_ring(ring: list[float], size: tuple[int, int]) -> Region | None:
    if len(ring) % 2:
        raise InputError(f"Has an outline of {len(ring)} numbers, which are not pairs of x and y.")
    return regions.filled_polygon([ring], size)


def _from_box(annotation: _Json, size: tuple[int, int]) -> Region | None:
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise InputError("Has neither an outline nor a box.")
    attributes = annotation.get("attributes")
    rotation = attributes.get("rotation", 0) if isinstance(attributes, dict) else 0
    x, y, width, height = (float(value) for value in box)
    return regions.filled_ellipse((x + width / 2, y + height / 2), (width / 2, height / 2), float(rotation), size)


def _label_id(annotation: _Json) -> int | None:
    attributes = annotation.get("attributes")
    value = attributes.get(LABEL_ID) if isinstance(attributes, dict) else None
    return value if isinstance(value, int) and 1 <= value <= MAX_ID else None


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
        segmentation = {"size": list(size), "counts": regions.encode_rle(region, size)}
    box = [region.left, region.top, width, height]
    return {"segmentation": segmentation, "area": region.area, "bbox": box}


def _outlines(region: Region) -> Any:
    """Return the outlines as flat lists x, y, x, y …; None where there is a hole."""
    rings = regions.rings_of(region)
    if any(_is_hole(ring) for ring in rings):
        return None
    return [ring.ravel().tolist() for ring in rings]


def _is_hole(ring: NDArray[np.int64]) -> bool:
    """Tell by its direction whether a ring encloses a hole (shoelace formula; y points down)."""
    x, y = ring[:, 0], ring[:, 1]
    return bool(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) < 0)
