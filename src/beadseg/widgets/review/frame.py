"""The frame around the place of a finding: four lines, since a layer of shapes takes much longer to move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari.layers import Vectors
    from napari.viewer import Viewer
    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Box

COLOUR = "#ffd400"
WIDTH = 1.0
"""Of the lines, px of the image."""


def frame(box: Box) -> NDArray[np.float64]:
    """Return the four sides of a box, (4, 2, 2): beginning, and way to the end, as y and x in px."""
    top, left, bottom, right = (value - 0.5 for value in box)
    height, width, half = bottom - top, right - left, WIDTH / 2  # each line covers the corners at both of its ends
    across, down = (0.0, width + WIDTH), (height + WIDTH, 0.0)
    return np.array(
        [
            [(top, left - half), across],
            [(bottom, left - half), across],
            [(top - half, left), down],
            [(top - half, right), down],
        ]
    )


def new_frame(viewer: Viewer, name: str, box: Box) -> Vectors:
    """Add a frame to the viewer."""
    options: dict[str, Any] = {"edge_color": COLOUR, "edge_width": WIDTH, "vector_style": "line"}
    layer: Vectors = viewer.add_vectors(frame(box), name=name, **options)
    return layer
