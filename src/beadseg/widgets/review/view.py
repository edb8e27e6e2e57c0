"""The current sample in the viewer: layers for image, mask, proposal, place of a finding and ignored region."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.errors import InputError
from beadseg.widgets.io.folder_layers import BEAD_COLOURS
from beadseg.widgets.layers import StepQueue
from beadseg.widgets.mouse_tools import change_layer
from beadseg.widgets.review.sample import grey_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from napari.layers import Image, Labels, Layer, Vectors
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.edit import Patch
    from beadseg.widgets.review.sample import ReviewSample

BLINK_MS = 600
"""Each of the two masks is shown for so long, in turns."""
CONTEXT = 1.6
"""A place is shown with its surroundings: side of what is seen over the side of the place."""
NOWHERE = (0, 0, 1, 1)
"""Place of the frame before there is one to be seen."""

IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL, IGNORED = (
    "review: image", "review: mask", "review: place", "review: image again", "review: proposal", "review: ignored",
)  # fmt: skip
ORDER = (IMAGE, MASK, PLACE, OTHER_IMAGE, PROPOSAL, IGNORED)
"""From the bottom; two viewboxes of three, side by side."""
COLOURS = {PROPOSAL: ((0.0, 0.9, 1.0, 1),), IGNORED: ((0.25, 0.35, 1.0, 1),)}
INVERTED = 0.5
"""A mask that marks more of the image than this may be inverted."""
FILLED, OUTLINED = 0.45, 0.9
"""Opacity of a mask."""

COLOUR = "#ffd400"
WIDTH = 1.0
"""Of the lines, px of the image."""


class Comparison(StrEnum):
    """What is shown of mask and proposal."""

    MASK = "Mask"
    PROPOSAL = "Proposal"
    BLINK = "In turns"
    SIDE = "Side by side"


class View(QObject):
    """Shows pages in a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Where its layers are; other layers are left alone.
    """

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.sample: ReviewSample | None = None
        self.comparison = Comparison.MASK
        self.mostly_marked = False
        """Most of the image is marked: drawn filled, since the outline of an inverted mask looks right."""
        self._layers = SampleLayers(viewer, self)
        self.painted, self.lost = self._layers.painted, self._layers.lost
        self._stale: set[str] = set()
        self._found: tuple[bool, Box] | None = None
        self._blink = QTimer(self)
        self._blink.setInterval(BLINK_MS)
        self._blink.timeout.connect(self._turn)
        self._ahead = StepQueue(self)
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

    def show(self, sample: ReviewSample, comparison: Comparison = Comparison.MASK) -> None:
        """Show a page in place of the one before; the mask shown can be changed, the page's stays as it is.

        The place of the finding before stays marked until `go_to`, which must follow: to hide a layer and to show it
        again costs as much as all the rest.
        """
        self._layers.show_image(IMAGE, sample)
        self._layers.show_labels(MASK, sample.labels.copy())
        self.mostly_marked = float((sample.labels > 0).mean()) > INVERTED
        self._layers.draw(self.outlined and not self.mostly_marked)
        self._age(sample)
        if PLACE not in self._layers:
            self._layers.mark(NOWHERE)
        self.show_ignored(sample)
        self.compare(comparison)
        self._layers.arrange()
        if sample.proposal is not None:
            self._make_ahead()

    def take(self, labels: np.ndarray) -> None:
        """Put another mask, such as recovered strokes, in place of the shown one; the viewer's undo starts again."""
        if self.mask is not None:
            self._layers.show_labels(MASK, labels.copy())

    def show_ignored(self, sample: ReviewSample) -> None:
        """Show what of a page is neither bead nor background, as it is now."""
        self.sample = sample
        if sample.ignored is not None:
            self._layers.show_labels(IGNORED, sample.ignored.astype(np.uint8))
            self._layers.arrange()
        self._layers.set_visible(IGNORED, sample.ignored is not None)

    def compare(self, comparison: Comparison) -> None:
        """Show the mask, the proposal, or both; the mask alone where nothing is proposed."""
        if self.sample is None or self.sample.proposal is None:
            comparison = Comparison.MASK
        self.comparison = comparison
        side = comparison is Comparison.SIDE
        if self.sample is not None and comparison is not Comparison.MASK:
            self._freshen(PROPOSAL, self.sample)
        if self.sample is not None and side:
            self._freshen(OTHER_IMAGE, self.sample)
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
        if self.sample is None:
            return
        if plane:
            self._viewer.dims.current_step = (*plane, *self._viewer.dims.current_step[len(plane) :])
        height, width = self.sample.labels.shape[-2:]
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
        self.sample = None
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
        if self.sample is not None and name not in self._layers:
            self._freshen(name, self.sample)

    def _age(self, sample: ReviewSample) -> None:
        """Leave proposal and second image of the page before until they are looked at, if they have its size."""
        self._stale = {OTHER_IMAGE, PROPOSAL}
        for name in sorted(self._stale):
            layer = self._layers.get(name)
            if layer is not None and layer.data.shape[: sample.labels.ndim] != sample.labels.shape:
                self._freshen(name, sample)

    def _freshen(self, name: str, sample: ReviewSample) -> None:
        if name not in self._stale:
            return
        self._stale = self._stale - {name}
        if name == OTHER_IMAGE:
            self._layers.show_image(name, sample)
        else:
            self._layers.show_labels(name, sample.labels if sample.proposal is None else sample.proposal)
        self._layers.arrange()

    def _turn(self) -> None:
        proposal = self._layers.get(PROPOSAL)
        if proposal is not None and self.mask is not None:
            proposal.visible = not proposal.visible
            self.mask.visible = not proposal.visible


