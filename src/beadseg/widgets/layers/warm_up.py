"""What napari does for the first layer, done when a widget is opened: later it would hold the viewer up."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    from napari.components import ViewerModel

DRAWN_MS = 500
"""After so long the canvas was drawn."""


def warm_up(viewer: ViewerModel) -> None:
    """Make what napari makes once and keeps: units of length, patterns of lines, and its font; half a second."""
    from napari.layers import Labels
    from vispy.visuals.line.dash_atlas import DashAtlas

    Labels(np.zeros((2, 2), np.uint8))
    DashAtlas()
    overlays = getattr(getattr(viewer, "canvas", None), "overlays", None)
    if overlays is not None:  # since napari 0.9, which draws a blank with every layer of points
        _draw_a_blank(overlays.text)


def _draw_a_blank(overlay: Any) -> None:
    """Let the text on the canvas be a blank for a moment, unless somebody uses it."""
    if overlay.visible or overlay.text:
        return
    overlay.text, overlay.visible = " ", True
    QTimer.singleShot(DRAWN_MS, partial(_clear, overlay))


def _clear(overlay: Any) -> None:
    if overlay.text == " ":
        overlay.text, overlay.visible = "", False
