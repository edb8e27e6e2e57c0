"""What the values of a mask mean: binary, soft-edged, or one id per object.

Soft edges and ids are told apart by the regions of equal value (4-connected). Between background and white, soft
edges are slivers of a pixel or two; ids fill whole objects, each about once. What is neither (large regions of few
values, many regions per value: classes, or ids that wrapped around at 255) is refused rather than guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg.data.objects import equal_regions
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MaskKind = Literal["binary", "soft", "labels"]

SLIVER_PX = 4.0
"""Median area, px, below which regions of equal value are soft edges: smaller objects are not counted anyway."""
REGIONS_PER_ID = 1.5
"""Ids may be cut in two by what lies over them, but not often."""
SOFT_LEVELS = 8
"""With at most so many values up to exactly white, large regions of one value are coarse edges and no ids."""
MOST_PIECES = 3
"""More separate pieces than this under the only id of a file: a binary mask, not labels."""


@dataclass(frozen=True, eq=False)
class Mask:
    """An annotation, understood.

    Attributes
    ----------
    foreground : numpy.ndarray
        (Y, X) bool; (T, Y, X), (Z, Y, X) or (T, Z, Y, X) for a stack.
    labels : numpy.ndarray or None
        The same shape, uint32, one id per object, where the file has ids.
    kind : {"binary", "soft", "labels"}
        How the values were understood.
    axes : str
        One letter per dimension.
    """

    foreground: np.ndarray
    labels: np.ndarray | None
    kind: MaskKind
    axes: str = "YX"

    def planes(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield foreground and labels, (Y, X), of every plane in storage order."""
        size = self.foreground.shape[-2:]
        foreground = self.foreground.reshape(-1, *size)
        labels = [None] * len(foreground) if self.labels is None else self.labels.reshape(-1, *size)
        yield from zip(foreground, labels, strict=True)


def interpret_mask(values: np.ndarray, axes: str, path: Path) -> Mask:
    """Tell what `values` mean; see the module. Raises `ImageError` where that is not clear."""
    if values.dtype == np.bool_:
        return Mask(values, None, "binary", axes)
    _refuse_negative(values, path)
    present = np.unique(values)
    if len(present) == 1 or (len(present) == 2 and present[0] == 0):
        return Mask(values > 0, None, "binary", axes)
    if _integral(values):
        regions, area = _regions_between(values, present[-1])
        ids = len(present) - 1
        if area >= SLIVER_PX and regions <= REGIONS_PER_ID * ids + 1:
            return interpret_labels(values, axes, path)
        coarse = ids <= SOFT_LEVELS and present[-1] in (255, 65535)
        if area >= SLIVER_PX and not coarse:
            raise _unclear(present, f"with {regions} separate regions", path)
    white = _white(values, float(present[-1]))
    if present[0] > 0 and present[-1] < white / 2:
        raise _unclear(present, "and no background 0", path)
    return Mask(values >= white / 2, None, "soft", axes)


def interpret_labels(values: np.ndarray, axes: str, path: Path) -> Mask:
    """Take `values` for ids: 0 is background. Ids beyond uint32 are numbered anew, in their order."""
    if values.dtype == np.bool_ or not _integral(values):
        raise ImageError(
            f"Labels must be whole numbers, these are {values.dtype}.", path, "Save one whole number per bead."
        )
    _refuse_negative(values, path)
    present = np.unique(values)
    ids = present[present > 0]
    if len(ids) == 1:
        pieces = int(equal_regions(values > 0, connectivity=values.ndim).max())
        if pieces > MOST_PIECES:
            text = f"Its only id, {ids[0]}, has {pieces} separate pieces: this is a binary mask, not labels."
            raise ImageError(text, path, "Move it to the masks folder, or give every bead a number of its own.")
    if len(ids) and ids[-1] > np.iinfo(np.uint32).max:
        values = np.searchsorted(ids, values) + (values > 0)
    labels = values.astype(np.uint32)
    return Mask(labels > 0, labels, "labels", axes)


def _regions_between(values: np.ndarray, highest: float) -> tuple[int, float]:
    """Count the regions of equal value between background and the highest value, and give their median area, px."""
    between = (values > 0) & (values < highest)
    # As consecutive integers: int64 ids and floats may not fit the type that regions are found in.
    numbered = np.zeros(values.shape, np.int32)
    numbered[between] = np.unique(values[between], return_inverse=True)[1] + 1
    areas = np.bincount(equal_regions(numbered, connectivity=1).ravel())[1:]
    return len(areas), float(np.median(areas)) if len(areas) else 0.0


def _white(values: np.ndarray, highest: float) -> float:
    if values.dtype.kind == "f" and highest <= 1.0:
        return 1.0
    return 255.0 if highest <= 255.0 else highest


def _integral(values: np.ndarray) -> bool:
    return values.dtype.kind in "ui" or bool((values == np.floor(values)).all())


def _refuse_negative(values: np.ndarray, path: Path) -> None:
    if values.dtype.kind != "u" and values.min() < 0:
        text = f"Holds negative values (down to {values.min()})."
        raise ImageError(text, path, "Use 0 for background, and a mask in the ignore folder for what is neither.")


def _unclear(present: np.ndarray, detail: str, path: Path) -> ImageError:
    shown = ", ".join(f"{value:g}" for value in present[:4])
    more = f" … {present[-1]:g}" if len(present) > 4 else ""
    return ImageError(
        f"Holds the values {shown}{more} {detail}: neither a binary mask, nor soft edges, nor one number per bead.",
        path,
        "Save 0 and 255, or one number per bead in the labels folder.",
    )
