"""Which beads of one label image are in the other: hits, misses, false alarms, and the scores of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg.data.dataset import Target
from beadseg.data.objects import equal_regions
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import match_points
from beadseg.measure.score import ImageScore, score_image, visible_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIT, MISS, FALSE_ALARM = 1, 2, 3
"""Values of the picture of a comparison; 0 is background."""
KINDS = {HIT: "hit", MISS: "miss", FALSE_ALARM: "false alarm"}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of every bead.

    Attributes
    ----------
    picture : (Y, X) uint8
        `HIT` and `FALSE_ALARM` on found beads, `MISS` over them on true ones, 0 elsewhere.
    beads : pandas.DataFrame
        One row per bead, misses first, then false alarms, then hits: ``kind``, ``id``, ``y``, ``x`` (px).
    score : ImageScore
        The scores, as `beadseg-batch evaluate` computes them.
    """

    picture: NDArray[np.uint8]
    beads: pd.DataFrame
    score: ImageScore


def compare(found: NDArray[np.integer], true: NDArray[np.integer]) -> Comparison:
    """Compare the beads found (Y, X) with the true ones (Y, X); what has a single id for all is taken for a mask.

    Raises
    ------
    InputError
        The sizes differ.
    """
    found_ids, true_ids = _instances(found), _instances(true)
    target = Target(true > 0, true_ids)
    score = score_image("", "", "", found > 0, found_ids, target)
    found_objects = visible_objects(found > 0, found_ids, None)
    true_objects = visible_objects(true > 0, true_ids, None)
    found_beads, true_beads = bead_table(found_objects), bead_table(true_objects)
    hit, met = _matched(found_beads, true_beads, score.tolerance_px)
    picture = _painted(found_objects, found_beads["id"][hit], HIT)
    wrong = _painted(found_objects, found_beads["id"][~hit], FALSE_ALARM)
    missed = _painted(true_objects, true_beads["id"][~met], MISS)
    for part in (wrong, missed):  # a miss is seen also where a neighbour was found over it
        picture[part > 0] = part[part > 0]
    rows = ((MISS, true_beads[~met]), (FALSE_ALARM, found_beads[~hit]), (HIT, found_beads[hit]))
    tables = [table[["id", "y", "x"]].assign(kind=KINDS[kind]) for kind, table in rows]
    return Comparison(picture, pd.concat(tables, ignore_index=True)[["kind", "id", "y", "x"]], score)


def _instances(values: NDArray[np.integer]) -> NDArray[np.uint32] | None:
    """Return ids, or None for a mask: one value over several pieces."""
    present = np.unique(values)
    if len(present[present > 0]) == 1 and int(equal_regions(values > 0, connectivity=2).max()) > 1:
        return None
    return values.astype(np.uint32)


def _matched(
    found: pd.DataFrame, true: pd.DataFrame, tolerance: float | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the beads found have a true partner, and which of the true ones were found."""
    hit, met = np.zeros(len(found), bool), np.zeros(len(true), bool)
    if tolerance is not None:
        centres = [beads[["y", "x"]].to_numpy(dtype=np.float64) for beads in (found, true)]
        matching = match_points(centres[0], centres[1], tolerance)
        hit[matching.predicted] = True
        met[matching.true] = True
    return hit, met


def _painted(objects: NDArray[np.integer], ids: pd.Series[int], value: int) -> NDArray[np.uint8]:
    """Return (Y, X) uint8 with `value` on the objects of these ids."""
    chosen = np.zeros(int(objects.max(initial=0)) + 1, np.uint8)
    chosen[ids.to_numpy()] = value
    return np.asarray(chosen[objects])
