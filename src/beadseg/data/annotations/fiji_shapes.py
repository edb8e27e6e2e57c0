"""Fiji's ROIs to pixels, as ImageJ itself fills them.

Areas have their coordinates at the pixels' upper left corners, points at the pixels' centres (`ij.gui.Roi`). Ovals
and ellipses are taken as the curves that they are, not as polygons; composite ROIs are filled by the even-odd rule
(`ij.gui.ShapeRoi`).
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations import shapes
from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from roifile import ImagejRoi

    from beadseg.data.annotations.model import Region

CURVE_POINTS = 24
"""Straight pieces that stand for one curved piece of a composite outline."""

_PATH_NUMBERS = {0: 2, 1: 2, 2: 4, 3: 6, 4: 0}
"""How many numbers follow each command of a path (java.awt.geom.PathIterator)."""


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
        return shapes.polygon(_path(roi), size)
    if roi.roitype == ROI_TYPE.OVAL:
        x, y, width, height = _rectangle(roi)
        return shapes.ellipse((x + width / 2, y + height / 2), (width / 2, height / 2), 0.0, size)
    if roi.roitype == ROI_TYPE.RECT:
        return shapes.polygon([_rounded(*_rectangle(roi), roi.rounded_rect_arc_size)], size)
    if roi.roitype not in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        raise InputError(f"Is a {roi.roitype.name.lower()} and encloses no area.")
    if roi.subtype == ROI_SUBTYPE.ELLIPSE:
        return _ellipse(roi, size)
    if roi.subtype == ROI_SUBTYPE.ROTATED_RECT:
        return shapes.polygon([_turned_rectangle(roi)], size)
    if roi.options & ROI_OPTIONS.SPLINE_FIT:
        raise InputError("Is fitted with a spline; turn it into a polygon in Fiji (Edit > Selection > Interpolate).")
    return shapes.polygon([_coordinates(roi)], size)


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
    return shapes.ellipse(centre, (half, half * _parameter(roi)), math.degrees(math.atan2(dy, dx)), size)


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


def _path(roi: ImagejRoi) -> list[NDArray[np.float64]]:
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
