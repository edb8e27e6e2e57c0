"""The mouse on the mask's layer, given to one tool at a time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from napari.layers import Labels

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


class Pointer:
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
                self._layer.events.mode.disconnect(self._tell)
            self._layer = layer
            if layer is not None:
                layer.mouse_drag_callbacks.append(self._drag)
                layer.events.mode.connect(self._tell)
        self.switch(name)

    def switch(self, name: str) -> None:
        """Turn a tool on; with an empty name turn off the one that is."""
        self._name = name
        if self._layer is not None and bool(name) != (str(self._layer.mode) == MODE):
            self._layer.mode = MODE if name else "pan_zoom"
        self._tell()

    def click(self, y: float, x: float, plane: tuple[int, ...] = ()) -> None:
        """Click at a place of the image, px, with the tool that is on."""
        if self.on and self._layer is not None:
            self._tools[self.on].click(self._layer, y, x, plane)

    def _tell(self, event: object = None) -> None:
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
