"""A click on a bead in the canvas, told apart from a drag."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from collections.abc import Iterator

    import napari

STILL_PX = 3.0
"""A click is a press and release less than this many screen pixels apart."""


class CanvasClicks(QObject):
    """Tells where the canvas was clicked, in world coordinates; `disconnect_viewer` when the widget goes."""

    clicked = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        viewer.mouse_drag_callbacks.append(self._pressed)
        callbacks, own = viewer.mouse_drag_callbacks, self._pressed

        def forget() -> None:
            with suppress(ValueError):
                callbacks.remove(own)

        self.destroyed.connect(forget)

    def _pressed(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1:
            return
        start = np.asarray(event.pos, float)
        place = np.asarray(event.position, float)
        yield
        while event.type == "mouse_move":
            yield
        if np.hypot(*(np.asarray(event.pos, float) - start)) <= STILL_PX:
            self.clicked.emit(place)
