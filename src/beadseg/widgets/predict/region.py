"""Which beads lie in the shapes of a shapes layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.path import Path as Outline

if TYPE_CHECKING:
    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

AREAS = ("rectangle", "polygon", "ellipse")
"""Kinds of shapes that have an inside."""


def inside(shapes: Shapes, labels: Labels, plane: tuple[int, ...], centres: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell of every centre (N, 2), (y, x) px of `labels`, whether it lies in a shape of the plane shown.

    Shapes that were drawn with more axes than y and x belong to the plane that they were drawn on.
    """
    found = np.zeros(len(centres), bool)
    for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind not in AREAS:
            continue
        own = np.array([labels.world_to_data(_padded(shapes.data_to_world(corner), labels.ndim)) for corner in corners])
        drawn_on = np.rint(own[0, :-2])
        if np.asarray(corners).shape[1] > 2 and not np.array_equal(drawn_on, np.asarray(plane, float)):
            continue
        found |= (
            _in_ellipse(own[:, -2:], centres) if kind == "ellipse" else Outline(own[:, -2:]).contains_points(centres)
        )
    return found


def _padded(place: Any, ndim: int) -> NDArray[np.float64]:
    """Return world coordinates with as many axes as a layer has, zeros before them."""
    place = np.asarray(place, float)[-ndim:]
    return np.concatenate([np.zeros(ndim - len(place)), place])


def _in_ellipse(corners: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which points lie in the ellipse in a box of four corners, which may be turned."""
    middle = corners.mean(axis=0)
    half = np.stack([(corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2], axis=1)
    if abs(np.linalg.det(half)) < 1e-12:
        return np.zeros(len(centres), bool)
    along = np.linalg.solve(half, (centres - middle).T)
    return np.asarray((along**2).sum(axis=0) <= 1.0)
