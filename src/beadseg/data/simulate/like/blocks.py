"""Blocks of 8 x 8 px: their discrete cosine transform, and the round trip through JPEG's quantisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from beadseg.data.simulate.like.document import BLOCK

if TYPE_CHECKING:
    from beadseg.data.simulate.like.document import Compression

GRID = 2 * BLOCK
"""Period of the block grid of subsampled colour differences, px."""
MIDDLE = 128.0
"""Grey level that JPEG counts brightness from."""

Floats = NDArray[np.float64]


def cut(plane: Floats, offset: tuple[int, int]) -> Floats:
    """Return the whole blocks (rows, columns, 8, 8) of a plane (Y, X) whose grid begins at `offset`."""
    top, left = (start % BLOCK for start in offset)
    plane = plane[top:, left:]
    rows, columns = (size // BLOCK for size in plane.shape)
    plane = plane[: rows * BLOCK, : columns * BLOCK]
    return plane.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)


def transform(blocks: Floats) -> Floats:
    """Return the orthonormal DCT of blocks (..., 8, 8)."""
    coefficients: Floats = fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    return coefficients


def compress(image: Floats, compression: Compression, offset: tuple[int, int]) -> Floats:
    """Quantise brightness and colour differences (C, Y, X) as JPEG does, its block grid beginning at `offset`."""
    shift = np.array(compression.shift)[:, None, None]
    _, height, width = image.shape
    image = image - shift
    pads = [(-start % GRID, -(size - start) % GRID) for start, size in zip(offset, (height, width), strict=True)]
    padded = np.pad(image, ((0, 0), *pads), mode="edge")
    luma = _quantise(padded[0] - MIDDLE, compression.luma.numpy()) + MIDDLE
    steps = compression.chroma.numpy()
    chroma = [_coarse(plane, steps, compression.chroma_step) for plane in padded[1:]]
    top, left = pads[0][0], pads[1][0]
    # Decoders round to whole levels before they mix the colours.
    whole = np.rint(np.stack([luma, *chroma])[:, top : top + height, left : left + width])
    return np.asarray(whole + shift)


def thin(plane: Floats, step: tuple[int, int]) -> Floats:
    """Return the means (Y / rows, X / columns) over `step` of a plane whose sides are multiples of it."""
    rows, columns = (size // every for size, every in zip(plane.shape, step, strict=True))
    means: Floats = plane.reshape(rows, step[0], columns, step[1]).mean(axis=(1, 3))
    return means


def _coarse(plane: Floats, steps: Floats, every: tuple[int, int]) -> Floats:
    small = _quantise(thin(plane, every), steps)
    return small.repeat(every[0], axis=0).repeat(every[1], axis=1)


def _quantise(plane: Floats, steps: Floats) -> Floats:
    coefficients = transform(cut(plane, (0, 0)))
    safe = np.where(steps > 0, steps, 1.0)
    coefficients = np.where(steps > 0, np.rint(coefficients / safe) * safe, coefficients)
    blocks = fft.idctn(coefficients, axes=(-2, -1), norm="ortho")
    return np.asarray(blocks.swapaxes(1, 2).reshape(plane.shape))
