"""Which beads lie in the shapes of a shapes layer, and how large these are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.path import Path as Outline
from skimage.draw import polygon2mask

if TYPE_CHECKING:
    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray

ELLIPSE_POINTS = 180
"""Corners that an ellipse is drawn with: it is smaller by 0.02 per cent."""
AREAS = ("rectangle", "polygon", "ellipse")
"""Kinds of shapes that have an inside."""


@dataclass(frozen=True, eq=False)
class Region:
    """The shapes of a layer, in pixels of an image; made in the viewer's thread, used in any.

    Attributes
    ----------
    name : str
        Of the layer.
    outlines : tuple
        Of every shape that has an inside: the plane that it was drawn on, None where on all, and its outline (N, 2),
        (y, x) px.
    """

    name: str
    outlines: tuple[tuple[tuple[int, ...] | None, NDArray[np.float64]], ...]

    @classmethod
    def of(cls, shapes: Shapes, labels: Labels) -> Region:
        """Look at a layer of shapes; shapes with more axes than y and x belong to the plane they were drawn on."""
        outlines = []
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
            if kind not in AREAS:
                continue
            places = [labels.world_to_data(_padded(shapes.data_to_world(corner), labels.ndim)) for corner in corners]
            own = np.array(places, float)
            flat = own[:, -2:]
            plane = tuple(int(at) for at in np.rint(own[0, :-2])) if np.asarray(corners).shape[1] > 2 else None
            outlines.append((plane, _ellipse(flat) if kind == "ellipse" else flat))
        return cls(str(shapes.name), tuple(outlines))

    def on(self, plane: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Return the outlines that are on a plane."""
        return [outline for own, outline in self.outlines if own is None or own == plane]

    def inside(self, plane: tuple[int, ...], centres: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell of every centre (N, 2), (y, x) px, whether it lies in a shape of the plane."""
        found = np.zeros(len(centres), bool)
        for outline in self.on(plane):
            found |= Outline(outline).contains_points(centres)
        return found

    def area(self, plane: tuple[int, ...], size: tuple[int, int]) -> int:
        """Return how many pixels of an image of a size have their centre in a shape; what overlaps counts once."""
        covered = np.zeros(size, bool)
        for outline in self.on(plane):
            low = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
            high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 1, size)
            if (high <= low).any():
                continue
            part = tuple(int(length) for length in high - low)
            mask: NDArray[np.bool_] = polygon2mask(part, outline - low)  # type: ignore[no-untyped-call]
            covered[low[0] : high[0], low[1] : high[1]] |= mask
        return int(covered.sum())


def _padded(place: Any, ndim: int) -> NDArray[np.float64]:
    """Return world coordinates with as many axes as a layer has, zeros before them."""
    place = np.asarray(place, float)[-ndim:]
    return np.concatenate([np.zeros(ndim - len(place)), place])


def _ellipse(corners: NDArray[Any]) -> NDArray[np.float64]:
    """Return the outline of the ellipse in a box of four corners, which may be turned."""
    middle = corners.mean(axis=0)
    half = np.stack([(corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2])
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
    return np.asarray(middle + np.column_stack([np.cos(angle), np.sin(angle)]) @ half)
