"""Write labels as ROIs for Fiji's ROI Manager: one zip file per image.

Outlines run along the pixel edges, so that they enclose exactly the pixels of the label: a traced ROI for an object in
one piece, a composite ROI for one with holes, with pieces that touch only at corners, or in several pieces. Every ROI
is named after its id (``bead-00012``) and carries the pixel size, where it is known, as the property
``pixel_size_um``.
"""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations import outlines
from beadseg.data.annotations.model import LabelledImage, Region, regions_of, tight
from beadseg.data.image_io import plane_names
from beadseg.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from roifile import ImagejRoi

LARGEST_INTEGER = 30_000
"""Coordinates beyond this are written as floats: ImageJ keeps 16 bits of an integer one."""

_VERSION = 228
_MOVE, _LINE, _CLOSE = 0.0, 1.0, 4.0


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
    rings = outlines.rings(region)
    if len(rings) > 1:
        roi.roitype = ROI_TYPE.RECT
        roi.multi_coordinates = _path(rings)
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


def _path(rings: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return the rings as commands of a path: move, lines, close."""
    numbers: list[float] = []
    for ring in rings:
        for index, (x, y) in enumerate(ring.tolist()):
            numbers += [_LINE if index else _MOVE, x, y]
        numbers.append(_CLOSE)
    return np.array(numbers, np.float32)
