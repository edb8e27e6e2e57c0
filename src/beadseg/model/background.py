"""Normalisation by the local background: what a pixel looks like does not change with how many beads an image has."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    FloatPlane = npt.NDArray[np.float32]

DARK_FIELD = 4.0
"""An image is a dark field when its objects stand out by more than this many times the background."""
NOISE_FLOOR = 4.0
"""The denominator is never below this many standard deviations of noise: an empty dark field stays calm."""
SHADE_FLOOR = 0.1
"""The denominator is never below this share of the image's typical background (black corners)."""
_OBJECT_NOISE = 6.0
"""A pixel this many standard deviations of noise off its background belongs to something."""
MOST = 100.0
"""No value is farther from the background: beads come out at about 1, a hot pixel of a camera at any number."""
_ROWS = 256
"""Rows interpolated at a time: a huge image needs no second copy of itself."""
_OBJECT_QUANTILE = 75.0
"""Percentile of those pixels' deviations that is the objects' contrast: their bodies, not their rims."""


def relative_to_background(plane: FloatPlane, window: int, gain: float) -> FloatPlane:
    """Return ``gain * (I - background) / denominator``.

    The background is the median of blocks of about `window` px, interpolated linearly between the blocks' centres:
    beads may cover up to half of a block. In a bright field the denominator is that background (the Weber contrast),
    so a pixel's value depends on its surroundings of a block or two only. In a dark field (objects more than
    `DARK_FIELD` times their background; fluorescence) that ratio would be noise divided by nearly nothing; there the
    denominator is the objects' own contrast: a percentile over the pixels that belong to something, which more
    objects of the same kind do not move, however many they are; they come out at about 1, as beads of a contrast of
    ``1 / gain`` do in a bright field. Images with a negative background (subtracted, or signed) are treated likewise.
    In both, the denominator has floors from the noise and the shading. Single hot pixels, and hot rows or columns, move
    nothing but themselves, however hot they are.

    Parameters
    ----------
    plane : (Y, X) float32
        Finite intensities.
    window : int
        Side of a block, px.
    gain : float
        Factor.

    Returns
    -------
    (Y, X) float32
        Finite, at most `MOST` times `gain`; 0 on the background; all 0 for a constant image.
    """
    blocks, noise = _block_statistics(plane, window)
    background = _interpolate(blocks, plane.shape)
    deviation = plane - background
    typical = float(np.median(blocks))
    floor = max(SHADE_FLOOR * typical, NOISE_FLOOR * noise, gain * _object_contrast(deviation, typical, noise))
    denominator = np.maximum(background, np.float32(floor), out=background)
    # A rounding error of the interpolation is not a contrast.
    flat = denominator <= np.float32(1e-6 * _largest(np.abs(plane)))
    with np.errstate(over="ignore"):  # a hot pixel over a background of nearly nothing
        np.divide(deviation, denominator, out=deviation, where=~flat)
    deviation[flat] = 0.0
    deviation *= np.float32(gain)
    return np.clip(deviation, -MOST * gain, MOST * gain, out=deviation)


def _largest(size: FloatPlane) -> float:
    """Return the largest value that 2x2 pixels reach: a camera's hot pixels, rows and columns are not objects."""
    if min(size.shape) > 1:
        size = np.minimum(size[:-1], size[1:])
        size = np.minimum(size[:, :-1], size[:, 1:])
    return float(size.max())


def _block_statistics(plane: FloatPlane, window: int) -> tuple[npt.NDArray[np.float32], float]:
    """Return the blocks' medians (By, Bx), and the noise: the median of the blocks' scaled absolute deviations."""
    rows, columns = (_edges(length, window) for length in plane.shape)
    medians = np.empty((len(rows) - 1, len(columns) - 1), np.float32)
    spreads = np.empty_like(medians)
    for i, (top, bottom) in enumerate(pairwise(rows)):
        for chosen, blocks in _alike(plane[top:bottom], columns):
            medians[i, chosen] = _medians(blocks)
            # Every second pixel of a spread is enough for a floor, and halves the cost.
            off = np.abs(blocks[:, ::2] - medians[i, chosen][:, np.newaxis, np.newaxis])
            spreads[i, chosen] = _medians(off)
    return medians, 1.4826 * float(np.median(spreads))


def _alike(strip: FloatPlane, edges: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], FloatPlane]]:
    """Yield the indices (K,) and pixels (K, Y, X) of a strip's blocks of one width: there are two widths at most."""
    widths = np.diff(edges)
    for width in np.unique(widths):
        chosen = np.flatnonzero(widths == width)
        columns = edges[chosen, np.newaxis] + np.arange(width)
        yield chosen, np.ascontiguousarray(strip[:, columns].transpose(1, 0, 2))


def _medians(blocks: FloatPlane) -> npt.NDArray[np.float32]:
    """Return the medians of (K, Y, X) finite blocks, as `numpy.median` does, but without its search for NaN."""
    values = blocks.reshape(len(blocks), -1)
    half = values.shape[1] // 2
    values = np.partition(values, half, axis=1)
    upper: npt.NDArray[np.float32] = values[:, half]
    if values.shape[1] % 2:
        return upper
    middle: npt.NDArray[np.float32] = (values[:, :half].max(axis=1) + upper) / np.float32(2)
    return middle


def _edges(length: int, window: int) -> npt.NDArray[np.int64]:
    """Return the edges of blocks of nearly equal size, as near to `window` as a whole number of them can be."""
    count = max(1, round(length / window))
    return np.arange(count + 1, dtype=np.int64) * length // count


def _interpolate(blocks: npt.NDArray[np.float32], shape: tuple[int, ...]) -> FloatPlane:
    """Return `blocks` interpolated bilinearly between their centres to `shape`; constant beyond the outer centres."""
    (top, bottom, down), (left, right, across) = (
        _neighbours(count, length) for count, length in zip(blocks.shape, shape, strict=True)
    )
    wide = blocks[:, left] * (1 - across) + blocks[:, right] * across
    out = np.empty(shape, np.float32)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, start + _ROWS)
        out[rows] = wide[top[rows]]
        out[rows] *= (1 - down[rows])[:, np.newaxis]
        out[rows] += wide[bottom[rows]] * down[rows, np.newaxis]
    return out


def _neighbours(count: int, length: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], FloatPlane]:
    """Return for each pixel the two nearest blocks along an axis, and the share of the second."""
    edges = np.arange(count + 1, dtype=np.int64) * length // count
    centres = (edges[:-1] + edges[1:]) / 2 - 0.5
    position = np.interp(np.arange(length), centres, np.arange(count))
    first = position.astype(np.int64)
    return first, np.minimum(first + 1, count - 1), (position - first).astype(np.float32)


def _object_contrast(deviation: FloatPlane, typical: float, noise: float) -> float:
    """Return the contrast of a dark field's objects, in intensity; 0 for a bright field."""
    limit = DARK_FIELD * max(typical, 0.0)
    if max(float(deviation.max()), -float(deviation.min())) <= limit:
        return 0.0
    size = np.abs(deviation)
    # Without noise, rounding errors of the interpolation would count as objects.
    objects = size[size > max(_OBJECT_NOISE * noise, 1e-3 * _largest(size))]
    if objects.size == 0:
        return 0.0
    contrast = float(np.percentile(objects, _OBJECT_QUANTILE))
    return contrast if contrast > limit else 0.0
