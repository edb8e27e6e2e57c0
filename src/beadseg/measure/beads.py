"""One row per bead: where it is, how large, bright, round and sharp, how many others it touches, how certain it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MICROMETRE_COLUMNS = ("y_um", "x_um", "area_um2", "equivalent_diameter_um")
"""Further columns of a bead table, where the pixel size is known."""

_STEPS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def bead_table(
    labels: NDArray[np.integer],
    intensity: NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    pixel_size_um: float | None = None,
    corner: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : (Y, X) uint32 or another integer dtype
        Instances; 0 is background. Ids may have gaps.
    intensity : (Y, X), optional
        Grey values to average over each bead; NaN in the table where it is missing.
    probability : (Y, X) float, optional
        Foreground probability to average over each bead; NaN in the table where it is missing.
    pixel_size_um : float, optional
        Side of a pixel, µm; adds `MICROMETRE_COLUMNS`.
    corner : (int, int)
        Where the first pixel lies in a larger image, px.

    Returns
    -------
    pandas.DataFrame
        One row per id, ascending. ``y``, ``x``: centroid in px, the centre of the first pixel is 0.
        ``equivalent_diameter_px``: diameter of the circle of the same area. ``integrated_intensity``: sum of the grey
        values. ``edge``: touches the image's border, so
        that its area and position are those of a part.

    Raises
    ------
    InputError
        The shapes differ, the labels are not a 2D image of whole numbers, or the pixel size is not positive.
    """
    _check(labels, intensity, probability, pixel_size_um)
    flat = labels.ravel()
    inside = np.flatnonzero(flat)
    ids, at = _index(flat[inside])
    area = np.bincount(at, minlength=len(ids))
    rows, columns = np.divmod(inside, labels.shape[1])

    def mean(values: NDArray[np.generic] | None) -> NDArray[np.float64]:
        if values is None:
            return np.full(len(ids), np.nan)
        picked = values.ravel()[inside].astype(np.float64)
        return np.bincount(at, weights=picked, minlength=len(ids)) / area

    table = pd.DataFrame(
        {
            "id": ids,
            "y": np.bincount(at, weights=rows + corner[0], minlength=len(ids)) / area,
            "x": np.bincount(at, weights=columns + corner[1], minlength=len(ids)) / area,
            "area_px": area,
            "equivalent_diameter_px": equivalent_diameter(area),
            "mean_intensity": mean(intensity),
            "integrated_intensity": mean(intensity) * area,
            "mean_probability": mean(probability),
            "edge": np.isin(ids, border_ids(labels)),
        }
    )
    return table if pixel_size_um is None else _with_micrometres(table, pixel_size_um)


def equivalent_diameter(area: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the diameter of the circle of each `area`: px from px², µm from µm²."""
    return np.asarray(np.sqrt(4.0 * area / np.pi), dtype=np.float64)


def border_ids(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the ids, ascending and without 0, that have a pixel in the first or last row or column."""
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return np.unique(border[border != 0])


def _with_micrometres(table: pd.DataFrame, pixel_size_um: float) -> pd.DataFrame:
    return table.assign(
        y_um=table["y"] * pixel_size_um,
        x_um=table["x"] * pixel_size_um,
        area_um2=table["area_px"] * pixel_size_um**2,
        equivalent_diameter_um=table["equivalent_diameter_px"] * pixel_size_um,
    )


def _index(ids: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Return the distinct ids, ascending, and each pixel's position among them."""
    if ids.size and int(ids.min()) >= 0 and int(ids.max()) <= 4 * ids.size:
        # Ids without large gaps need no sorting of millions of pixels.
        small = ids.astype(np.int64)
        present = np.flatnonzero(np.bincount(small))
        position = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        position[present] = np.arange(len(present))
        return present.astype(np.int64), position[small]
    distinct, at = np.unique(ids, return_inverse=True)
    return distinct.astype(np.int64), at


def _check(
    labels: NDArray[np.integer],
    intensity: NDArray[np.generic] | None,
    probability: NDArray[np.floating] | None,
    pixel_size_um: float | None,
) -> None:
    if labels.ndim != 2 or 0 in labels.shape or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"Labels of shape {labels.shape} and dtype {labels.dtype} are not a label image.",
            remedy="Give one (Y, X) plane of whole-numbered labels.",
        )
    for name, values in (("intensity", intensity), ("probability", probability)):
        if values is not None and values.shape != labels.shape:
            raise InputError(f"The {name} has shape {values.shape}, the labels have {labels.shape}.")
    if pixel_size_um is not None and not pixel_size_um > 0:
        raise InputError(f"The pixel size is {pixel_size_um} µm.", remedy="Give a positive number or none.")


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
    diameter = equivalent_diameter(area)
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
