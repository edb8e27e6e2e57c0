"""Read Fiji's ROIs: one ``.zip`` of the ROI Manager, or one ``.roi`` file, per image, matched by stem.

A ROI called ``bead-00012`` becomes the object 12, one whose name begins with ``ignore`` part of the ignore mask; all
others get the free numbers in their order. In a stack a ROI belongs to the plane of its position.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations import shapes
from beadseg.data.annotations.fiji_files import read_rois
from beadseg.data.annotations.fiji_shapes import area, is_point, points
from beadseg.data.annotations.model import MAX_ID, AnnotationSource, Entry, Failure, Instance
from beadseg.data.dataset import natural_key
from beadseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from roifile import ImagejRoi

    from beadseg.data.annotations.model import Instances, Region
    from beadseg.data.lazy import LazyImage

SUFFIXES = (".zip", ".roi")
"""Suffixes of ROI files, in lower case."""

_ID = re.compile(r"bead-([0-9]{1,10})(?:[-_].*)?")
_IGNORE = re.compile(r"ignore(?:[-_].*)?")
_ROI_SET = re.compile(r"^(?:roiset|rois?)[-_ ]+|[-_ .]+(?:roiset|rois?)$", re.IGNORECASE)
_SLICE_IN_NAME = re.compile(r"([0-9]{4})-[0-9]{4}-[0-9]{4}|([0-9]{5})-[0-9]{5}-[0-9]{5}|([0-9]{6})-[0-9]{6}-[0-9]{6}")


def read_fiji_rois(path: Path, diameter_px: float | None = None) -> AnnotationSource:
    """Read a ROI file, or all of a folder.

    Parameters
    ----------
    path : pathlib.Path
        A ``.zip`` or ``.roi`` file, or a folder of them. ``a.zip``, ``RoiSet_a.zip`` and ``a_rois.zip`` are looked for
        as the image ``a``.
    diameter_px : float, optional
        Diameter that point ROIs stand for; without it they are listed as failures.

    Returns
    -------
    AnnotationSource
        One entry per file; the file is read when it is drawn.

    Raises
    ------
    InputError
        There is no such file, or no ROI file in the folder; or the diameter is not positive.
    """
    if diameter_px is not None and not 0 < diameter_px < shapes.MAX_COORDINATE:
        raise InputError(f"A diameter of {diameter_px:g} px is impossible.", "--diameter", "Give that of a bead in px.")
    files = _files(path)
    return AnnotationSource([_entry(file, diameter_px) for file in files])


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputError("No such file or folder.", path, "Check the path.")
    if not path.is_dir():
        if path.suffix.lower() not in SUFFIXES:
            raise InputError(
                "Is not an ROI file.", path, "Give a .zip or .roi file that Fiji saved, or a folder of them."
            )
        return [path]
    found = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    if not found:
        raise InputError("Holds no .zip and no .roi file.", path, "Give the folder that Fiji's ROIs were saved in.")
    return sorted(found, key=lambda file: natural_key(file.name))


def _entry(path: Path, diameter_px: float | None) -> Entry:
    names = (path.stem, _ROI_SET.sub("", path.stem))
    return Entry(path.name, tuple(dict.fromkeys(names)), partial(_draw, path=path, diameter_px=diameter_px))


def _draw(image: LazyImage, path: Path, diameter_px: float | None) -> Instances:
    """Return the instances of one file as pixels of `image`."""
    if image.turned:
        text = "Its image has an orientation tag (EXIF), which Fiji does not follow: the ROIs would lie wrong."
        raise InputError(text, remedy="Save the image without the tag, as Fiji shows it, and import again.")
    instances: list[Instance] = []
    failures: list[Failure] = []
    for name, roi in read_rois(path):
        what = f"ROI {name}"
        try:
            if isinstance(roi, InputError):
                raise roi
            found = _instances(roi, name, image, diameter_px)
        except InputError as error:
            remedy = f" {error.remedy}" if error.remedy else ""
            failures.append(Failure(path.name, f"{what}: {error.what}{remedy}"))
            continue
        instances += [instance for instance in found if instance is not None]
        if None in found:
            outside = "covers no pixel of the image."
            failures.append(Failure(path.name, f"{what} {outside}"))
    return instances, failures


def _instances(roi: ImagejRoi, name: str, image: LazyImage, diameter_px: float | None) -> list[Instance | None]:
    """Return the objects of a ROI: one, or one per point; None for each that covers no pixel."""
    if not is_point(roi):
        hidden = _IGNORE.fullmatch(name) is not None
        plane = _plane(roi, roi.position, name, image)
        return [_instance(area(roi, image.size), f"ROI {name}", plane, _id(name), hidden)]
    if diameter_px is None:
        raise InputError("Is a point, which has no size.", remedy="Say how large a bead is (--diameter, px).")
    found = []
    for number, (x, y) in enumerate(points(roi).tolist(), start=1):
        slices = roi.counter_positions
        position = roi.position if slices is None or not slices[number - 1] else int(slices[number - 1])
        disc = shapes.ellipse((x, y), (diameter_px / 2, diameter_px / 2), 0.0, image.size)
        plane = _plane(roi, position, name, image)
        found.append(_instance(disc, f"point {number} of ROI {name}", plane, None, False))
    return found


def _instance(region: Region | None, what: str, plane: int, number: int | None, ignore: bool) -> Instance | None:
    return None if region is None else Instance(region, what, number, plane, ignore)


def _id(name: str) -> int | None:
    found = _ID.fullmatch(name)
    return int(found[1]) if found and 1 <= int(found[1]) <= MAX_ID else None


def _plane(roi: ImagejRoi, position: int, name: str, image: LazyImage) -> int:
    """Return the index of the plane that a ROI belongs to; raises `InputError` where it has none."""
    lengths = image.stack_shape
    count = int(np.prod(lengths, dtype=int))
    if count == 1:
        return 0
    z, t = roi.z_position, roi.t_position
    if z > 0 or t > 0:
        # In a stack of one axis, ImageJ and the file may disagree on whether it is time or depth.
        index = (max(t, 1) - 1) * lengths[1] + max(z, 1) - 1 if len(lengths) == 2 else max(z, t) - 1
        fits = (t <= lengths[0] and z <= lengths[1]) if len(lengths) == 2 else min(z, t) <= 1
    else:
        slice_number = position if position > 0 else _slice_in(name)
        is_rgb = image.channels == 3 and image.dtype == np.uint8
        index = (slice_number - 1) // (1 if is_rgb else image.channels)
        fits = True
        if slice_number <= 0:
            raise InputError(f"Has no position in the stack of {count} planes.", remedy="Set it in Fiji (Properties).")
    if not fits or index >= count:
        raise InputError(f"Its position lies outside of the stack of {count} planes.")
    return index


def _slice_in(name: str) -> int:
    """Return the slice number that older ImageJ versions keep in a ROI's name; 0 where there is none."""
    found = _SLICE_IN_NAME.match(name)
    return int(found[found.lastindex or 0]) if found else 0
