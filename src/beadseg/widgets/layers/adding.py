"""Adding a layer beside the one that a person works with."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer


def add_beside(viewer: ViewerModel, layer: Layer, index: int | None = None) -> None:
    """Add a layer on top, or at a place of the list, and leave the layers that are selected selected.

    By itself napari selects a new layer and shows its controls, which holds the viewer up for a tenth of a second.
    """
    selection = viewer.layers.selection
    before = set(selection)
    with selection.events.blocker_all():
        viewer.layers.insert(len(viewer.layers) if index is None else index, layer)
        selection.clear()
        selection.update(before)
