"""What the graphics card holds of a layer is freed by the canvas that drew it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from beadseg.widgets.layers.events import connect_while_alive

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtCore import QObject


def free_in_canvas(viewer: ViewerModel, owner: QObject) -> None:
    """Make the canvas's OpenGL context the current one whenever a layer is about to be removed, while `owner` lives.

    napari frees a layer's programs in whatever context is current then, mostly that in which Qt composes the window. A
    program may be freed there that the canvas still has in use; where Mesa draws in place of a graphics card, the next
    picture ends the whole program.
    """
    connect_while_alive(owner, viewer.layers.events.removing, partial(_make_current, viewer))


def _make_current(viewer: Any, event: Any = None) -> None:
    window = getattr(viewer, "window", None)  # napari has no public name for the canvas's widget
    canvas = getattr(getattr(getattr(window, "_qt_viewer", None), "canvas", None), "native", None)
    if canvas is not None:
        canvas.makeCurrent()
