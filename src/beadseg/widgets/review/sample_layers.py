"""The layers of the sample in hand, by name: made when first needed, then filled with one sample after another."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from beadseg.widgets.review.frame import frame, new_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from napari.layers import Image, Labels, Layer, Vectors
    from napari.viewer import Viewer

    from beadseg.annotation.audit.document import Box
    from beadseg.widgets.review.page import Page

IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL, IGNORED = (
    "review: image", "review: mask", "review: place", "review: image again", "review: proposal", "review: ignored",
)  # fmt: skip
ORDER = (IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL, IGNORED)
"""From the bottom; two viewboxes of three, side by side."""
COLOURS = {PROPOSAL: ((0.0, 0.9, 1.0, 1),), IGNORED: ((0.25, 0.35, 1.0, 1),)}
MASK_COLOURS = (
    (1.0, 0.85, 0.1, 1), (1.0, 0.35, 0.3, 1), (0.45, 0.95, 0.3, 1), (1.0, 0.55, 0.95, 1), (1.0, 0.6, 0.1, 1),
    (0.75, 0.65, 1.0, 1), (0.95, 0.95, 0.95, 1),
)  # fmt: skip
"""Bright on brightfield images, and none like the others'; red, green, blue, opacity."""
FILLED, OUTLINED = 0.45, 0.9
"""Opacity of a mask."""


class SampleLayers(QObject):
    """Keeps the layers of one sample in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are; other layers are left alone.
    """

    painted = Signal()
    """The mask was changed by a tool of the viewer, or an undo of it."""
    lost = Signal()
    """The user removed the mask's or the image's layer."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._layers: dict[str, Any] = {}
        self._busy = False
        self.outlined = True
        self.place: Box | None = None
        """What is framed."""
        viewer.layers.events.removed.connect(self._on_removed)

    def __contains__(self, name: str) -> bool:
        return name in self._layers

    def get(self, name: str) -> Any:
        """Return a layer; None where there is none of the name."""
        return self._layers.get(name)

    def all(self) -> list[Layer]:
        """Return the layers that there are."""
        return list(self._layers.values())

    def set_visible(self, name: str, visible: bool) -> None:
        """Show or hide a layer where there is one."""
        layer = self._layers.get(name)
        if layer is not None and layer.visible != visible:  # setting it ends the tool in use
            layer.visible = visible

    def show_image(self, name: str, page: Page) -> None:
        """Show the image of a page."""
        layer: Image | None = self._layers.get(name)
        if layer is not None and (layer.rgb, layer.data.ndim) != (page.rgb, page.pixels.ndim):
            self.remove(name)
            layer = None
        with self._changing():
            if layer is None:
                layer = self._viewer.add_image(page.pixels, name=name, rgb=page.rgb, visible=name == IMAGE)
                self._layers[name] = layer
            else:
                layer.data = page.pixels
            if not page.rgb:
                layer.contrast_limits_range = page.limits
                layer.contrast_limits = page.limits

    def show_labels(self, name: str, labels: np.ndarray) -> None:
        """Show labels in place of those before; the viewer's undo of strokes starts again."""
        layer: Labels | None = self._layers.get(name)
        if layer is not None and layer.data.ndim != labels.ndim:
            self.remove(name)
            layer = None
        with self._changing():
            if layer is None:
                layer = self._new_labels(name, labels)
            else:
                mode = layer.mode
                layer.editable = False  # which forgets the strokes on the sample before
                layer.data = labels
                layer.mode = mode
            if name == MASK:
                layer.selected_label = int(labels.max(initial=0)) + 1

    def outline(self, outlined: bool) -> None:
        """Draw masks as outlines, or filled."""
        self.outlined = outlined
        for name in {MASK, PROPOSAL} & set(self._layers):
            self._layers[name].contour = int(outlined)
            self._layers[name].opacity = OUTLINED if outlined else FILLED

    def mark(self, box: Box) -> None:
        """Draw the frame around a place."""
        with self._changing():
            layer: Vectors | None = self._layers.get(PLACE)
            if layer is None:
                self._layers[PLACE] = new_frame(self._viewer, PLACE, box)
            elif not layer.visible:
                layer.data = frame(box)
                layer.visible = True
            elif box != self.place:
                layer.data = frame(box)
        self.place = box

    def arrange(self) -> None:
        """Bring the layers into their order, and make the mask the one to paint on."""
        layers = self._viewer.layers
        for at, name in enumerate(name for name in ORDER if name in self._layers):
            place = layers.index(self._layers[name])
            if place != at:
                layers.move(place, at)
        layers.selection.active = self._layers.get(MASK)

    def remove(self, name: str) -> None:
        """Take a layer away."""
        layer = self._layers.pop(name, None)
        if layer is not None and layer in self._viewer.layers:
            with self._changing():
                self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Stop listening to the viewer."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _new_labels(self, name: str, labels: np.ndarray) -> Labels:
        from napari.utils import CyclicLabelColormap

        colormap = CyclicLabelColormap(colors=[(0, 0, 0, 0), *COLOURS.get(name, MASK_COLOURS)])
        layer: Labels = self._viewer.add_labels(
            labels, name=name, colormap=colormap, visible=name == MASK, opacity=FILLED
        )
        self._layers[name] = layer
        if name == MASK:
            layer.events.paint.connect(self._on_paint)
            layer.events.set_data.connect(self._on_paint)
        self.outline(self.outlined)
        return layer

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Mark what happens inside as done by the program, not by the user."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _on_paint(self, event: object = None) -> None:
        if not self._busy:
            self.painted.emit()

    def _on_removed(self, event: Any) -> None:
        # Not `is`: the viewer hands plugins proxies of its layers, events the layers themselves.
        name = next((name for name, layer in self._layers.items() if layer == event.value), None)
        if name is None or self._busy:
            return
        del self._layers[name]
        if name in (IMAGE, MASK):
            self.lost.emit()
