"""The mouse on a labels layer: add, remove, separate or merge beads, or drag a box over what is to be ignored.

Review and Count share these tools: napari's own layer is changed in one, labels that follow sliders in the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from beadseg.annotation.edit import added, at, fit_bead, merged, removed, separated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Literal

    from napari.layers import Labels
    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.edit import Patch

    Place = tuple[float, float]
    Plane = tuple[int, ...]

MODE = "pick"
"""Mode of the labels layer while a tool is on: a drag does not move the image then, and Space still does."""
CLICK_PX = 4.0
"""A shorter way between press and release, in screen pixels, is a click."""


class Tool(Protocol):
    """What clicks and drags on a mask are for; places are y and x in px, `plane` one index per axis of a stack."""

    def click(self, layer: Labels, y: float, x: float, plane: Plane) -> None:
        """Take a click."""

    def aim(self, start: Place, now: Place) -> None:
        """Show what the drag would do if it ended now."""

    def drag(self, layer: Labels, start: Place, end: Place, plane: Plane) -> None:
        """Take a drag."""


class MouseTools:
    """Turns tools on and off; only one is on.

    Parameters
    ----------
    tools : mapping of str to Tool
        By name.
    changed : callable
        Gets the name of the tool that is on now, empty for none.
    """

    def __init__(self, tools: Mapping[str, Tool], changed: Callable[[str], None]) -> None:
        self.tools, self._changed = tools, changed
        self._layer: Labels | None = None
        self._name = ""

    @property
    def on(self) -> str:
        """Name of the tool that is on; empty while the layer's own brushes, or the camera, have the mouse."""
        return self._name if self._layer is not None and _is_held(self._layer) else ""

    def hold(self, layer: Labels | None, name: str = "") -> None:
        """Serve this layer, with a tool on or none."""
        if layer is not self._layer:
            if self._layer is not None:
                _let_go(self._layer)
                if self._drag in self._layer.mouse_drag_callbacks:
                    self._layer.mouse_drag_callbacks.remove(self._drag)
                for event in (self._layer.events.mode, self._layer.events.mouse_pan):
                    event.disconnect(self._report_tool)
            self._layer = layer
            if layer is not None:
                layer.mouse_drag_callbacks.append(self._drag)
                for event in (layer.events.mode, layer.events.mouse_pan):
                    event.connect(self._report_tool)
        self.switch(name)

    def switch(self, name: str) -> None:
        """Turn a tool on; with an empty name turn off the one that is."""
        self._name = name
        if self._layer is not None and bool(name) != _is_held(self._layer):
            (_hold if name else _let_go)(self._layer)
        self._report_tool()

    def click(self, y: float, x: float, plane: Plane = ()) -> None:
        """Click at a place of the image, px, with the tool that is on."""
        if self.on and self._layer is not None:
            self.tools[self.on].click(self._layer, y, x, plane)

    def _report_tool(self, event: object = None) -> None:
        self._changed(self.on)

    def _drag(self, layer: Labels, event: Any) -> Iterator[None]:
        """Serve as napari's callback for a press, the moves and the release of the mouse."""
        if not self.on or event.button != 1:
            return
        tool = self.tools[self.on]
        start, begun = _place(layer, event), event.pos
        yield
        while event.type == "mouse_move":
            tool.aim(start, _place(layer, event))
            yield
        end, plane = _place(layer, event), _plane(layer, event)
        if math.dist(begun, event.pos) < CLICK_PX:
            tool.click(layer, *start, plane)
        else:
            tool.drag(layer, start, end, plane)


def _is_held(layer: Labels) -> bool:
    """Tell whether drags on a layer go to a tool, and not to the camera."""
    return str(layer.mode) == MODE if layer.editable else not layer.mouse_pan


def _hold(layer: Labels) -> None:
    """Keep the camera still; napari knows no other modes of a layer that it cannot paint on, and no Space there."""
    if layer.editable:
        layer.mode = MODE
        return
    layer.mouse_pan = False
    layer.bind_key("Space", _pan_while_pressed, overwrite=True)


def _let_go(layer: Labels) -> None:
    if layer.editable:
        layer.mode = "pan_zoom"
        return
    layer.mouse_pan = True
    layer.bind_key("Space", None)


def _pan_while_pressed(layer: Labels) -> Iterator[None]:
    layer.mouse_pan = True
    yield
    layer.mouse_pan = False


def _place(layer: Labels, event: Any) -> Place:
    y, x = layer.world_to_data(event.position)[-2:]
    return float(y), float(x)


def _plane(layer: Labels, event: Any) -> tuple[int, ...]:
    return tuple(round(float(value)) for value in layer.world_to_data(event.position)[:-2])


