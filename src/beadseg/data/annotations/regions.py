"""What every annotation format is turned into, and from: regions of pixels, instances, images with their labels.

A region comes from an outline, from run lengths, or from a label image, and goes back to them. A pixel belongs to a
shape when its centre lies in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.errors import InputError
from beadseg.text import csv_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from beadseg.data.image_io import Image, LazyImage
    from beadseg.errors import BeadsegError

MAX_ID = int(np.iinfo(np.uint32).max)
"""Largest label id."""

Instances = tuple["list[Instance]", "list[Failure]"]

Size = tuple[int, int]
"""Height and width of the image, px."""

MAX_COORDINATE = 1e6
"""Coordinates beyond this are taken for damage, px."""

_RIGHT, _DOWN, _LEFT, _UP = 0, 1, 2, 3
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one object in its bounding box.

    Attributes
    ----------
    top, left : int
        First row and column, px.
    mask : numpy.ndarray
        (h, w) bool, at least one True.
    """

    top: int
    left: int
    mask: NDArray[np.bool_]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the bounding box."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.count_nonzero(self.mask))


def tight(mask: NDArray[np.bool_], top: int = 0, left: int = 0) -> Region | None:
    """Return the True pixels of `mask`, whose first pixel is at (`top`, `left`); None where there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    box = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return Region(top + int(rows[0]), left + int(columns[0]), box)


@dataclass(frozen=True, eq=False)
class Instance:
    """One annotated object.

    Attributes
    ----------
    region : Region
        Its pixels.
    what : str
        What the file calls it, for messages.
    id : int or None
        The label id that the file asks for.
    plane : int
        Index of the plane in storage order; 0 for a single image.
    ignore : bool
        It is neither bead nor background.
    """

    region: Region
    what: str
    id: int | None = None
    plane: int = 0
    ignore: bool = False


@dataclass(frozen=True)
class Failure:
    """Something that could not be used: one row of ``failures.csv``."""

    image: str
    error: str

    @classmethod
    def of(cls, image: str, error: BeadsegError) -> Failure:
        """Return an error as the failure of an image, which its text need not name again."""
        return cls(image, f"{error.what} {error.remedy}" if error.remedy else error.what)

    def __str__(self) -> str:
        return f"{files.printable(self.image)}: {files.printable(self.error)}"


@dataclass(frozen=True)
class Entry:
    """The annotations of one image.

    Attributes
    ----------
    where : str
        What the file calls the image, for messages.
    names : tuple of str
        Paths (with ``/``), file names or stems under which the image is looked for, the best first.
    draw : callable
        Returns the instances as pixels of the given image, and what could not be drawn.
    size : (int, int) or None
        Height and width that the file gives, px.
    pixel_size_um : float or None
        Side of a pixel that the file gives, µm.
    """

    where: str
    names: tuple[str, ...]
    draw: Callable[[LazyImage], Instances]
    size: tuple[int, int] | None = None
    pixel_size_um: float | None = None


@dataclass(frozen=True)
class AnnotationSource:
    """Everything that an annotation file or folder holds.

    Attributes
    ----------
    entries : sequence of Entry
        One per image.
    failures : sequence of Failure
        What could not be used already while reading.
    notes : sequence of str
        How it was understood, one sentence each.
    """

    entries: Sequence[Entry]
    failures: Sequence[Failure] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """An image's labels, to be written in another format.

    Attributes
    ----------
    name : str
        Sample name.
    file_name : str
        Name of its image file, or of the label file where there is no image.
    labels : numpy.ndarray
        (Y, X) uint32; (T, Y, X), (Z, Y, X) or (T, Z, Y, X) for a stack; 0 is background.
    axes : str
        One letter per dimension of `labels`.
    ignore : numpy.ndarray or None
        The same shape, bool.
    pixel_size_um : float or None
        Side of a pixel, µm.
    image : Image or None
        The image itself, where the source has it.
    """

    name: str
    file_name: str
    labels: NDArray[np.uint32]
    axes: str = "YX"
    ignore: NDArray[np.bool_] | None = None
    pixel_size_um: float | None = None
    image: Image | None = field(default=None, repr=False)

    def planes(self) -> Iterator[tuple[NDArray[np.uint32], NDArray[np.bool_] | None]]:
        """Yield labels and ignore mask, (Y, X), of every plane in storage order."""
        size = self.labels.shape[-2:]
        labels = self.labels.reshape(-1, *size)
        ignored = [None] * len(labels) if self.ignore is None else self.ignore.reshape(-1, *size)
        yield from zip(labels, ignored, strict=True)


def regions_of(labels: NDArray[np.integer]) -> Iterator[tuple[int, Region]]:
    """Yield id and region of every object of a (Y, X) label image, ids ascending."""
    from scipy.ndimage import find_objects

    inside = np.flatnonzero(labels)
    if not len(inside):
        return
    ids, number = np.unique(labels.ravel()[inside], return_inverse=True)
    compact = np.zeros(labels.shape, np.int32)
    compact.ravel()[inside] = number + 1
    for index, box in enumerate(find_objects(compact)):
        rows, columns = box
        yield int(ids[index]), Region(rows.start, columns.start, compact[box] == index + 1)


def failures_csv(failures: Sequence[Failure]) -> str:
    """Return the text of ``failures.csv``: columns image, error."""
    return csv_rows(("image", "error"), [(files.printable(row.image), files.printable(row.error)) for row in failures])


@dataclass(frozen=True, eq=False)
class Painted:
    """The instances of one image as pixels.

    Attributes
    ----------
    labels : numpy.ndarray
        (planes, Y, X) uint32; 0 is background.
    ignore : numpy.ndarray
        (planes, Y, X) bool.
    objects : int
        Number of objects painted that are still to be seen.
    contested : int
        Pixels that several objects claimed; the later one has them.
    failures : list of Failure
        Duplicates, ids given twice, and objects that later ones cover wholly.
    """

    labels: NDArray[np.uint32]
    ignore: NDArray[np.bool_]
    objects: int
    contested: int
    failures: list[Failure] = field(default_factory=list)


def paint(instances: Sequence[Instance], shape: tuple[int, int, int], image: str) -> Painted:
    """Paint instances in their order, later ones on top.

    Parameters
    ----------
    instances : sequence of Instance
        The objects. Ids that they ask for are kept; the others get the lowest free numbers of their plane.
    shape : (int, int, int)
        Planes, height, width.
    image : str
        What the image is called in `Painted.failures`.
    """
    labels, ignore = np.zeros(shape, np.uint32), np.zeros(shape, bool)
    failures: list[Failure] = []
    different = _without_duplicates(instances, image, failures)
    for instance in different:
        if instance.ignore:
            ignore[instance.plane][instance.region.slices] |= instance.region.mask
    beads = [instance for instance in different if not instance.ignore]
    contested = 0
    left: dict[tuple[int, int], int] = {}
    painted: dict[tuple[int, int], Instance] = {}
    for instance, number in zip(beads, _numbers(beads, image, failures), strict=True):
        view = labels[instance.plane][instance.region.slices]
        lost, counts = np.unique(view[instance.region.mask], return_counts=True)
        for other, count in zip(lost.tolist(), counts.tolist(), strict=True):
            if other:
                contested += count
                left[instance.plane, other] -= count
        view[instance.region.mask] = number
        left[instance.plane, number] = instance.region.area
        painted[instance.plane, number] = instance
    covered = [painted[key] for key, area in left.items() if not area]
    failures += [Failure(image, f"{instance.what} is wholly covered by later ones.") for instance in covered]
    return Painted(labels, ignore, len(beads) - len(covered), contested, failures)


def _without_duplicates(instances: Sequence[Instance], image: str, failures: list[Failure]) -> list[Instance]:
    """Drop, and list, what covers exactly the same pixels as one before it."""
    seen: dict[tuple[object, ...], str] = {}
    kept = []
    for instance in instances:
        region = instance.region
        key = (instance.plane, instance.ignore, region.top, region.left, region.mask.shape, region.mask.tobytes())
        if key in seen:
            failures.append(Failure(image, f"{instance.what} is a duplicate of {seen[key]}; it was left out."))
        else:
            seen[key] = instance.what
            kept.append(instance)
    return kept


def _numbers(instances: Sequence[Instance], image: str, failures: list[Failure]) -> list[int]:
    """Return the id of every instance: the one asked for, or the lowest free one of its plane."""
    taken: dict[int, set[int]] = {}
    wanted: list[int | None] = []
    for instance in instances:
        used = taken.setdefault(instance.plane, set())
        if instance.id is not None and instance.id in used:
            failures.append(Failure(image, f"{instance.what} has the id {instance.id} of another; it got a new one."))
        wanted.append(None if instance.id in used else instance.id)
        if instance.id is not None:
            used.add(instance.id)
    following = dict.fromkeys(taken, 1)
    numbers = []
    for instance, number in zip(instances, wanted, strict=True):
        if number is None:
            number = following[instance.plane]
            while number in taken[instance.plane]:
                number += 1
            following[instance.plane] = number + 1
        numbers.append(number)
    return numbers


def filled_polygon(rings: Sequence[ArrayLike], size: Size) -> Region | None:
    """Fill closed outlines by the even-odd rule: a ring inside another is a hole.

    Parameters
    ----------
    rings : sequence of (n, 2) array-like
        Corners as x, y in px; each ring is closed by itself.
    size : (int, int)
        Height and width of the image; what lies beyond is cut off.

    Returns
    -------
    Region or None
        None where no pixel's centre of the image lies inside.

    Raises
    ------
    InputError
        A ring has fewer than three corners, or a coordinate is not a number or absurdly large.
    """
    corners = [_checked(ring) for ring in rings]
    box = _box(np.concatenate(corners), size) if corners else None
    if box is None:
        return None
    top, bottom, left, right = box
    # One column more: what begins right of the box is counted there, and dropped.
    crossings = np.zeros((bottom - top, right - left + 1), np.int32)
    for ring in corners:
        _add_crossings(crossings, ring - np.array([left, top]))
    return tight(np.cumsum(crossings[:, :-1], axis=1) % 2 == 1, top, left)


def _add_crossings(crossings: NDArray[np.int32], ring: NDArray[np.float64]) -> None:
    """Count, per row, the columns at which the outline is crossed by the line through the pixels' centres."""
    height, columns = crossings.shape
    following = np.roll(ring, -1, axis=0)
    upper = np.where(ring[:, 1:] <= following[:, 1:], ring, following)
    lower = np.where(ring[:, 1:] <= following[:, 1:], following, ring)
    first = np.clip(np.floor(upper[:, 1] - 0.5) + 1, 0, height).astype(np.intp)
    after = np.clip(np.floor(lower[:, 1] - 0.5) + 1, 0, height).astype(np.intp)
    count = np.maximum(after - first, 0)
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    span = lower[edge] - upper[edge]
    x = upper[edge, 0] + (row + 0.5 - upper[edge, 1]) * span[:, 0] / span[:, 1]
    column = np.clip(np.floor(x - 0.5) + 1, 0, columns - 1).astype(np.intp)
    np.add.at(crossings, (row, column), 1)


