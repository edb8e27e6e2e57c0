"""Bead centres as an annotation: tables with the columns y and x, points layers of napari, point selections of Fiji.

Coordinates are pixels of the image, (0, 0) being the centre of its first pixel.
"""

from __future__ import annotations

import csv
import io
import math
import re
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations.fiji import is_point, read_rois
from beadseg.data.annotations.fiji import points as fiji_points
from beadseg.errors import ImageError, InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Centres = NDArray[np.float32]

POINT_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".roi", ".zip"})
"""Kinds of files that points are read from."""
FIJI_SUFFIXES = frozenset({".roi", ".zip"})
_OUTSIDE = 1.0
"""A point may lie so many px outside the centres of the border's pixels."""
_NO_BEADS = "If the image has no beads, save the line y,x alone."


def read_points(path: Path, size: tuple[int, int], stack_shape: tuple[int, ...] = (), names: Sequence[str] = ("",)) -> (
    list[Centres]
):  # fmt: skip
    """Read bead centres.

    Parameters
    ----------
    path : pathlib.Path
        A table (CSV, TSV; comma, semicolon or tab) with the columns ``y`` and ``x`` or, as napari saves a points layer,
        ``axis-0`` and ``axis-1``; or a ``.roi`` or ``.zip`` file of Fiji with point selections. A table that has only
        its first line says that the image has no beads.
    size : (int, int)
        Height and width of the image, px.
    stack_shape : tuple of int
        Of a stack, its leading axes. A table then needs a column ``plane`` (a name of `names`, or its number from 0),
        ``slice`` (from 1, Fiji), or one more axis of napari.
    names : sequence of str
        Names of the planes.

    Returns
    -------
    list of (N, 2) float32
        (y, x) in px, per plane.

    Raises
    ------
    ImageError
        It cannot be read, or points lie outside the image.
    """
    planes, found = (
        _of_fiji(path, names) if path.suffix.lower() in FIJI_SUFFIXES else _of_table(path, stack_shape, names)
    )
    _check_inside(found, size, path)
    inside = np.clip(found, 0, np.array(size, np.float32) - 1)
    return [inside[planes == plane] for plane in range(len(names))]


def _of_table(path: Path, stack_shape: tuple[int, ...], names: Sequence[str]) -> tuple[NDArray[np.int64], Centres]:
    rows = _rows(path)
    header = [cell.strip().lower() for cell in rows[0]]
    axes = [at for at, name in enumerate(header) if re.fullmatch(r"axis-\d+", name)]
    if "shape-type" in header:
        raise ImageError("Is a shapes layer of napari, not points.", path, "Save a points layer.")
    if "y" in header and "x" in header:
        place = [header.index("y"), header.index("x")]
        leading: list[int] = []
    elif len(axes) >= 2:
        *leading, y, x = axes
        place = [y, x]
    else:
        raise _no_columns(rows[0], path)
    values = _numbers(rows, place, path)
    if len(names) == 1:
        return np.zeros(len(values), np.int64), values
    return _planes(rows, header, leading, stack_shape, names, path), values


