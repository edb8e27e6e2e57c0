"""What JPEG left in an image that was decoded and saved again: its block grid, its steps, its coarser colour.

The values of a decoded image lie, block by block, on a comb in the DCT: multiples of the quantisation step. Compare
Fan and de Queiroz, "Identification of bitmap compression history", IEEE Trans. Image Processing 12 (2003).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from beadseg.data.simulate.like.background import GRID, averaged, blocks_of, dct
from beadseg.data.simulate.like.document import BLOCK, Array, Compression

if TYPE_CHECKING:
    from collections.abc import Sequence

EDGE = 1.3
"""Steps at the borders of blocks over those elsewhere, from which on there is a block grid."""
REPEATED = 0.1
"""Difference within over between pairs of pixels, below which the pairs are one sample repeated."""
ROUNDING = 1.5
"""Smaller coefficients are what rounding to whole grey levels leaves of a zero."""
LARGEST = 255
"""Largest quantisation step looked for."""
ENOUGH = 12
"""Fewer values other than zero say nothing about a step."""
COMB = 0.55
"""Least regularity of the values, 1 for a perfect comb, for a step to be believed."""
COMB_OF_MEANS = 0.6
"""The same for means of blocks, where a wrong step would do more harm than none."""
PLAUSIBLE = 0.4
"""A step smaller than this share of what the others let expect is a mistake."""
LUMA: NDArray[np.float64] = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)
"""The table for brightness in annex K of the JPEG standard (ITU-T T.81): encoders use it or something like it."""
CHROMA: NDArray[np.float64] = np.full((BLOCK, BLOCK), 99.0)
"""That for colour differences."""
CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]

Floats = NDArray[np.float64]


def find_compression(images: Sequence[Floats]) -> Compression | None:
    """Return the compression that images (C, Y, X) in brightness and colour differences went through, or None.

    Their values are what 8-bit integers give; all are thought to be parts of one compressed image, or of several of
    equal quality.
    """
    grids = [_grid(image[0]) for image in images]
    if not all(grids):
        return None
    offsets = [grid for grid in grids if grid is not None]
    chroma_step = _chroma_step(images, offsets)
    offsets = [offset_of(image, chroma_step) for image in images]
    channels = [
        np.concatenate(
            [_coefficients(image[channel], offset, chroma_step if channel else (1, 1)) for image, offset in pairs]
        )
        for pairs in [list(zip(images, offsets, strict=True))]
        for channel in range(len(images[0]))
    ]
    luma = _steps(channels[0], LUMA)
    chroma = _steps(np.concatenate(channels[1:]), CHROMA) if len(channels) > 1 else luma
    return Compression(
        luma=Array.of(luma),
        chroma=Array.of(chroma),
        chroma_step=chroma_step,
        shift=tuple(_shift(each, chroma if index else luma) for index, each in enumerate(channels)),
        offsets=tuple(sorted(set(offsets))),
    )


def _shift(coefficients: Floats, steps: Floats) -> float:
    """Return by how many grey levels the comb of block means lies beside multiples of its step."""
    step = float(steps[0, 0])
    if step <= 0:
        return 0.0
    turn = np.exp(2j * np.pi * coefficients[:, 0, 0] / step).mean()
    return round(float(np.angle(turn) * step / (2 * np.pi) / BLOCK), 3) if abs(turn) > COMB else 0.0


def offset_of(image: Floats, chroma_step: tuple[int, int]) -> tuple[int, int]:
    """Return the first row and column, modulo 16, of the block grid of one image (C, Y, X)."""
    return _of_chroma(image, _grid(image[0]) or (0, 0), chroma_step)


def _grid(plane: Floats) -> tuple[int, int] | None:
    """Return the first row and column of the block grid, or None where there is none."""
    found = []
    for axis in (0, 1):
        steps = np.abs(np.diff(plane, axis=axis)).mean(axis=1 - axis)
        by_place = np.array([steps[start::BLOCK].mean() for start in range(BLOCK)])
        edge = int(np.argmax(by_place))
        if by_place[edge] < EDGE * np.median(by_place):
            return None
        found.append((edge + 1) % BLOCK)
    return found[0], found[1]


def _chroma_step(images: Sequence[Floats], offsets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return how many pixels along rows and columns share one colour."""
    found = []
    for axis in (0, 1):
        within, between = 0.0, 0.0
        for image, offset in zip(images, offsets, strict=True):
            steps = np.abs(np.diff(image[1:], axis=axis + 1))
            along = np.moveaxis(steps, axis + 1, 0)[offset[axis] :]
            if along.size:
                within, between = within + float(along[::2].mean()), between + float(along[1::2].mean())
        found.append(2 if within < REPEATED * between else 1)
    return found[0], found[1]


