"""What `general.py` counts: marked crops of real tiles, simulated looks, folders of other images, pictures without beads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg.measure.matching import Detection, match_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Centres = NDArray[np.float64]

GOLD = Path(__file__).parent / "gold" / "beads.csv"
GOLD_DIAMETER = 7.5
"""Width of a bead of the marked tiles at half its depth, px."""


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of the beads of one image.

    Attributes
    ----------
    centres : (N, 2) float64
        Beads, (y, x) in px.
    doubtful : (M, 2) float64
        Places that may or may not be beads: neither hits nor misses.
    diameter : float or (N,) float64
        Bead diameter, px: one for the image, or one for each bead.
    window : (y, x, height, width), optional
        Only this part of the image is judged; beads of `centres` outside it are never missed.
    """

    centres: Centres
    doubtful: Centres
    diameter: float
    window: tuple[float, float, float, float] | None = None


def read_gold(path: Path = GOLD) -> dict[str, Truth]:
    """Return the marked beads by the name of their tile."""
    return {str(name): _crop(beads) for name, beads in pd.read_csv(path).groupby("sample", sort=False)}


def score(found: Centres, truth: Truth) -> Detection:
    """Match centres one to one within half a bead diameter; certain beads come before doubtful ones."""
    tolerance = truth.diameter / 2
    matched = match_points(found, truth.centres, tolerance)
    judged = _inside(truth.centres, truth.window)
    hits = int(judged[matched.true].sum())
    left = np.delete(found, matched.predicted, axis=0)
    excused = match_points(left, truth.doubtful, tolerance).predicted
    wrong = np.delete(left, excused, axis=0)
    return Detection(hits, int(_inside(wrong, truth.window).sum()), int(judged.sum()) - hits)


def _crop(beads: pd.DataFrame) -> Truth:
    y, x, size = (float(beads[column].iloc[0]) for column in ("crop_y", "crop_x", "crop_size"))
    centres, sure = beads[["y", "x"]].to_numpy(np.float64), beads["certain"].to_numpy() == 1
    return Truth(centres[sure], centres[~sure], GOLD_DIAMETER, (y - 0.5, x - 0.5, size, size))


def _inside(points: Centres, window: tuple[float, float, float, float] | None) -> NDArray[np.bool_]:
    if window is None:
        return np.ones(len(points), bool)
    y, x, height, width = window
    return (points[:, 0] >= y) & (points[:, 0] < y + height) & (points[:, 1] >= x) & (points[:, 1] < x + width)
