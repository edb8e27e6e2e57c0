"""The empty ground of an image: a smooth surface through everything but beads, and how far pixels differ from it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORDER = 3
"""Order of the polynomial in two coordinates."""
ROUNDS = 6
"""Fits, each without the pixels that the one before calls off the ground."""
FAR = 2.5
"""Pixels this many robust standard deviations off the ground are none of it."""
STRIDE = 3
"""Every third pixel along both axes is enough for a smooth surface."""
LEAST = 1e-3
"""Grey level that the ground has at least, so that a ratio to it exists."""
DARKEST = 0.03
"""Share of the ground that no pixel is thought to fall below, so that its logarithm exists."""
TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of Gaussian noise."""

Floats = NDArray[np.float64]


def terms(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the powers 0-3 of the coordinates -1 to 1 along rows (Y, 4) and columns (X, 4)."""
    rows, columns = (np.linspace(-1.0, 1.0, size)[:, None] ** np.arange(ORDER + 1) for size in shape)
    return rows, columns


_POWERS = [(row, column) for row in range(ORDER + 1) for column in range(ORDER + 1 - row)]


def surface(coefficients: Floats, shape: tuple[int, int]) -> Floats:
    """Return the ground (C, Y, X), 8-bit grey levels, of its polynomial's coefficients (C, 10)."""
    rows, columns = terms(shape)
    grid = np.zeros((len(coefficients), ORDER + 1, ORDER + 1))
    for index, (row, column) in enumerate(_POWERS):
        grid[:, row, column] = coefficients[:, index]
    level = np.einsum("yi,cij,xj->cyx", rows, grid, columns, optimize=True)
    return np.asarray(np.maximum(level, LEAST))


def fit(image: Floats, sign: float) -> Floats:
    """Return the coefficients (C, 10) of the ground of an image (C, Y, X).

    Parameters
    ----------
    image : numpy.ndarray
        (C, Y, X) float64, 8-bit grey levels.
    sign : float
        -1 where beads are darker than the ground, 1 where they are brighter.
    """
    rows, columns = terms((image.shape[1], image.shape[2]))
    rows, columns = rows[::STRIDE], columns[::STRIDE]
    design = np.stack([np.outer(rows[:, row], columns[:, column]).ravel() for row, column in _POWERS], axis=1)
    values = image[:, ::STRIDE, ::STRIDE].reshape(len(image), -1)
    keep = np.ones(values.shape[1], dtype=bool)
    for _ in range(ROUNDS):
        coefficients, *_ = np.linalg.lstsq(design[keep], values[:, keep].T, rcond=None)
        off = (values - (design @ coefficients).T).mean(axis=0)
        ground = off[off * sign <= np.median(off[keep]) * sign]
        spread = TO_SIGMA * float(np.median(np.abs(ground - np.median(off[keep])))) + 1e-6
        keep = off * sign < np.median(off[keep]) * sign + FAR * spread
    return np.asarray(coefficients.T)


def density(image: Floats, ground: Floats, sign: float) -> Floats:
    """Return how far pixels lie off the ground: ``-ln(value / ground)``, or ``value / ground - 1`` for bright beads."""
    ratio = image / ground
    off: Floats = -np.log(np.maximum(ratio, DARKEST)) if sign < 0 else ratio - 1.0
    return off


def light(off: Floats, ground: Floats, sign: float) -> Floats:
    """Undo `density`: return the light."""
    seen: Floats = ground * (np.exp(-off) if sign < 0 else np.maximum(1.0 + off, 0.0))
    return seen
