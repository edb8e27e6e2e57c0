"""Move the objects of a mask's shifted parts back onto their beads, each as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.audit import limits
from beadseg.data.objects import label_objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.audit.measurement import Part

    Floats = NDArray[np.float32]
    Ids = NDArray[np.integer]

BEYOND = 0.5
"""Objects outside a shifted part, up to this share of its sides, may be shifted with it: faults keep to no grid."""


def with_parts_moved(mask: NDArray[np.generic], parts: Sequence[Part], answer: Floats, typical: float) -> Ids | None:
    """Return the mask with the objects of shifted parts moved to where the image answers best.

    An object moves by the shift of a part in or near which it lies, to whole pixels, where the bead filter answers
    better by `limits.CLEARER` of a typical bead; elsewhere it stays, so that a part's border cuts no object.

    Parameters
    ----------
    mask : (Y, X) bool or integer
        Foreground, or ids; oriented as the image.
    parts : sequence of Part
        See `parts.shifted_parts`.
    answer : (Y, X) float32
        Answer of the bead filter to the image.
    typical : float
        That of a typical bead.

    Returns
    -------
    (Y, X) integer or None
        Ids (those given, or of components); None where no object moves.
    """
    ids = label_objects(np.asarray(mask, bool)) if mask.dtype == np.bool_ else np.asarray(mask)
    names, rows, columns, owner = _pixels(ids)
    if len(names) == 0:
        return None
    centres = np.stack([np.bincount(owner, axis) / np.bincount(owner) for axis in (rows, columns)], axis=1)
    best = _mean_answer(answer, rows, columns, owner) + limits.CLEARER * typical
    moves = np.zeros((len(names), 2), np.int64)
    for part in parts:
        shift = np.rint((part.dy, part.dx)).astype(np.int64)
        found = _mean_answer(answer, rows + shift[0], columns + shift[1], owner)
        better = _near(centres, part) & (found > best)
        moves[better], best[better] = shift, found[better]
    if not moves.any():
        return None
    return _painted(ids, rows, columns, moves[owner])


def _pixels(ids: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Return the ids that there are, and row, column and index of the id of every marked pixel."""
    rows, columns = np.nonzero(ids)
    names, owner = np.unique(ids[rows, columns], return_inverse=True)
    return names, rows, columns, owner


def _mean_answer(answer: Floats, rows: Ids, columns: Ids, owner: Ids) -> NDArray[np.float64]:
    """Return the mean answer under every object; beyond the border there is none."""
    height, width = answer.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    values = np.where(inside, answer[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], 0.0)
    mean: NDArray[np.float64] = np.bincount(owner, values) / np.bincount(owner)
    return mean


def _near(centres: NDArray[np.float64], part: Part) -> NDArray[np.bool_]:
    low, high = np.array(part.box[:2], float), np.array(part.box[2:], float)
    reach = BEYOND * (high - low)
    return np.asarray(((centres >= low - reach) & (centres <= high + reach)).all(axis=1))


def _painted(ids: Ids, rows: Ids, columns: Ids, moves: Ids) -> Ids:
    """Return the objects in their new places; what moves lies over what stays."""
    out = np.zeros_like(ids)
    to = np.stack((rows, columns), axis=1) + moves
    inside = ((to >= 0) & (to < np.array(ids.shape))).all(axis=1)
    moved = moves.any(axis=1)
    for chosen in (inside & ~moved, inside & moved):
        out[to[chosen, 0], to[chosen, 1]] = ids[rows[chosen], columns[chosen]]
    return out
