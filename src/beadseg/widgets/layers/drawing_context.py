"""What the graphics card holds of a layer is freed by the canvas that drew it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtWidgets import QMainWindow

from beadseg.widgets.layers.events import connect_while_alive

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from qtpy.QtCore import QObject


def free_in_canvas(viewer: ViewerModel, owner: QObject) -> None:
    """Make the canvas's OpenGL context the current one whenever a layer is about to be removed, while `owner` lives.

    napari frees a layer's programs in whatever context is current then, mostly that in which Qt composes the window. A
    program may be freed there that the canvas still has in use; where Mesa draws in place of a graphics card, the next
    picture ends the whole program.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are removed.
    owner : QObject
        A part of the viewer's window.
    """
    found = weakref.ref(owner)

    def make_current(event: Any = None) -> None:
        canvas = _canvas(found())
        if canvas is not None:
            canvas.makeCurrent()

    connect_while_alive(owner, viewer.layers.events.removing, make_current)


def _canvas(part: QObject | None) -> QOpenGLWidget | None:
    """Return the canvas of the window that something is a part of; other canvases there are in docks."""
    while part is not None and not isinstance(part, QMainWindow):
        part = part.parent()
    centre = None if part is None else part.centralWidget()
    return None if centre is None else centre.findChild(QOpenGLWidget)
