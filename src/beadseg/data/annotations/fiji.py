"""Read and write Fiji's ROIs: one ``.zip`` of the ROI Manager, or one ``.roi`` file, per image.

Shapes become pixels as ImageJ itself fills them.
"""

from __future__ import annotations

import io
import logging
import math
import re
import struct
import zipfile
import zlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations import regions
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
from beadseg.data.scan import natural_key
from beadseg.errors import InputError
from beadseg.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from roifile import ImagejRoi

    from beadseg.data.annotations.regions import Instances
    from beadseg.data.image_io import LazyImage

SUFFIXES = (".zip", ".roi")
"""Suffixes of ROI files, in lower case."""

_ID = re.compile(r"bead-([0-9]{1,10})(?:[-_].*)?")
_IGNORE = re.compile(r"ignore(?:[-_].*)?")
_ROI_SET = re.compile(r"^(?:roiset|rois?)[-_ ]+|[-_ .]+(?:roiset|rois?)$", re.IGNORECASE)
_SLICE_IN_NAME = re.compile(r"([0-9]{4})-[0-9]{4}-[0-9]{4}|([0-9]{5})-[0-9]{5}-[0-9]{5}|([0-9]{6})-[0-9]{6}-[0-9]{6}")

MAX_ROIS = 500_000
"""Most ROIs in one zip file."""
MAX_BYTES = 512 * 1024**2
"""Most bytes of all ROIs of a zip file, decompressed."""

CURVE_POINTS = 24
"""Straight pieces that stand for one curved piece of a composite outline."""

_PATH_NUMBERS = {0: 2, 1: 2, 2: 4, 3: 6, 4: 0}
"""How many numbers follow each command of a path (java.awt.geom.PathIterator)."""

LARGEST_INTEGER = 30_000
"""Coordinates beyond this are written as floats: ImageJ keeps 16 bits of an integer one."""

_VERSION = 228
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


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
    if diameter_px is not None and not 0 < diameter_px < regions.MAX_COORDINATE:
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
        disc = regions.filled_ellipse((x, y), (diameter_px / 2, diameter_px / 2), 0.0, image.size)
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


# Its remarks on odd files belong to whoever configures logging, not on the terminal of somebody who did not.
logging.getLogger("roifile").addHandler(logging.NullHandler())


def read_rois(path: Path) -> list[tuple[str, ImagejRoi | InputError]]:
    """Return the ROIs of a file by name, in the order of the file; an error in place of one that is damaged.

    Raises
    ------
    InputError
        The file is missing, no zip file, encrypted, or claims to hold absurdly much.
    """
    try:
        contents = list(_contents(path))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read as a zip file ({detail}).", path, "Save it again in Fiji.") from None
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except OSError as error:
        raise InputError(f"Cannot be read: {error.strerror or error}.", path, "Check the file.") from None
    return [_parsed(name, data) for name, data in contents]


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() == ".roi":
        if path.stat().st_size > MAX_BYTES:
            raise _absurd(path, f"{path.stat().st_size} bytes")
        yield path.stem, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if _is_roi(info.filename)]
        held = [
            info.filename or "a file without a name" for info in archive.infolist() if not info.filename.endswith("/")
        ]
        if held and not members:  # without any file it is of an image without beads
            text = f"Holds no ROI, but {listed(held, 3)}."
            raise InputError(text, path, "Save the ROIs in Fiji's ROI Manager: More > Save.")
        claimed = sum(info.file_size for info in members)
        if len(members) > MAX_ROIS or claimed > MAX_BYTES:
            raise _absurd(path, f"{len(members)} ROIs of {claimed} bytes")
        for info in members:
            yield (
                info.filename.split("/")[-1][:-4],
                archive.read(info),
            )  # no more than the size it claims is decompressed


def _is_roi(name: str) -> bool:
    """Tell whether a file in a zip file is a ROI; macOS puts a shadow ``__MACOSX/._NAME`` beside every file."""
    parts = name.split("/")
    return name.lower().endswith(".roi") and "__MACOSX" not in parts and not parts[-1].startswith("._")


def _absurd(path: Path, claim: str) -> InputError:
    text = f"Claims to hold {claim}; at most {MAX_ROIS} ROIs of {MAX_BYTES} bytes are read."
    return InputError(text, path, "Save the ROIs of each image in a file of its own.")


def _parsed(name: str, data: bytes) -> tuple[str, ImagejRoi | InputError]:
    """Return a ROI under its own name, or that of the file where it has none."""
    from roifile import ImagejRoi

    try:
        roi = ImagejRoi.frombytes(data)
    except Exception as error:  # damaged bytes make the parser raise nearly anything
        return name, InputError(f"Is damaged or no ROI ({' '.join(str(error).split()).rstrip('.')}).")
    return roi.name or name, roi


def is_point(roi: ImagejRoi) -> bool:
    """Tell whether a ROI is a point or multi-point selection."""
    from roifile import ROI_TYPE

    return roi.roitype == ROI_TYPE.POINT


