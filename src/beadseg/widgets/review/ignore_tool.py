"""The tool that marks what is neither bead nor background: drag a box over it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels

    from beadseg.annotation.audit.document import Box
    from beadseg.widgets.review.page import Page
    from beadseg.widgets.review.pointer import Place


class IgnoreTool:
    """Tells which box is to be ignored; a `beadseg.widgets.review.pointer.Tool`.

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
        page: Callable[[], Page | None],
        show: Callable[[Box | None], None],
        ignore: Callable[[Box, tuple[int, ...]], None],
        say: Callable[[str], None],
    ) -> None:
        self._page, self._show, self._ignore, self._say = page, show, ignore, say

    def click(self, layer: Labels, y: float, x: float, plane: tuple[int, ...]) -> None:
        """Say that it takes a drag."""
        self._say("Drag a box over what is neither bead nor background.")

    def aim(self, start: Place, now: Place) -> None:
        """Show the box so far."""
        self._show(self._box(start, now))

    def drag(self, layer: Labels, start: Place, end: Place, plane: tuple[int, ...]) -> None:
        """Mark the box."""
        self._show(None)
        box = self._box(start, end)
        if box is None:
            self._say("Nothing of the image is in this box.")
        else:
            self._ignore(box, plane)

    def _box(self, start: Place, end: Place) -> Box | None:
        """Return the pixels between two places; None where that is nothing of the image."""
        page = self._page()
        if page is None:
            return None
        size = page.labels.shape[-2:]
        top, left = (max(0, round(min(pair))) for pair in zip(start, end, strict=True))
        bottom, right = (
            min(side, round(max(pair)) + 1) for pair, side in zip(zip(start, end, strict=True), size, strict=True)
        )
        return (top, left, bottom, right) if top < bottom and left < right else None
