"""Bring a place of an image into view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer

ZOOM = 4.0
"""Canvas pixels per image pixel at least, so that one bead can be seen."""


def go_to(viewer: ViewerModel, layer: Layer, place: Sequence[float], plane: Sequence[int] = ()) -> None:
    """Show `place` (y, x) px of a layer in the middle of the canvas, and its plane of a stack.

    Zooms in where it is too far away to see a bead, never out.
    """
    index = [*plane, *place]
    own = np.asarray(layer.data_to_world([0.0] * (layer.ndim - len(index)) + index))
    if plane:
        dims = viewer.dims
        for axis, value in enumerate(own[:-2], start=dims.ndim - layer.ndim):
            dims.set_point(axis, value)
    camera = camera_of(viewer)
    centre = list(camera.center)
    centre[-2:] = own[-2:]
    camera.center = tuple(float(value) for value in centre)
    camera.zoom = max(float(camera.zoom), ZOOM / float(np.asarray(layer.scale)[-1]))


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera, which belongs to the viewer's scene since napari 0.9."""
    return getattr(viewer, "scene", viewer).camera
