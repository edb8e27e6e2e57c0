"""The bead table of a prediction, and which of its beads count: the rules at image borders and out of focus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.measure.bead_shapes import bead_shapes
from beadseg.measure.beads import MICROMETRE_COLUMNS, bead_table

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.predict.separation import Separation

BEAD_COLUMNS = (
    "id", "y", "x", "area_px", "equivalent_diameter_px", "circularity", "mean_intensity", "integrated_intensity",
    "mean_probability", "confidence", "focus", "group", "edge", "counted",
)  # fmt: skip
"""Columns of the bead table of a prediction; `MICROMETRE_COLUMNS` follow where the pixel size is known."""


def bead_list(
    labels: NDArray[np.uint32],
    separation: Separation,
    objects: ObjectConfig,
    probability: NDArray[np.float32],
    intensity: NDArray[np.float32],
    pixel_size_um: float | None = None,
) -> pd.DataFrame:
    """Measure the beads that were chosen.

    Parameters
    ----------
    labels : (Y, X) uint32
        What `objects` chose from `separation`, ids from 1 without gaps.
    separation, objects
        The candidates and the choice.
    probability, intensity : (Y, X) float32
        Of being bead; brightness of the image.
    pixel_size_um : float, optional
        µm per px.

    Returns
    -------
    pandas.DataFrame
        `BEAD_COLUMNS`, one row per bead: `bead_table`, `bead_shapes`, and ``confidence`` (the highest of the bead's
        pixels' candidates) and ``counted`` (`counts`).
    """
    basic = bead_table(labels, intensity, probability, pixel_size_um)
    table = basic.join(bead_shapes(labels, intensity))
    table["confidence"] = _confidence(labels, separation, len(table))
    table["counted"] = counts(table, labels, objects)
    micrometres = MICROMETRE_COLUMNS if pixel_size_um is not None else ()
    return table[[*BEAD_COLUMNS, *micrometres]]


def counts(table: pd.DataFrame, labels: NDArray[np.uint32], objects: ObjectConfig) -> NDArray[np.bool_]:
    """Return which beads of a table count.

    At borders (`objects.border`) as in stereology: all count; or none that touches the border; or those that touch the
    upper or left border only, not those at the lower or right one (the unbiased counting frame of Gundersen 1977), so
    that images side by side count every bead once. Beads below `objects.min_focus` do not count.
    """
    counted = np.ones(len(table), bool)
    if objects.border == "exclude":
        counted &= ~table["edge"].to_numpy(bool)
    elif objects.border == "half":
        counted &= ~np.isin(table["id"], np.union1d(labels[-1], labels[:, -1]))
    if objects.min_focus is not None:
        counted &= ~(table["focus"].to_numpy(np.float64) < objects.min_focus)
    return counted


def _confidence(labels: NDArray[np.uint32], separation: Separation, count: int) -> NDArray[np.float32]:
    found = np.zeros(count + 1, np.float32)
    np.maximum.at(found, labels.reshape(-1)[separation.pixels], separation.confidence[separation.owner - 1])
    return found[1:]
