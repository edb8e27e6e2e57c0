"""What every annotation format is turned into, and from: regions of pixels, instances, images with their labels."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.text import safe_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from beadseg.data.image_io import Image
    from beadseg.data.lazy import LazyImage
    from beadseg.errors import BeadsegError

MAX_ID = int(np.iinfo(np.uint32).max)
"""Largest label id."""


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


Instances = tuple["list[Instance]", "list[Failure]"]


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
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("image", "error"))
    table.writerows([safe_cell(files.printable(cell)) for cell in (row.image, row.error)] for row in failures)
    return text.getvalue()