def points(roi: ImagejRoi) -> NDArray[np.float64]:
    """Return the centres of a point ROI: (n, 2) x, y in px; the middle of the first pixel is (0.5, 0.5)."""
    return _coordinates(roi) + 0.5


def area(roi: ImagejRoi, size: tuple[int, int]) -> Region | None:
    """Return the pixels that an area ROI encloses.

    Parameters
    ----------
    roi : roifile.ImagejRoi
        Polygon, freehand, traced, oval, ellipse, rectangle (rounded and turned ones too) or composite ROI.
    size : (int, int)
        Height and width of the image.

    Returns
    -------
    Region or None
        None where no pixel's centre of the image lies inside.

    Raises
    ------
    InputError
        The ROI encloses no area, is fitted with a spline, or has absurd coordinates.
    """
    from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE

    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        raise InputError(f"Is a {roi.subtype.name.lower()} and encloses no object.")
    if roi.composite:
        return regions.filled_polygon(_composite_rings(roi), size)
    if roi.roitype == ROI_TYPE.OVAL:
        x, y, width, height = _rectangle(roi)
        return regions.filled_ellipse((x + width / 2, y + height / 2), (width / 2, height / 2), 0.0, size)
    if roi.roitype == ROI_TYPE.RECT:
        return regions.filled_polygon([_rounded(*_rectangle(roi), roi.rounded_rect_arc_size)], size)
    if roi.roitype not in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        raise InputError(f"Is a {roi.roitype.name.lower()} and encloses no area.")
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return _ellipse(roi, size)
    if roi.subtype == ROI_SUBTYPE.ROTATED_RECT:
        return regions.filled_polygon([_turned_rectangle(roi)], size)
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise InputError("Is fitted with a spline; turn it into a polygon in Fiji (Edit > Selection > Interpolate).")
    return regions.filled_polygon([_coordinates(roi)], size)


def _coordinates(roi: ImagejRoi) -> NDArray[np.float64]:
    if roi.subpixel_coordinates is not None:
        return np.asarray(roi.subpixel_coordinates, np.float64)
    if roi.integer_coordinates is None:
        raise InputError("Has no coordinates.")
    corner = np.array([roi.left, roi.top], np.float64)
    return np.asarray(roi.integer_coordinates + corner, np.float64)


def _rectangle(roi: ImagejRoi) -> tuple[float, float, float, float]:
    """Return left, top, width, height."""
    if roi.subpixelrect:
        return roi.xd, roi.yd, roi.widthd, roi.heightd
    return float(roi.left), float(roi.top), float(roi.right - roi.left), float(roi.bottom - roi.top)


def _rounded(x: float, y: float, width: float, height: float, arc: int) -> list[tuple[float, float]]:
    """Return the outline of a rectangle whose corners are rounded with arcs of diameter `arc`."""
    right, bottom = x + width, y + height
    if arc <= 0:
        return [(x, y), (right, y), (right, bottom), (x, bottom)]
    rx, ry = min(arc, width) / 2, min(arc, height) / 2
    middles = (
        (right - rx, y + ry, -90),
        (right - rx, bottom - ry, 0),
        (x + rx, bottom - ry, 90),
        (x + rx, y + ry, 180),
    )
    return [
        (cx + rx * math.cos(math.radians(first + turn)), cy + ry * math.sin(math.radians(first + turn)))
        for cx, cy, first in middles
        for turn in np.linspace(0, 90, CURVE_POINTS)
    ]


def _parameter(roi: ImagejRoi) -> float:
    """Return the number that ImageJ keeps where arrows have their style: an aspect ratio or a width."""
    stored = struct.pack(
        ">BBh", roi.arrow_style_or_aspect_ratio & 0xFF, roi.arrow_head_size & 0xFF, roi.rounded_rect_arc_size
    )
    return float(struct.unpack(">f", stored)[0])


def _ellipse(roi: ImagejRoi, size: tuple[int, int]) -> Region | None:
    """Fill the ellipse whose first axis goes from (x1, y1) to (x2, y2) (`ij.gui.EllipseRoi`)."""
    dx, dy = roi.x2 - roi.x1, roi.y2 - roi.y1
    half = math.hypot(dx, dy) / 2
    centre = ((roi.x1 + roi.x2) / 2, (roi.y1 + roi.y2) / 2)
    return regions.filled_ellipse(centre, (half, half * _parameter(roi)), math.degrees(math.atan2(dy, dx)), size)


def _turned_rectangle(roi: ImagejRoi) -> list[tuple[float, float]]:
    """Return the corners of the rectangle around the line from (x1, y1) to (x2, y2) (`ij.gui.RotatedRectRoi`)."""
    dx, dy = roi.x2 - roi.x1, roi.y2 - roi.y1
    length = math.hypot(dx, dy)
    if length == 0:
        raise InputError("Is a rectangle of length 0.")
    across_x, across_y = _parameter(roi) * dy / length / 2, -_parameter(roi) * dx / length / 2
    return [
        (roi.x1 + across_x, roi.y1 + across_y),
        (roi.x2 + across_x, roi.y2 + across_y),
        (roi.x2 - across_x, roi.y2 - across_y),
        (roi.x1 - across_x, roi.y1 - across_y),
    ]