class Beads(Protocol):
    """What the bead tool works on: one image with its labels, plane by plane."""

    def bead_labels(self, plane: Plane) -> NDArray[np.uint32] | None:
        """Return the labels (Y, X) of a plane, to look at; None while nothing is shown."""

    def grey(self, plane: Plane) -> NDArray[np.generic]:
        """Return the brightness (Y, X) of a plane."""

    def bead_size(self, y: float, x: float, plane: Plane) -> tuple[float, Literal["dark", "bright"]]:
        """Return the usual diameter of a bead at a place, px, and what beads are against the background."""

    def change(self, patch: Patch, plane: Plane) -> None:
        """Change the labels of a plane."""


class BeadTool:
    """Changes labels bead by bead; a `Tool`.

    Parameters
    ----------
    beads : Beads
        What is changed.
    show_status : callable
        Gets one sentence about what was done.
    """

    def __init__(self, beads: Beads, show_status: Callable[[str], None]) -> None:
        self._beads, self._show_status = beads, show_status

    def click(self, layer: Labels, y: float, x: float, plane: Plane) -> None:
        """Remove the bead at a place; add one where there is none."""
        labels = self._beads.bead_labels(plane)
        if labels is None or not (-0.5 <= y < labels.shape[0] - 0.5 and -0.5 <= x < labels.shape[1] - 0.5):
            return
        if at(labels, y, x):
            self.remove(y, x, plane)
            return
        bead = fit_bead(self._beads.grey(plane), y, x, *self._beads.bead_size(y, x, plane))
        how = "fitted to the image" if bead.fitted else "of the usual size; nothing to fit it to is seen here"
        if at(labels, bead.y, bead.x):
            self._show_status("The bead nearest to this place is marked already.")
            return
        self._apply(added(labels, bead), plane, f"Bead added, {how}.")

    def remove(self, y: float, x: float, plane: Plane) -> None:
        """Remove the bead at a place."""
        labels = self._beads.bead_labels(plane)
        if labels is not None:
            self._apply(removed(labels, y, x), plane, "Bead removed.", "There is no bead.")

    def aim(self, start: Place, now: Place) -> None:
        """Show nothing: what is separated or merged is seen when the drag ends."""

    def drag(self, layer: Labels, start: Place, end: Place, plane: Plane) -> None:
        """Merge two beads when the drag leads from one into the other; else separate the bead that it crosses."""
        labels = self._beads.bead_labels(plane)
        if labels is None:
            return
        first, last = at(labels, *start), at(labels, *end)
        if first and last and first != last:
            self._apply(merged(labels, start, end), plane, "Merged.", "These two do not touch.")
            return
        nothing = "Nothing to separate there: drag across a bead, or from one half of it to the other."
        self._apply(separated(labels, start, end), plane, "Separated.", nothing)

    def _apply(self, patch: Patch | None, plane: Plane, done: str, otherwise: str = "") -> None:
        if patch is not None:
            self._beads.change(patch, plane)
        if patch is not None or otherwise:
            self._show_status(done if patch is not None else otherwise)


def change_layer(layer: Labels, patch: Patch, plane: Plane) -> None:
    """Write a patch into a plane of a layer as one stroke, which the layer itself can undo."""
    places = patch.changed(np.asarray(layer.data)[plane])
    values = patch.values[tuple(axis - part.start for axis, part in zip(places, patch.window, strict=True))]
    before = tuple(np.full(len(places[0]), index) for index in plane)
    with layer.block_history():
        layer.data_setitem((*before, *places), values)


class IgnoreTool:
    """Tells which box is to be ignored; a `Tool`.

    Parameters
    ----------
    size : callable
        Returns height and width of the image that is shown now, px; None for none.
    show : callable
        Gets the box while it is dragged, and None when it is over.
    ignore : callable
        Gets the box, px, and its plane.
    show_status : callable
        Gets one sentence where nothing was marked.
    """

    def __init__(
        self,
        size: Callable[[], tuple[int, int] | None],
        show: Callable[[Box | None], None],
        ignore: Callable[[Box, Plane], None],
        show_status: Callable[[str], None],
    ) -> None:
        self._size, self._show, self._ignore, self._show_status = size, show, ignore, show_status

    def click(self, layer: Labels, y: float, x: float, plane: Plane) -> None:
        """Say that it takes a drag."""
        self._show_status("Drag a box over what is neither bead nor background.")

    def aim(self, start: Place, now: Place) -> None:
        """Show the box so far."""
        self._show(self._box(start, now))

    def drag(self, layer: Labels, start: Place, end: Place, plane: Plane) -> None:
        """Mark the box."""
        self._show(None)
        box = self._box(start, end)
        if box is None:
            self._show_status("Nothing of the image is in this box.")
        else:
            self._ignore(box, plane)

    def _box(self, start: Place, end: Place) -> Box | None:
        """Return the pixels between two places; None where that is nothing of the image."""
        size = self._size()
        if size is None:
            return None
        top, left = (max(0, round(min(pair))) for pair in zip(start, end, strict=True))
        bottom, right = (
            min(side, round(max(pair)) + 1) for pair, side in zip(zip(start, end, strict=True), size, strict=True)
        )
        return (top, left, bottom, right) if top < bottom and left < right else None
