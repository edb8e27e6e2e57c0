"""What napari does when the first layer is made, done when a widget is opened: later it would hold the viewer up."""

from __future__ import annotations

import numpy as np


def warm_up() -> None:
    """Make what napari makes once and keeps: its units of length and its patterns of lines, half a second."""
    from napari.layers import Labels
    from vispy.visuals.line.dash_atlas import DashAtlas

    Labels(np.zeros((2, 2), np.uint8))
    DashAtlas()
