"""The sample in hand as layers of the viewer: image, mask, proposed correction, place of a finding."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.widgets.review.frame import frame, new_frame

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image, Labels, Layer, Vectors
    from napari.viewer import Viewer

    from beadseg.annotation.audit.document import Box
    from beadseg.widgets.review.page import Page

IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL = (
    "review: image", "review: mask", "review: place", "review: image again", "review: proposal",
)  # fmt: skip
"""Names of the layers, from the bottom; two viewboxes of three, side by side."""
PROPOSAL_COLOUR = (0.0, 0.9, 1.0, 1.0)
MASK_COLOURS = (
    (1.0, 0.85, 0.1, 1), (1.0, 0.35, 0.3, 1), (0.45, 0.95, 0.3, 1), (1.0, 0.55, 0.95, 1), (1.0, 0.6, 0.1, 1),
    (0.75, 0.65, 1.0, 1), (0.95, 0.95, 0.95, 1),
)  # fmt: skip
"""Bright on brightfield images, and none like the proposal's; red, green, blue, opacity."""
FILLED, OUTLINED = 0.45, 0.9
"""Opacity of a mask."""
BLINK_MS = 600
"""Each of the two masks is shown for so long, in turns."""
CONTEXT = 1.6
"""A place is shown with its surroundings: side of what is seen over the side of the place."""


class Comparison(StrEnum):
    """What is shown of mask and proposal."""

    MASK = "Mask"
    PROPOSAL = "Proposal"
    BLINK = "In turns"
    SIDE = "Side by side"


