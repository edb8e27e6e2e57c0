"""One row per bead: where it is, how large, how bright, how certain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MICROMETRE_COLUMNS = ("y_um", "x_um", "area_um2", "equivalent_diameter_um")
"""Further columns of a bead table, where the pixel size is known."""


def bead_table(
    labels: NDArray[np.integer],
    intensity: NDArray[np.generic] | None = None,
    probability: NDArray[np.floating] | None = None,
    pixel_size_um: float | None = None,
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
            "y": np.bincount(at, weights=rows, minlength=len(ids)) / area,
            "x": np.bincount(at, weights=columns, minlength=len(ids)) / area,
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