def _rows(path: Path) -> list[list[str]]:
    """Return the cells of a table, its first line first."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ImageError(f"Cannot be read: {reason}.", path, "Save it as CSV.") from None
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ImageError("Is empty.", path, f"Save one line per bead below the line y,x. {_NO_BEADS}")
    separator = max(",;\t", key=lines[0].count)
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter=separator))
    if separator != ",":  # a comma is then the decimal point of some languages
        rows[1:] = [[cell.replace(",", ".") for cell in row] for row in rows[1:]]
    return rows


def _no_columns(header: Sequence[str], path: Path) -> ImageError:
    remedy = "Name the columns y and x in the first line: pixels from the top, and from the left."
    if all(_number(cell) is not None for cell in header):
        return ImageError("Its first line holds numbers, not the names of its columns.", path, remedy)
    return ImageError(
        f"Has no columns y and x. Its columns: {', '.join(cell.strip() for cell in header)}.", path, remedy
    )


def _numbers(rows: Sequence[Sequence[str]], columns: Sequence[int], path: Path) -> Centres:
    found = np.zeros((len(rows) - 1, len(columns)), np.float32)
    for line, row in enumerate(rows[1:], start=2):
        for at, column in enumerate(columns):
            value = _number(row[column]) if column < len(row) else None
            if value is None:
                cell = row[column].strip() if column < len(row) else ""
                raise ImageError(f"Line {line} has {cell!r} in the column {rows[0][column].strip()}.", path,
                                 "Write a number there, or delete the line.")  # fmt: skip
            found[line - 2, at] = value
    return found


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _planes(
    rows: Sequence[Sequence[str]], header: Sequence[str], leading: Sequence[int], stack_shape: tuple[int, ...],
    names: Sequence[str], path: Path,
) -> NDArray[np.int64]:  # fmt: skip
    """Return the number of each row's plane."""
    remedy = f"A column plane holds a number from 0 to {len(names) - 1}, or a name such as {names[0]}."
    if len(leading) == len(stack_shape) and leading:
        at = np.rint(_numbers(rows, leading, path)).astype(np.int64)
        if (at < 0).any() or (at >= np.array(stack_shape)).any():
            raise ImageError("Has points outside the planes of the image.", path, remedy)
        return np.asarray(np.ravel_multi_index(tuple(at.T), stack_shape), np.int64)
    column = next((header.index(name) for name in ("plane", "slice") if name in header), None)
    if column is None:
        raise ImageError(f"Does not say which of the {len(names)} planes a point lies in.", path, f"Add it. {remedy}")
    by_name = {name: number for number, name in enumerate(names)}
    first = 1 if header[column] == "slice" else 0
    found = [by_name.get(row[column].strip(), _whole(row[column], first)) for row in rows[1:]]
    if any(plane is None or not 0 <= plane < len(names) for plane in found):
        raise ImageError("Has points outside the planes of the image.", path, remedy)
    return np.array(found, np.int64)


def _whole(text: str, first: int) -> int | None:
    value = _number(text)
    return None if value is None else round(value) - first


def _of_fiji(path: Path, names: Sequence[str]) -> tuple[NDArray[np.int64], Centres]:
    if len(names) > 1:
        raise ImageError("Points of a stack are not read from Fiji's files.", path,
                         "Save a table with the columns y, x and slice (Analyze, Measure).")  # fmt: skip
    parts: list[Centres] = [np.zeros((0, 2), np.float32)]
    try:
        for name, roi in read_rois(path):
            if isinstance(roi, InputError):
                raise roi
            if not is_point(roi):
                raise ImageError(f"The ROI {name} is not a point selection.", path,
                                 "Convert outlines to labels: beadseg-batch import.")  # fmt: skip
            parts.append(np.asarray(fiji_points(roi)[:, ::-1] - 0.5, np.float32))
    except InputError as error:
        raise ImageError(error.what, error.where or path, error.remedy) from None
    found = np.concatenate(parts)
    return np.zeros(len(found), np.int64), found


def _check_inside(found: Centres, size: tuple[int, int], path: Path) -> None:
    outside = _out(found, size)
    if not outside.any():
        return
    y, x = found[np.argmax(outside)]
    verb = "lies" if int(outside.sum()) == 1 else "lie"
    what = (f"{int(outside.sum())} of {plural(len(found), 'point')} {verb} outside the image of {size[1]}x{size[0]} px "
            f"(width x height), the first at y={y:g}, x={x:g}.")  # fmt: skip
    if not _out(found[:, ::-1], size).any():
        raise ImageError(what, path, "With y and x exchanged all fit: correct the names of the columns.")
    raise ImageError(what, path, "Give positions in pixels of this image, not in µm.")


def _out(found: Centres, size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray(((found < -_OUTSIDE) | (found > np.array(size) - 1 + _OUTSIDE)).any(axis=1))