def _of_chroma(image: Floats, offset: tuple[int, int], step: tuple[int, int]) -> tuple[int, int]:
    """Return the offset modulo 16: where colour is coarser, its blocks tell which of two places is right."""
    exact = list(offset)
    for axis in (0, 1):
        if step[axis] == 2:
            jumps = np.abs(np.diff(image[1:], axis=axis + 1)).mean(axis=(0, 2 - axis))
            first, second = (jumps[(start - 1) % GRID :: GRID].mean() for start in (offset[axis], offset[axis] + BLOCK))
            exact[axis] += BLOCK * int(second > first)
    return exact[0], exact[1]


def _coefficients(plane: Floats, offset: tuple[int, int], step: tuple[int, int]) -> Floats:
    """Return the DCT (N, 8, 8) of a plane's blocks, its samples being means over `step` pixels."""
    plane = plane[offset[0] :, offset[1] :]
    rows, columns = (size // every * every for size, every in zip(plane.shape, step, strict=True))
    samples = averaged(plane[:rows, :columns], step)
    return dct(blocks_of(samples, (0, 0))).reshape(-1, BLOCK, BLOCK)


def _steps(coefficients: Floats, example: Floats) -> Floats:
    """Return the quantisation steps (8, 8) of coefficients (N, 8, 8).

    Where no comb is seen, or one far too fine, the step is that of the `example` table, scaled to the others; but 0 for
    means of blocks, which are never all zero.
    """
    steps = np.array(
        [[_step(coefficients[:, row, column], row + column == 0) for column in range(BLOCK)] for row in range(BLOCK)]
    )
    known = steps > 0
    if not known.any():
        return np.zeros_like(steps)
    expected = example * float(np.median(steps[known] / example[known]))
    steps = np.where(known & (steps > PLAUSIBLE * expected), steps, np.maximum(np.rint(expected), 1.0))
    steps[0, 0] *= known[0, 0]
    return steps


def _step(values: Floats, is_mean: bool) -> float:
    """Return the step of a comb of values, 0 when none is seen."""
    least = max(ENOUGH, int(5e-4 * len(values)))
    values = values[np.abs(values) > ROUNDING]
    if len(values) < least:
        return 0.0
    # Wider than the values are spread, a comb has one tooth only and fits anything.
    widest = 1.5 * float(values.std()) if is_mean else 1.25 * float(np.median(np.abs(values)))
    candidates = np.arange(2, max(2, min(LARGEST, int(widest) + 1)) + 1)
    phases = np.exp(2j * np.pi * values[:, None] / candidates)
    # Decoders that round down move all values of a block's mean alike, so only there may the comb lie anywhere.
    regular = np.abs(phases.mean(axis=0)) if is_mean else phases.real.mean(axis=0)
    if regular.max(initial=0.0) < (COMB_OF_MEANS if is_mean else COMB):
        return 0.0
    if is_mean:
        return float(candidates[np.argmax(regular)])
    # A comb is also one of its step's divisors: the largest of the peaks is the step.
    beside = np.pad(regular, 1, constant_values=-np.inf)
    peak = (regular >= beside[:-2]) & (regular >= beside[2:]) & (regular > 0.85 * regular.max())
    return float(candidates[np.flatnonzero(peak)[-1]])
