"""The bead tool: click to add or remove a bead, drag to separate two, with the viewer's own undo."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.annotation.edit import added, fit_bead, removed, separated
from beadseg.annotation.edit.tools import at
from beadseg.widgets.review.page import grey_plane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from napari.layers import Labels

    from beadseg.annotation.edit import Patch
    from beadseg.widgets.review.page import Page

MODE = "pick"
"""Mode of the labels layer while the tool is on: a drag does not move the image then, and Space still does."""
CLICK_PX = 4.0
"""A shorter way between press and release, in screen pixels, is a click."""


class BeadTool:
    """Changes one labels layer by clicks and drags.

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
        page: Callable[[], Page | None],
        size: Callable[[], tuple[float, Literal["dark", "bright"]]],
        say: Callable[[str], None],
    ) -> None:
        self._page, self._size, self._say = page, size, say
        self._layer: Labels | None = None

    @property
    def layer(self) -> Labels | None:
        """The mask's layer that the tool was given last."""
        return self._layer

    @property
    def on(self) -> bool:
        """Whether clicks on the mask are the tool's."""
        return self._layer is not None and str(self._layer.mode) == MODE

    def switch(self, layer: Labels | None, on: bool) -> None:
        """Turn the tool on or off for the mask's layer."""
        if layer is not self._layer:
            if self._layer is not None and self._drag in self._layer.mouse_drag_callbacks:
                self._layer.mouse_drag_callbacks.remove(self._drag)
            self._layer = layer
            if layer is not None:
                layer.mouse_drag_callbacks.append(self._drag)
        if layer is not None and on != self.on:
            layer.mode = MODE if on else "pan_zoom"

    def click(self, y: float, x: float, plane: tuple[int, ...] = ()) -> None:
        """Remove the bead at a place of the image, px; add one where there is none."""
        layer, page = self._layer, self._page()
        if layer is None or page is None:
            return
        labels = np.asarray(layer.data)[plane]
        if not (-0.5 <= y < labels.shape[0] - 0.5 and -0.5 <= x < labels.shape[1] - 0.5):
            return
        if at(labels, y, x):
            self._apply(removed(labels, y, x), plane, "Bead removed.")
            return
        bead = fit_bead(grey_plane(page, plane), y, x, *self._size())
        how = "fitted to the image" if bead.fitted else "of the usual size; nothing to fit it to is seen here"
        if at(labels, bead.y, bead.x):
            self._say("The bead nearest to this place is marked already.")
            return
        self._apply(added(labels, bead), plane, f"Bead added, {how}.")

    def drag(self, start: tuple[float, float], end: tuple[float, float], plane: tuple[int, ...] = ()) -> None:
        """Separate the bead between two places, px."""
        if self._layer is None:
            return
        patch = separated(np.asarray(self._layer.data)[plane], start, end)
        self._apply(patch, plane, "Separated.")
        if patch is None:
            self._say("Nothing to separate there: drag from one bead to the next, or across both.")

    def _apply(self, patch: Patch | None, plane: tuple[int, ...], text: str) -> None:
        if patch is None or self._layer is None:
            return
        labels = np.asarray(self._layer.data)[plane]
        places = patch.changed(labels)
        values = patch.values[tuple(axis - part.start for axis, part in zip(places, patch.window, strict=True))]
        before = tuple(np.full(len(places[0]), index) for index in plane)
        with self._layer.block_history():
            self._layer.data_setitem((*before, *places), values)
        self._say(text)

    def _drag(self, layer: Labels, event: Any) -> Iterator[None]:
        """Serve as napari's callback for a press, the moves and the release of the mouse."""
        if not self.on or event.button != 1:
            return
        start, begun = self._place(layer, event), event.pos
        yield
        while event.type == "mouse_move":
            yield
        end, plane = self._place(layer, event), self._plane(layer, event)
        if math.dist(begun, event.pos) < CLICK_PX:
            self.click(*start, plane)
        else:
            self.drag(start, end, plane)

    @staticmethod
    def _place(layer: Labels, event: Any) -> tuple[float, float]:
        y, x = layer.world_to_data(event.position)[-2:]
        return float(y), float(x)

    @staticmethod
    def _plane(layer: Labels, event: Any) -> tuple[int, ...]:
        return tuple(round(float(value)) for value in layer.world_to_data(event.position)[:-2])
