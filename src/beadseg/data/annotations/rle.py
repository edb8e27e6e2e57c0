"""COCO's run lengths, compressed and plain, to and from regions.

The same format as `pycocotools.mask` (https://github.com/cocodataset/cocoapi, `maskApi.c`, Simplified BSD License):
lengths of alternating runs of 0 and 1, column by column over the whole image; compressed, each length is the
difference to the one before the last, in groups of five bits. Rewritten here because the library works on whole
images per object (16 MB for a bead on a 4096 x 4096 image) and trusts what it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations.model import Region, tight
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def encode(region: Region, size: tuple[int, int]) -> str:
    """Return the compressed run lengths of a region in an image of `size` (height, width)."""
    return _compress(_runs(region, size))


def decode(counts: str | Sequence[int], size: tuple[int, int]) -> Region | None:
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