class MaskBeads:
    """The mask that is seen, for the bead tool: `beadseg.widgets.mouse_tools.Beads`.

    Parameters
    ----------
    view : View
        Where the mask is.
    size : callable
        Returns the diameter of a bead of the dataset, px, and what beads are against the background.
    """

    def __init__(self, view: View, size: Callable[[], tuple[float, Literal["dark", "bright"]]]) -> None:
        self._view, self._size = view, size

    def bead_labels(self, plane: tuple[int, ...]) -> NDArray[np.uint32] | None:
        """Return the mask of a plane."""
        mask = self._view.mask
        return None if self._view.sample is None or mask is None else np.asarray(mask.data)[plane]

    def grey(self, plane: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the brightness of a plane."""
        if self._view.sample is None:
            raise InputError("No sample is shown.", remedy="Click one in the queue.")
        return grey_plane(self._view.sample, plane)

    def bead_size(self, y: float, x: float, plane: tuple[int, ...]) -> tuple[float, Literal["dark", "bright"]]:
        """Return the diameter of a bead, and what beads are: those of the dataset, at every place."""
        return self._size()

    def change(self, patch: Patch, plane: tuple[int, ...]) -> None:
        """Change the mask of a plane, as a stroke of napari's own."""
        if self._view.mask is not None:
            change_layer(self._view.mask, patch, plane)


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
        self.outlined = self._drawn = True
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

    def show_image(self, name: str, sample: ReviewSample) -> None:
        """Show the image of a page."""
        layer: Image | None = self._layers.get(name)
        if layer is not None and (layer.rgb, layer.data.ndim) != (sample.rgb, sample.pixels.ndim):
            self.remove(name)
            layer = None
        with self._changing():
            if layer is None:
                layer = self._viewer.add_image(sample.pixels, name=name, rgb=sample.rgb, visible=name == IMAGE)
                self._layers[name] = layer
            else:
                layer.data = sample.pixels
            if not sample.rgb:
                layer.contrast_limits_range = sample.limits
                layer.contrast_limits = sample.limits

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
        """Draw masks as outlines, or filled, from now on."""
        self.outlined = outlined
        self.draw(outlined)

    def draw(self, outlined: bool) -> None:
        """Draw the masks of this sample as outlines, or filled."""
        self._drawn = outlined
        for name in {MASK, PROPOSAL} & set(self._layers):
            layer = self._layers[name]
            if layer.contour != int(outlined):  # each setting draws it again
                layer.contour, layer.opacity = int(outlined), OUTLINED if outlined else FILLED

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

        colormap = CyclicLabelColormap(colors=[(0, 0, 0, 0), *COLOURS.get(name, BEAD_COLOURS)])
        layer: Labels = self._viewer.add_labels(
            labels, name=name, colormap=colormap, visible=name == MASK, opacity=FILLED
        )
        self._layers[name] = layer
        if name == MASK:
            layer.events.paint.connect(self._on_paint)
            layer.events.set_data.connect(self._on_paint)
        self.draw(self._drawn)
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


def frame(box: Box) -> NDArray[np.float64]:
    """Return the four sides of a box, (4, 2, 2): beginning, and way to the end, as y and x in px."""
    top, left, bottom, right = (value - 0.5 for value in box)
    height, width, half = bottom - top, right - left, WIDTH / 2  # each line covers the corners at both of its ends
    across, down = (0.0, width + WIDTH), (height + WIDTH, 0.0)
    return np.array(
        [
            [(top, left - half), across],
            [(bottom, left - half), across],
            [(top - half, left), down],
            [(top - half, right), down],
        ]
    )


def new_frame(viewer: Viewer, name: str, box: Box) -> Vectors:
    """Add a frame to the viewer."""
    options: dict[str, Any] = {"edge_color": COLOUR, "edge_width": WIDTH, "vector_style": "line"}
    layer: Vectors = viewer.add_vectors(frame(box), name=name, **options)
    return layer
