"""The mouse on the mask's layer: add, remove or separate beads, or drag a box over what is to be ignored."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from beadseg.annotation.edit import added, at, fit_bead, removed, separated
from beadseg.widgets.review.sample import grey_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Literal

    from napari.layers import Labels

    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.edit import Patch
    from beadseg.widgets.review.sample import ReviewSample

    Place = tuple[float, float]

MODE = "pick"
"""Mode of the labels layer while a tool is on: a drag does not move the image then, and Space still does."""
CLICK_PX = 4.0
"""A shorter way between press and release, in screen pixels, is a click."""


class Tool(Protocol):
    """What clicks and drags on a mask are for; places are y and x in px, `plane` one index per axis of a stack."""

    def click(self, layer: Labels, y: float, x: float, plane: tuple[int, ...]) -> None:
        """Take a click."""

    def aim(self, start: Place, now: Place) -> None:
        """Show what the drag would do if it ended now."""

    def drag(self, layer: Labels, start: Place, end: Place, plane: tuple[int, ...]) -> None:
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
        self._tools, self._changed = tools, changed
        self._layer: Labels | None = None
        self._name = ""

    @property
    def on(self) -> str:
        """Name of the tool that is on; empty while the layer's own brushes have the mouse."""
        held = self._layer is not None and str(self._layer.mode) == MODE
        return self._name if held else ""

    def hold(self, layer: Labels | None, name: str = "") -> None:
        """Serve this layer, with a tool on or none."""
        if layer is not self._layer:
            if self._layer is not None:
                if self._drag in self._layer.mouse_drag_callbacks:
                    self._layer.mouse_drag_callbacks.remove(self._drag)
                self._layer.events.mode.disconnect(self._report_tool)
            self._layer = layer
            if layer is not None:
                layer.mouse_drag_callbacks.append(self._drag)
                layer.events.mode.connect(self._report_tool)
        self.switch(name)

    def switch(self, name: str) -> None:
        """Turn a tool on; with an empty name turn off the one that is."""
        self._name = name
        if self._layer is not None and bool(name) != (str(self._layer.mode) == MODE):
            self._layer.mode = MODE if name else "pan_zoom"
        self._report_tool()

    def click(self, y: float, x: float, plane: tuple[int, ...] = ()) -> None:
        """Click at a place of the image, px, with the tool that is on."""
        if self.on and self._layer is not None:
            self._tools[self.on].click(self._layer, y, x, plane)

    def _report_tool(self, event: object = None) -> None:
        self._changed(self.on)

    def _drag(self, layer: Labels, event: Any) -> Iterator[None]:
        """Serve as napari's callback for a press, the moves and the release of the mouse."""
        if not self.on or event.button != 1:
            return
        tool = self._tools[self.on]
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


def _place(layer: Labels, event: Any) -> Place:
    y, x = layer.world_to_data(event.position)[-2:]
    return float(y), float(x)


def _plane(layer: Labels, event: Any) -> tuple[int, ...]:
    return tuple(round(float(value)) for value in layer.world_to_data(event.position)[:-2])


class BeadTool:
    """Changes a mask bead by bead; a `beadseg.widgets.review.mouse_tools.Tool`.

    Parameters
    ----------
    page : callable
        Returns the page that is shown now.
    size : callable
        Returns the usual diameter of a bead, px, and what beads are against the background.
    say : callable
        Gets one sentence about what was done.
    """

    def __init__(
        self,
        sample: Callable[[], ReviewSample | None],
        size: Callable[[], tuple[float, Literal["dark", "bright"]]],
        show_status: Callable[[str], None],
    ) -> None:
        self._sample, self._size, self._show_status = sample, size, show_status

    def click(self, layer: Labels, y: float, x: float, plane: tuple[int, ...]) -> None:
        """Remove the bead at a place; add one where there is none."""
        sample = self._sample()
        if sample is None:
            return
        labels = np.asarray(layer.data)[plane]
        if not (-0.5 <= y < labels.shape[0] - 0.5 and -0.5 <= x < labels.shape[1] - 0.5):
            return
        if at(labels, y, x):
            self._apply(layer, removed(labels, y, x), plane, "Bead removed.")
            return
        bead = fit_bead(grey_plane(sample, plane), y, x, *self._size())
        how = "fitted to the image" if bead.fitted else "of the usual size; nothing to fit it to is seen here"
        if at(labels, bead.y, bead.x):
            self._show_status("The bead nearest to this place is marked already.")
            return
        self._apply(layer, added(labels, bead), plane, f"Bead added, {how}.")

    def aim(self, start: Place, now: Place) -> None:
        """Show nothing: what is separated is seen when the drag ends."""

    def drag(self, layer: Labels, start: Place, end: Place, plane: tuple[int, ...]) -> None:
        """Separate the bead between two places."""
        patch = separated(np.asarray(layer.data)[plane], start, end)
        self._apply(layer, patch, plane, "Separated.")
        if patch is None:
            self._show_status("Nothing to separate there: drag from one bead to the next, or across both.")

    def _apply(self, layer: Labels, patch: Patch | None, plane: tuple[int, ...], text: str) -> None:
        if patch is None:
            return
        labels = np.asarray(layer.data)[plane]
        places = patch.changed(labels)
        values = patch.values[tuple(axis - part.start for axis, part in zip(places, patch.window, strict=True))]
        before = tuple(np.full(len(places[0]), index) for index in plane)
        with layer.block_history():
            layer.data_setitem((*before, *places), values)
        self._show_status(text)


class IgnoreTool:
    """Tells which box is to be ignored; a `beadseg.widgets.review.mouse_tools.Tool`.

    Parameters
    ----------
    page : callable
        Returns the page that is shown now.
    show : callable
        Gets the box while it is dragged, and None when it is over.
    ignore : callable
        Gets the box, px, and its plane.
    say : callable
        Gets one sentence where nothing was marked.
    """

    def __init__(
        self,
        sample: Callable[[], ReviewSample | None],
        show: Callable[[Box | None], None],
        ignore: Callable[[Box, tuple[int, ...]], None],
        show_status: Callable[[str], None],
    ) -> None:
        self._sample, self._show, self._ignore, self._show_status = sample, show, ignore, show_status

    def click(self, layer: Labels, y: float, x: float, plane: tuple[int, ...]) -> None:
        """Say that it takes a drag."""
        self._show_status("Drag a box over what is neither bead nor background.")

    def aim(self, start: Place, now: Place) -> None:
        """Show the box so far."""
        self._show(self._box(start, now))

    def drag(self, layer: Labels, start: Place, end: Place, plane: tuple[int, ...]) -> None:
        """Mark the box."""
        self._show(None)
        box = self._box(start, end)
        if box is None:
            self._show_status("Nothing of the image is in this box.")
        else:
            self._ignore(box, plane)

    def _box(self, start: Place, end: Place) -> Box | None:
        """Return the pixels between two places; None where that is nothing of the image."""
        sample = self._sample()
        if sample is None:
            return None
        size = sample.labels.shape[-2:]
        top, left = (max(0, round(min(pair))) for pair in zip(start, end, strict=True))
        bottom, right = (
            min(side, round(max(pair)) + 1) for pair, side in zip(zip(start, end, strict=True), size, strict=True)
        )
        return (top, left, bottom, right) if top < bottom and left < right else None
