"""The bead tool: click to add or remove a bead, drag to separate two, with the viewer's own undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.edit import added, fit_bead, removed, separated
from beadseg.annotation.edit.tools import at
from beadseg.widgets.review.page import grey_plane

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from napari.layers import Labels

    from beadseg.annotation.edit import Patch
    from beadseg.widgets.review.page import Page
    from beadseg.widgets.review.pointer import Place


class BeadTool:
    """Changes a mask bead by bead; a `beadseg.widgets.review.pointer.Tool`.

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

    def click(self, layer: Labels, y: float, x: float, plane: tuple[int, ...]) -> None:
        """Remove the bead at a place; add one where there is none."""
        page = self._page()
        if page is None:
            return
        labels = np.asarray(layer.data)[plane]
        if not (-0.5 <= y < labels.shape[0] - 0.5 and -0.5 <= x < labels.shape[1] - 0.5):
            return
        if at(labels, y, x):
            self._apply(layer, removed(labels, y, x), plane, "Bead removed.")
            return
        bead = fit_bead(grey_plane(page, plane), y, x, *self._size())
        how = "fitted to the image" if bead.fitted else "of the usual size; nothing to fit it to is seen here"
        if at(labels, bead.y, bead.x):
            self._say("The bead nearest to this place is marked already.")
            return
        self._apply(layer, added(labels, bead), plane, f"Bead added, {how}.")

    def aim(self, start: Place, now: Place) -> None:
        """Show nothing: what is separated is seen when the drag ends."""

    def drag(self, layer: Labels, start: Place, end: Place, plane: tuple[int, ...]) -> None:
        """Separate the bead between two places."""
        patch = separated(np.asarray(layer.data)[plane], start, end)
        self._apply(layer, patch, plane, "Separated.")
        if patch is None:
            self._say("Nothing to separate there: drag from one bead to the next, or across both.")

    def _apply(self, layer: Labels, patch: Patch | None, plane: tuple[int, ...], text: str) -> None:
        if patch is None:
            return
        labels = np.asarray(layer.data)[plane]
        places = patch.changed(labels)
        values = patch.values[tuple(axis - part.start for axis, part in zip(places, patch.window, strict=True))]
        before = tuple(np.full(len(places[0]), index) for index in plane)
        with layer.block_history():
            layer.data_setitem((*before, *places), values)
        self._say(text)
