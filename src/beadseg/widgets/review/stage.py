"""The sample in hand in the viewer: what is seen of image, mask, proposal, place of a finding and ignored region."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer

from beadseg.widgets.layers.turns import Turns
from beadseg.widgets.review.sample_layers import (
    IGNORED,
    IMAGE,
    MASK,
    ORDER,
    OTHER_IMAGE,
    PLACE,
    PROPOSAL,
    SampleLayers,
)  # fmt: skip

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

    from beadseg.annotation.audit.document import Box
    from beadseg.widgets.review.page import Page

BLINK_MS = 600
"""Each of the two masks is shown for so long, in turns."""
CONTEXT = 1.6
"""A place is shown with its surroundings: side of what is seen over the side of the place."""
NOWHERE = (0, 0, 1, 1)
"""Place of the frame before there is one to be seen."""


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

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.page: Page | None = None
        self.comparison = Comparison.MASK
        self._layers = SampleLayers(viewer, self)
        self.painted, self.lost = self._layers.painted, self._layers.lost
        self._stale: set[str] = set()
        self._found: tuple[bool, Box] | None = None
        self._blink = QTimer(self)
        self._blink.setInterval(BLINK_MS)
        self._blink.timeout.connect(self._turn)
        self._ahead = Turns(self)
        grid = viewer.canvas.grid
        self._grid = {"stride": grid.stride, "shape": grid.shape}
        grid.stride, grid.shape = 3, (1, 2)  # each change of an enabled grid would rebuild the scene

    @property
    def mask(self) -> Labels | None:
        """The mask's layer."""
        layer: Labels | None = self._layers.get(MASK)
        return layer

    @property
    def layers(self) -> list[Layer]:
        """All of its layers that there are."""
        return self._layers.all()

    @property
    def hidden(self) -> list[str]:
        """Names of those layers that should be seen now and were hidden in the layer list."""
        wanted = [IMAGE]
        if self.comparison is Comparison.SIDE:
            wanted += [MASK, PROPOSAL]
        elif self.comparison is not Comparison.BLINK:
            wanted.append(PROPOSAL if self.comparison is Comparison.PROPOSAL else MASK)
        return [name for name in wanted if name in self._layers and not self._layers.get(name).visible]

    @property
    def outlined(self) -> bool:
        """Whether masks are drawn as outlines."""
        return self._layers.outlined

    def show(self, page: Page, comparison: Comparison = Comparison.MASK) -> None:
        """Show a page in place of the one before; the mask shown can be changed, the page's stays as it is.

        The place of the finding before stays marked until `go_to`, which must follow: to hide a layer and to show it
        again costs as much as all the rest.
        """
        self._layers.show_image(IMAGE, page)
        self._layers.show_labels(MASK, page.labels.copy())
        self._age(page)
        if PLACE not in self._layers:
            self._layers.mark(NOWHERE)
        self.show_ignored(page)
        self.compare(comparison)
        self._layers.arrange()
        if page.proposal is not None:
            self._make_ahead()

    def take(self, labels: np.ndarray) -> None:
        """Put another mask, such as recovered strokes, in place of the shown one; the viewer's undo starts again."""
        if self.mask is not None:
            self._layers.show_labels(MASK, labels.copy())

    def show_ignored(self, page: Page) -> None:
        """Show what of a page is neither bead nor background, as it is now."""
        self.page = page
        if page.ignored is not None:
            self._layers.show_labels(IGNORED, page.ignored.astype(np.uint8))
            self._layers.arrange()
        self._layers.set_visible(IGNORED, page.ignored is not None)

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
        self._layers.set_visible(MASK, comparison is not Comparison.PROPOSAL)
        self._layers.set_visible(PROPOSAL, comparison in (Comparison.PROPOSAL, Comparison.SIDE))
        self._layers.set_visible(OTHER_IMAGE, side)
        grid = self._viewer.canvas.grid
        if grid.enabled != side:
            grid.enabled = side
            self._viewer.scene.camera.zoom *= 0.5 if side else 2.0  # each of the two has half of the width
        if comparison is Comparison.BLINK:
            self._blink.start()
        else:
            self._blink.stop()

    def outline(self, outlined: bool) -> None:
        """Draw masks as outlines, or filled."""
        self._layers.outline(outlined)

    def aim(self, box: Box | None) -> None:
        """Frame a box while it is dragged; None puts the frame back to where it was."""
        place = self._layers.get(PLACE)
        if place is None:
            return
        if box is not None:
            self._found = self._found or (place.visible, self._layers.place or NOWHERE)
            self._layers.mark(box)
        elif self._found is not None:
            (visible, before), self._found = self._found, None
            self._layers.mark(before)
            self._layers.set_visible(PLACE, visible)

    def go_to(self, box: Box | None, plane: tuple[int, ...] = ()) -> None:
        """Bring a place into view, and mark it; the whole image where `box` is None."""
        if self.page is None:
            return
        if plane:
            self._viewer.dims.current_step = (*plane, *self._viewer.dims.current_step[len(plane) :])
        height, width = self.page.labels.shape[-2:]
        top, left, bottom, right = box or (0, 0, height, width)
        if box is not None:
            self._layers.mark(box)
        else:
            self._layers.set_visible(PLACE, False)
        canvas = np.array(self._viewer.canvas.size, float)
        if self._viewer.canvas.grid.enabled:
            canvas[1] /= 2
        around = CONTEXT if box else 1.05
        camera = self._viewer.scene.camera
        center = (*camera.center[:-2], (top + bottom - 1) / 2, (left + right - 1) / 2)
        zoom = float(min(canvas / (np.array([bottom - top, right - left]) * around)))
        camera.update({"center": center, "zoom": zoom})

    def clear(self) -> None:
        """Take all layers away."""
        self._blink.stop()
        self._ahead.stop()
        self.page = None
        if self._viewer.canvas.grid.enabled and self.comparison is Comparison.SIDE:
            self._viewer.canvas.grid.enabled = False
        for name in ORDER:
            self._layers.remove(name)

    def close(self) -> None:
        """Take all layers away and stop listening to the viewer."""
        self.clear()
        self._layers.close()
        self._viewer.canvas.grid.update(self._grid)

    def _make_ahead(self) -> None:
        """Make the layers of the comparison before they are asked for: making one takes long, filling it does not."""
        missing = [name for name in (PROPOSAL, OTHER_IMAGE) if name not in self._layers]
        self._ahead.start([partial(self._make, name) for name in missing])

    def _make(self, name: str) -> None:
        if self.page is not None and name not in self._layers:
            self._freshen(name, self.page)

    def _age(self, page: Page) -> None:
        """Leave proposal and second image of the page before until they are looked at, if they have its size."""
        self._stale = {OTHER_IMAGE, PROPOSAL}
        for name in sorted(self._stale):
            layer = self._layers.get(name)
            if layer is not None and layer.data.shape[: page.labels.ndim] != page.labels.shape:
                self._freshen(name, page)

    def _freshen(self, name: str, page: Page) -> None:
        if name not in self._stale:
            return
        self._stale = self._stale - {name}
        if name == OTHER_IMAGE:
            self._layers.show_image(name, page)
        else:
            self._layers.show_labels(name, page.labels if page.proposal is None else page.proposal)
        self._layers.arrange()

    def _turn(self) -> None:
        proposal = self._layers.get(PROPOSAL)
        if proposal is not None and self.mask is not None:
            proposal.visible = not proposal.visible
            self.mask.visible = not proposal.visible
