"""What the neighbours of a bead's pixels tell: how round it is, how sharp, and with how many others it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def bead_shapes(labels: NDArray[np.integer], intensity: NDArray[np.floating] | None = None) -> pd.DataFrame:
    """Measure every object of a label image (Y, X) whose ids run from 1 without gaps.

    Parameters
    ----------
    labels : (Y, X) integer
        Instances; 0 is background.
    intensity : (Y, X) float, optional
        Grey values; without them ``focus`` is NaN.

    Returns
    -------
    pandas.DataFrame
        One row per id. ``circularity``: 4 pi area / perimeter², at most 1; the perimeter by Crofton's formula with four
        directions. ``focus``: the steepest slope of the brightness in the bead (Sobel), times its diameter, over the
        range of brightness in the bead and one pixel around: 1 where the brightness changes evenly over the whole bead,
        more the sharper its edge; independent of contrast and light. ``group``: how many beads touch each other here,
        itself included, over sides and corners.
    """
    width = labels.shape[1] + 2
    padded = np.pad(labels, 1).reshape(-1)
    inside = np.flatnonzero(padded)
    own = padded[inside].astype(np.int64)
    count = int(own.max(initial=0))
    area = np.bincount(own, minlength=count + 1)[1:]
    cuts = np.zeros(count + 1)
    touching: list[NDArray[np.int64]] = []
    for dy, dx in _STEPS:
        beside = padded[inside + dy * width + dx]
        other = np.flatnonzero(beside != own)
        cuts += np.bincount(own[other], minlength=count + 1) * (np.sqrt(0.5) if dy and dx else 1.0)
        met = other[beside[other] > 0]
        touching.append(np.stack([own[met], beside[met].astype(np.int64)]))
    perimeter = np.pi / 8 * cuts[1:]
    focus = np.full(count, np.nan)
    if intensity is not None and count:
        focus = _focus(np.pad(intensity, 1, mode="edge").reshape(-1), inside, own, width, area)
    circularity = np.minimum(1.0, 4 * np.pi * area / np.square(perimeter))
    return pd.DataFrame({"circularity": circularity, "focus": focus, "group": _groups(np.hstack(touching), count)})


def _focus(
    grey: NDArray[np.floating], inside: NDArray[np.int64], own: NDArray[np.int64], width: int, area: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the focus of beads 1 to N, from the padded grey values and the beads' pixels in them."""
    centre = grey[inside].astype(np.float32)
    low, high, down, across = centre.copy(), centre.copy(), np.zeros_like(centre), np.zeros_like(centre)
    for dy, dx in _STEPS:
        beside = grey[inside + dy * width + dx].astype(np.float32)
        np.minimum(low, beside, out=low)
        np.maximum(high, beside, out=high)
        down += dy * (1 if dx else 2) / 8 * beside
        across += dx * (1 if dy else 2) / 8 * beside
    steepest, top, bottom = (
        _per_bead(np.maximum, values, own, len(area)) for values in (np.hypot(down, across), high, -low)
    )
    span = top + bottom
    diameter = np.sqrt(4 * area / np.pi)
    return np.asarray(np.divide(steepest * diameter, span, out=np.full(len(area), np.nan), where=span > 0))


def _per_bead(reduce: np.ufunc, values: NDArray[np.float32], own: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    result = np.full(count + 1, -np.inf)
    reduce.at(result, own, values.astype(np.float64))
    return result[1:]


def _groups(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the size of the group of each bead 1 to `count`, from the (2, P) pairs that touch."""
    if not count:
        return np.zeros(0, np.int64)
    touch = sparse.coo_array((np.ones(pairs.shape[1], bool), tuple(pairs - 1)), shape=(count, count))
    _, group = connected_components(touch, directed=False)
    return np.asarray(np.bincount(group)[group], np.int64)
