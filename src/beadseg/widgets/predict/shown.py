"""The three layers of a predicted image: probability, labels with outlines, centres."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points
from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.widgets.io.read_beads import COLOUR, SIZE
from beadseg.widgets.layers.plane_stack import PlaneStack

if TYPE_CHECKING:
    import napari
    import pandas as pd
    from napari.layers import Layer

    from beadseg.widgets.predict.session import Session

OUTLINE_PX = 1
"""Width of the outlines, px."""


class ShownLayers(QObject):
    """Adds the layers of a session one by one, so that the viewer answers in between, and keeps them up to date.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are added.
    """

    ready = Signal()
    """All layers were added."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.labels: Labels | None = None
        self.probability: Image | None = None
        self.centres: Points | None = None

    def add(self, session: Session, below: Image) -> None:
        """Add the layers of a session above the layer that was predicted."""
        stack, size = session.image.stack_shape, session.image.size
        place = {"scale": below.scale, "translate": below.translate, "affine": below.affine}
        if hasattr(below, "units"):
            place["units"] = below.units
        metadata = {"beadseg": {"image": session.name, "run": session.stored.source}}
        maps = PlaneStack.levels(lambda n: session.maps[n].probability, stack, size, np.float32)
        beads = PlaneStack.levels(session.labels, stack, size, np.uint32)
        probability = partial(
            Image, maps, multiscale=True, name=f"{session.name}: probability", contrast_limits=(0.0, 1.0),
            colormap="inferno", blending="additive", visible=False, metadata=metadata, **place,
        )  # fmt: skip
        labels = partial(
            Labels, beads, multiscale=True, name=f"{session.name}: beads", opacity=0.9, metadata=metadata, **place
        )
        centres = partial(
            Points, np.zeros((0, len(stack) + 2)), name=f"{session.name}: centres", size=SIZE, face_color="transparent",
            border_color=COLOUR, border_width=0.3, ndim=len(stack) + 2, metadata=metadata, **place,
        )  # fmt: skip
        self._add([(probability, "probability"), (labels, "labels"), (centres, "centres")])

    def _add(self, rest: list[tuple[Any, str]]) -> None:
        """Add the first of the rest, and the others when the viewer has drawn it."""
        if not rest:
            self.ready.emit()
            return
        make, name = rest[0]
        layer = make()
        if name == "labels":
            layer.contour = OUTLINE_PX
        setattr(self, name, layer)
        self._viewer.add_layer(layer)
        QTimer.singleShot(0, partial(self._add, rest[1:]))

    @property
    def layers(self) -> list[Layer]:
        """Those layers that are still in the viewer."""
        known: list[Layer | None] = [self.probability, self.labels, self.centres]
        return [layer for layer in known if layer is not None and layer in self._viewer.layers]

    def refresh(self) -> None:
        """Show the labels that the session has now."""
        if self.labels in self.layers and self.labels is not None:
            self.labels.refresh(thumbnail=False, highlight=False, extent=False)

    def show_centres(self, beads: pd.DataFrame, plane: tuple[int, ...]) -> None:
        """Put a point on every bead of the plane that is shown."""
        if self.centres is None or self.centres not in self.layers:
            return
        before = np.tile(np.asarray(plane, float), (len(beads), 1))
        self.centres.selected_data = set()
        self.centres.data = np.column_stack([before, beads[["y", "x"]].to_numpy(float)])
        self.centres.features = beads.reset_index(drop=True)

    def mark(self, row: int) -> None:
        """Mark the bead of a row of the table."""
        if self.centres is not None and self.centres in self.layers and row < len(self.centres.data):
            self.centres.selected_data = {row}

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        for layer in self.layers:
            self._viewer.layers.remove(layer)
        self.labels = self.probability = self.centres = None