class Stage(QObject):
    """Shows pages in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where its layers are; other layers are left alone.
    """

    painted = Signal()
    """The mask was changed by a tool of the viewer, or an undo of it."""
    lost = Signal()
    """The user removed the mask's or the image's layer."""

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.page: Page | None = None
        self.comparison = Comparison.MASK
        self._outlined = True
        self._layers: dict[str, Any] = {}
        self._stale: set[str] = set()
        self._box: Box | None = None
        self._busy = False
        self._blink = QTimer(self)
        self._blink.setInterval(BLINK_MS)
        self._blink.timeout.connect(self._turn)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def mask(self) -> Labels | None:
        """The mask's layer."""
        return self._layers.get(MASK)

    @property
    def image(self) -> Image | None:
        """The image's layer."""
        return self._layers.get(IMAGE)

    @property
    def layers(self) -> list[Layer]:
        """All of its layers that there are."""
        return list(self._layers.values())

    @property
    def outlined(self) -> bool:
        """Whether masks are drawn as outlines."""
        return self._outlined

    def show(self, page: Page, comparison: Comparison = Comparison.MASK) -> None:
        """Show a page in place of the one before; the mask shown can be changed, the page's stays as it is.

        The place of the finding before stays marked until `go_to`, which must follow: to hide a layer and to show it
        again costs as much as all the rest.
        """
        with self._changing():
            self.page = page
            self._show_image(IMAGE, page)
            mask = self._show_labels(MASK, page.labels.copy())
            self._age(page)
            if PLACE not in self._layers:
                self._mark((0, 0, 1, 1))
            self.compare(comparison)
            self._order()
            self._viewer.layers.selection.active = mask

    def take(self, labels: np.ndarray) -> None:
        """Put another mask, such as recovered strokes, in place of the shown one; the viewer's undo begins anew."""
        if self.mask is not None:
            with self._changing():
                self._show_labels(MASK, labels.copy())

    def compare(self, comparison: Comparison) -> None:
        """Show the mask, the proposal, or both; the mask alone where nothing is proposed."""
        if self.page is None or self.page.proposal is None:
            comparison = Comparison.MASK
        self.comparison = comparison
        side = comparison is Comparison.SIDE
        if self.page is not None and comparison is not Comparison.MASK:
            self._freshen(PROPOSAL, self.page)
        if self.page is not None and side:
            self._freshen(OTHER_IMAGE, self.page)
        shown = {
            MASK: comparison is not Comparison.PROPOSAL,
            PROPOSAL: comparison in (Comparison.PROPOSAL, Comparison.SIDE),
            OTHER_IMAGE: side,
        }
        for name, visible in shown.items():
            if name in self._layers and self._layers[name].visible != visible:  # setting it ends the tool in use
                self._layers[name].visible = visible
        grid = self._viewer.canvas.grid
        if grid.enabled != side:
            grid.stride, grid.shape, grid.enabled = 3, (1, 2) if side else (-1, -1), side
            self._viewer.scene.camera.zoom *= 0.5 if side else 2.0  # each of the two has half of the width
        if comparison is Comparison.BLINK:
            self._blink.start()
        else:
            self._blink.stop()

    def outline(self, outlined: bool) -> None:
        """Draw masks as outlines, or filled."""
        self._outlined = outlined
        for name in (MASK, PROPOSAL):
            if name in self._layers:
                self._layers[name].contour = int(outlined)
                self._layers[name].opacity = OUTLINED if outlined else FILLED

    def go_to(self, box: Box | None, plane: tuple[int, ...] = ()) -> None:
        """Bring a place into view, and mark it; the whole image where `box` is None."""
        if self.page is None:
            return
        if plane:
            self._viewer.dims.current_step = (*plane, *self._viewer.dims.current_step[len(plane) :])
        height, width = self.page.labels.shape[-2:]
        top, left, bottom, right = box or (0, 0, height, width)
        with self._changing():
            if box is not None:
                self._mark(box)
            elif PLACE in self._layers and self._layers[PLACE].visible:
                self._layers[PLACE].visible = False
        canvas = np.array(self._viewer.canvas.size, float)
        if self._viewer.canvas.grid.enabled:
            canvas[1] /= 2
        around = CONTEXT if box else 1.05
        camera = self._viewer.scene.camera
        center = (*camera.center[:-2], (top + bottom - 1) / 2, (left + right - 1) / 2)
        zoom = float(min(canvas / (np.array([bottom - top, right - left]) * around)))
        camera.update({"center": center, "zoom": zoom})

    def plane(self) -> tuple[int, ...]:
        """Return which plane of a stack is shown; empty for a single image."""
        if self.page is None:
            return ()
        count = self.page.labels.ndim - 2
        return tuple(int(step) for step in self._viewer.dims.current_step[:count])

    def clear(self) -> None:
        """Take all layers away."""
        self._blink.stop()
        self.page = None
        if self._viewer.canvas.grid.enabled and self.comparison is Comparison.SIDE:
            self._viewer.canvas.grid.enabled = False
        for name in list(self._layers):
            self._drop(name)

    def close(self) -> None:
        """Take all layers away and stop listening to the viewer."""
        self.clear()
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _age(self, page: Page) -> None:
        """Leave proposal and second image of the page before until they are looked at, if they have its size."""
        self._stale = {OTHER_IMAGE, PROPOSAL}
        for name in self._stale & set(self._layers):
            if self._layers[name].data.shape[: page.labels.ndim] != page.labels.shape:
                self._freshen(name, page)

    def _freshen(self, name: str, page: Page) -> None:
        if name not in self._stale:
            return
        self._stale = self._stale - {name}
        with self._changing():
            if name == OTHER_IMAGE:
                self._show_image(name, page)
            else:
                self._show_labels(name, page.labels if page.proposal is None else page.proposal)
            self._order()
            self._viewer.layers.selection.active = self.mask  # a layer that is added would be the one to paint on

    def _show_image(self, name: str, page: Page) -> None:
        layer: Image | None = self._layers.get(name)
        if layer is not None and (layer.rgb, layer.data.ndim) != (page.rgb, page.pixels.ndim):
            self._drop(name)
            layer = None
        if layer is None:
            self._layers[name] = self._viewer.add_image(page.pixels, name=name, rgb=page.rgb, visible=name == IMAGE)
        else:
            layer.data = page.pixels
        if not page.rgb:
            self._layers[name].contrast_limits_range = page.limits
            self._layers[name].contrast_limits = page.limits

    def _show_labels(self, name: str, labels: np.ndarray) -> Labels:
        layer: Labels | None = self._layers.get(name)
        if layer is not None and layer.data.ndim != labels.ndim:
            self._drop(name)
            layer = None
        if layer is None:
            layer = self._new_labels(name, labels)
        else:
            mode = layer.mode
            layer.editable = False  # which forgets the strokes on the sample before
            layer.data = labels
            layer.mode = mode
        if name == MASK:
            layer.selected_label = int(labels.max(initial=0)) + 1
        return layer

    def _new_labels(self, name: str, labels: np.ndarray) -> Labels:
        from napari.utils import CyclicLabelColormap

        colours = [PROPOSAL_COLOUR] if name == PROPOSAL else MASK_COLOURS
        colormap = CyclicLabelColormap(colors=[(0, 0, 0, 0), *colours])
        layer: Labels = self._viewer.add_labels(labels, name=name, colormap=colormap, visible=name == MASK)
        self._layers[name] = layer
        if name == MASK:
            layer.events.paint.connect(self._on_paint)
            layer.events.set_data.connect(self._on_paint)
        self.outline(self._outlined)
        return layer

    def _mark(self, box: Box) -> None:
        """Draw a frame around a place."""
        layer: Vectors | None = self._layers.get(PLACE)
        if layer is None:
            self._layers[PLACE] = new_frame(self._viewer, PLACE, box)
        elif not layer.visible:
            layer.data = frame(box)
            layer.visible = True
        elif box != self._box:
            layer.data = frame(box)
        self._box = box

    def _order(self) -> None:
        """Bring the layers into the order that side by side needs, the place in the first viewbox."""
        layers = self._viewer.layers
        for at, name in enumerate(n for n in (IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL) if n in self._layers):
            place = layers.index(self._layers[name])
            if place != at:
                layers.move(place, at)

    def _drop(self, name: str) -> None:
        layer = self._layers.pop(name, None)
        if layer is not None and layer in self._viewer.layers:
            with self._changing():
                self._viewer.layers.remove(layer)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Mark what happens inside as done by the program, not by the user."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _turn(self) -> None:
        proposal = self._layers.get(PROPOSAL)
        if proposal is not None and self.mask is not None:
            proposal.visible = not proposal.visible
            self.mask.visible = not proposal.visible

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