def filled_ellipse(centre: tuple[float, float], axes: tuple[float, float], angle: float, size: Size) -> Region | None:
    """Fill an ellipse.

    Parameters
    ----------
    centre : (float, float)
        x, y, px.
    axes : (float, float)
        Its two half axes, px; the first lies along x where `angle` is 0.
    angle : float
        Rotation in degrees, clockwise as seen on the screen.
    size : (int, int)
        Height and width of the image; what lies beyond is cut off.

    Returns
    -------
    Region or None
        None where no pixel's centre of the image lies inside.

    Raises
    ------
    InputError
        A half axis is not positive, or a number is none or absurdly large.
    """
    _check_numbers(np.array([*centre, *axes, angle]))
    if min(axes) <= 0:
        raise InputError(f"An ellipse with half axes of {axes[0]:g} and {axes[1]:g} px has no area.")
    (x, y), reach = centre, max(axes)
    box = _box(np.array([[x - reach, y - reach], [x + reach, y + reach]]), size)
    if box is None:
        return None
    top, bottom, left, right = box
    dy, dx = np.mgrid[top:bottom, left:right] + 0.5 - np.array([y, x]).reshape(2, 1, 1)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, across = (dx * cos + dy * sin) / axes[0], (dy * cos - dx * sin) / axes[1]
    return tight(along**2 + across**2 <= 1.0, top, left)