def _composite_rings(roi: ImagejRoi) -> list[NDArray[np.float64]]:
    """Return the closed rings of a composite ROI, curves as many short lines."""
    numbers = [] if roi.multi_coordinates is None else roi.multi_coordinates.tolist()
    rings: list[list[tuple[float, float]]] = []
    at = 0
    while at < len(numbers):
        count = _PATH_NUMBERS.get(int(numbers[at]) if math.isfinite(numbers[at]) else -1)
        values = numbers[at + 1 : at + 1 + (count or 0)]
        if count is None or len(values) < count or (not rings and numbers[at] != 0):
            raise InputError("Is a composite ROI with a damaged outline.")
        corners = list(zip(values[::2], values[1::2], strict=True))
        if numbers[at] == 0:
            rings.append(corners)
        elif count > 2:
            rings[-1] += _curve([rings[-1][-1], *corners])
        else:
            rings[-1] += corners
        at += 1 + count
    return [np.array(ring, np.float64) for ring in rings if len(ring) >= 3]


def _curve(control: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points on a Bézier curve, without its first."""
    degree = len(control) - 1
    share = np.linspace(0, 1, CURVE_POINTS + 1)[1:, None]
    corners = np.array(control, np.float64)
    curve = sum(math.comb(degree, i) * share**i * (1 - share) ** (degree - i) * corners[i] for i in range(degree + 1))
    return [(float(x), float(y)) for x, y in np.asarray(curve)]


def write_fiji_rois(path: Path, sample: LabelledImage) -> None:
    """Write the labels of one image as ROIs; the same labels give the same bytes.

    Parameters
    ----------
    path : pathlib.Path
        The zip file. It is empty where there are no objects.
    sample : LabelledImage
        The labels; the ignore mask becomes a ROI ``ignore`` per plane. In a stack, names end in the plane
        (``bead-00012-t003``) and the position is set.

    Raises
    ------
    MachineError
        The file cannot be written.
    """
    write_atomically(path, _archive(list(_rois(sample))))


def _archive(rois: list[ImagejRoi]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for roi in rois:
            member = zipfile.ZipInfo(f"{roi.name}.roi", (1980, 1, 1, 0, 0, 0))
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(member, roi.tobytes())
    return buffer.getvalue()


def _rois(sample: LabelledImage) -> Iterator[ImagejRoi]:
    shape = sample.labels.shape[:-2]
    names = plane_names(sample.axes, shape)
    for index, (plane, (labels, ignore)) in enumerate(zip(names, sample.planes(), strict=True)):
        ending = f"-{plane}" if plane else ""
        regions = [(f"bead-{number:05d}{ending}", region) for number, region in regions_of(labels)]
        hidden = None if ignore is None else tight(ignore)
        if hidden is not None:
            regions.append((f"ignore{ending}", hidden))
        for name, region in regions:
            roi = _roi(region, name)
            if sample.pixel_size_um is not None:
                roi.props = f"pixel_size_um: {sample.pixel_size_um!r}\n"
            _set_position(roi, index, shape)
            yield roi


def _set_position(roi: ImagejRoi, index: int, shape: tuple[int, ...]) -> None:
    """Set the plane: the slice of a stack, or time and depth where it has both. ImageJ counts from 1."""
    if len(shape) == 1:
        roi.position = index + 1
    elif len(shape) == 2:
        roi.t_position, roi.z_position = index // shape[1] + 1, index % shape[1] + 1


def _roi(region: Region, name: str) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    rows, columns = region.slices
    roi = ImagejRoi(version=_VERSION, name=name)
    roi.top, roi.left, roi.bottom, roi.right = (
        min(value, LARGEST_INTEGER) for value in (rows.start, columns.start, rows.stop, columns.stop)
    )
    rings = regions.rings_of(region)
    if len(rings) > 1:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = _path_commands(rings)
        roi.shape_roi_size = len(roi.multi_coordinates)
        return roi
    roi.roitype = ROI_TYPE.TRACED
    _set_coordinates(roi, rings[0])
    return roi


def _set_coordinates(roi: ImagejRoi, ring: NDArray[np.int64]) -> None:
    from roifile import ROI_OPTIONS

    roi.n_coordinates = len(ring)
    roi.integer_coordinates = np.clip(ring - np.array([roi.left, roi.top]), 0, LARGEST_INTEGER).astype(np.int32)
    if ring.max() > LARGEST_INTEGER:
        roi.options |= ROI_OPTIONS.SUB_PIXEL_RESOLUTION
        roi.subpixel_coordinates = ring.astype(np.float32)


def _path_commands(rings: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return the rings as commands of a path: move, lines, close."""
    numbers: list[float] = []
    for ring in rings:
        for index, (x, y) in enumerate(ring.tolist()):
            numbers += [_LINE if index else _MOVE, x, y]
        numbers.append(_CLOSE)
    return np.array(numbers, np.float32)