def union(regions: Sequence[Region | None]) -> Region | None:
    """Return all pixels of the regions; None where there are none."""
    found = [region for region in regions if region is not None]
    if len(found) < 2:
        return found[0] if found else None
    top, left = min(region.top for region in found), min(region.left for region in found)
    bottom = max(region.slices[0].stop for region in found)
    right = max(region.slices[1].stop for region in found)
    mask = np.zeros((bottom - top, right - left), bool)
    for region in found:
        rows, columns = region.slices
        mask[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] |= region.mask
    return Region(top, left, mask)


def _checked(ring: ArrayLike) -> NDArray[np.float64]:
    corners = np.asarray(ring, np.float64).reshape(-1, 2)
    if len(corners) < 3:
        raise InputError(f"An outline of {len(corners)} corners encloses no area.")
    _check_numbers(corners)
    return corners


def _check_numbers(values: NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise InputError("A coordinate is not a finite number.")
    largest = float(np.abs(values).max())
    if largest > MAX_COORDINATE:
        raise InputError(f"A coordinate of {largest:g} px is absurd.")


def _box(points: NDArray[np.float64], size: Size) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left, right of the pixels around the points, cut to the image; None where none is left."""
    (x0, y0), (x1, y1) = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    top, bottom = max(int(y0), 0), min(int(y1), size[0])
    left, right = max(int(x0), 0), min(int(x1), size[1])
    return (top, bottom, left, right) if top < bottom and left < right else None


def rings_of(region: Region) -> list[NDArray[np.int64]]:
    """Return the outlines of a region.

    Parameters
    ----------
    region : Region
        The pixels.

    Returns
    -------
    list of (n, 2) int64
        Corners as x, y in px of the image, without the points in between, in order of the first edge from the top
        left. Outer outlines run clockwise on the screen, those of holes the other way. Pixels that touch only at
        a corner get rings of their own. Filled by the even-odd rule they give the region back.
    """
    edges = _edges(region.mask)
    found = []
    while edges:
        found.append(np.array(_follow(edges), np.int64) + np.array([region.left, region.top]))
    return found


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[int]]:
    """Return the directions in which the outline leaves each corner (x, y), the object always on its right."""
    padded = np.pad(mask, 1).astype(np.int8)
    across, along = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    sides = (
        (across, 1, _RIGHT, (0, 0)),
        (across, -1, _LEFT, (1, 0)),
        (along, -1, _DOWN, (0, 0)),
        (along, 1, _UP, (0, 1)),
    )
    starts: list[tuple[int, int, int]] = []
    for change, sign, direction, (dx, dy) in sides:
        rows, columns = np.nonzero(change == sign)
        starts += zip((rows + dy).tolist(), (columns + dx).tolist(), [direction] * len(rows), strict=True)
    edges: dict[tuple[int, int], list[int]] = {}
    for y, x, direction in sorted(starts):
        edges.setdefault((x, y), []).append(direction)
    return edges


def _follow(edges: dict[tuple[int, int], list[int]]) -> list[tuple[int, int]]:
    """Take one ring out of `edges` and return its corners; of two ways, the right turn stays at the pixel."""
    start = next(iter(edges))
    first = direction = _take(edges, start, None)
    corners = [start]
    x, y = start[0] + _STEPS[direction][0], start[1] + _STEPS[direction][1]
    while (x, y) != start or not _closes(edges, start, direction, first):
        turned = _take(edges, (x, y), direction)
        if turned != direction:
            corners.append((x, y))
        direction = turned
        x, y = x + _STEPS[direction][0], y + _STEPS[direction][1]
    return corners


def _closes(edges: dict[tuple[int, int], list[int]], start: tuple[int, int], direction: int, first: int) -> bool:
    """Tell whether the ring ends where it began, rather than passing through that corner once more."""
    right = (direction + 1) % 4
    return start not in edges or first == right


def _take(edges: dict[tuple[int, int], list[int]], corner: tuple[int, int], direction: int | None) -> int:
    """Remove and return the direction to leave `corner` in: to the right of `direction` where there is a choice."""
    ways = edges[corner]
    right = None if direction is None else (direction + 1) % 4
    way = ways.pop(ways.index(right) if right in ways else 0)
    if not ways:
        del edges[corner]
    return way


def encode_rle(region: Region, size: tuple[int, int]) -> str:
    """Return the compressed run lengths of a region in an image of `size` (height, width)."""
    return _compress(_runs(region, size))


def decode_rle(counts: str | Sequence[int], size: tuple[int, int]) -> Region | None:
    """Return the region of run lengths.

    Parameters
    ----------
    counts : str or sequence of int
        Compressed or plain lengths.
    size : (int, int)
        Height and width of the image.

    Returns
    -------
    Region or None
        None where no pixel is set.

    Raises
    ------
    InputError
        They are not lengths, or do not add up to the image.
    """
    lengths = _lengths(_expand(counts) if isinstance(counts, str) else counts)
    height, width = size
    if int(lengths.sum()) != height * width:
        text = f"Its run lengths give {int(lengths.sum())} pixels, the image has {height * width}."
        raise InputError(text)
    ends = np.cumsum(lengths)
    start, end = ends[0 : len(ends) - 1 : 2], ends[1::2]
    start, end = start[end > start], end[end > start]
    if not len(start):
        return None
    left, right = int(start[0]) // height, (int(end[-1]) - 1) // height + 1
    steps = np.zeros((right - left) * height + 1, np.int8)
    np.add.at(steps, start - left * height, 1)
    np.add.at(steps, end - left * height, -1)
    columns = np.cumsum(steps[:-1], dtype=np.int8).reshape(right - left, height)
    return tight(columns.T > 0, 0, left)


def _runs(region: Region, size: tuple[int, int]) -> list[int]:
    height, width = size
    padded = np.pad(region.mask.T, ((0, 0), (1, 1))).astype(np.int8)
    change = np.diff(padded, axis=1)
    columns, start = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[1]
    offset = (columns + region.left) * height + region.top
    start, end = start + offset, end + offset
    apart = start[1:] > end[:-1]  # a run at the lower border goes on at the upper border of the next column
    start, end = start[np.r_[True, apart]], end[np.r_[apart, True]]
    ends = np.stack([start, end], axis=1).ravel()
    counts = np.diff(ends, prepend=0).tolist()
    rest = height * width - int(ends[-1])
    return [*counts, rest] if rest else counts


def _lengths(values: Sequence[int]) -> NDArray[np.int64]:
    whole = all(isinstance(value, int) and 0 <= value < 2**40 for value in values)
    if not whole or not len(values):
        raise InputError("Its run lengths are not a list of whole numbers from 0 on.")
    return np.array(values, np.int64)


def _compress(counts: list[int]) -> str:
    text = bytearray()
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        while True:
            bits = value & 0x1F
            value >>= 5
            if value == (-1 if bits & 0x10 else 0):
                text.append(48 + bits)
                break
            text.append(48 + (bits | 0x20))
    return text.decode("ascii")


def _expand(text: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 40:
            raise InputError("Its compressed run lengths are damaged.")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + counts[-2] if len(counts) > 2 else value)
        value = shift = 0
    if shift:
        raise InputError("Its compressed run lengths end too early.")
    return counts
