"""The three layers of a predicted image: probability, labels with outlines, centres."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Points
from napari.utils import CyclicLabelColormap
from qtpy.QtCore import QObject, Signal

from beadseg.widgets.io.folder_layers import BEAD_COLOURS, COLOUR
from beadseg.widgets.layers import PlaneStack, StepQueue, add_beside, free_in_canvas, place_of, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    import pandas as pd
    from napari.layers import Layer

    from beadseg.widgets.predict.session import Session

MOST_RINGS = 3000
"""Of more beads only the chosen one has a ring."""
DOT, LEAST_DOT = 0.35, 1.5
"""Size of the rings around the others, in bead diameters, and the least, px: they must not hide the beads."""
CHOSEN = 2.5
"""Size of the ring around the chosen bead, in bead diameters."""
OUTLINE_PX = 1
"""Width of the outlines, px."""


class ShownLayers(QObject):
    """Shows a session in three layers and keeps them up to date; they are added one by one, so that the viewer answers.

    Parameters
    ----------
    viewer : napari.Viewer
        Where they are added.
    """

    ready = Signal()
    """All layers are there."""
    settled = Signal()
    """The centres are there too."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        warm_up(viewer)
        free_in_canvas(viewer, self)
        self._turns = StepQueue(self)
        self._turns.ended.connect(self.ready)
        self._points = StepQueue(self)
        self._points.ended.connect(self.settled)
        self._below: Image | None = None
        self._diameter = 7.0
        self.labels: Labels | None = None
        self.probability: Image | None = None
        self.centres: Points | None = None

    def show(self, session: Session, below: Image) -> None:
        """Show a session above the layer that was predicted.

        The layers of the session before are used again where they have as many axes: to remove layers and to add new
        ones takes the viewer longer.
        """
        self._below, self._diameter = below, session.separations[0].diameter or 7.0
        stack, size = session.image.stack_shape, session.image.size
        axes = len(stack) + 2
        maps = PlaneStack.levels(lambda n: session.maps[n].probability, stack, size, np.float32)
        beads = PlaneStack.levels(session.labels, stack, size, np.uint32)
        probability = partial(
            Image, multiscale=True, contrast_limits=(0.0, 1.0), colormap="inferno", blending="additive"
        )
        colours = CyclicLabelColormap(colors=[(0, 0, 0, 0), *BEAD_COLOURS])
        labels = partial(Labels, multiscale=True, opacity=0.9, colormap=colours)
        centres = partial(
            Points, size=self._dot, face_color="transparent", border_color=COLOUR, border_width=0.3, ndim=axes
        )
        metadata = {"beadseg": {"image": session.name, "run": session.stored.source}}
        steps: list[Callable[[], None]] = []
        for kind, title, make, data in (
            ("probability", "probability", probability, maps),
            ("labels", "beads", labels, beads),
            ("centres", "centres", centres, np.zeros((0, axes))),
        ):
            name = f"{session.name}: {title}"
            if not self._renew(kind, data, name, metadata, place_of(below, axes)):
                options = {"name": name, "metadata": metadata, **place_of(below, axes)}
                steps.append(partial(self._make, kind, partial(make, data, visible=False, **options)))
        self._turns.start(steps)

    def _renew(self, kind: str, data: Any, name: str, metadata: dict[str, Any], place: dict[str, Any]) -> bool:
        """Give a layer that is there other data; return whether that was possible, and remove it where not."""
        layer: Layer | None = getattr(self, kind)
        there = layer is not None and layer in self._viewer.layers
        if layer is None or not there or layer.ndim != (data.shape[1] if kind == "centres" else data[0].ndim):
            setattr(self, kind, None)  # until the new one is there, nothing is asked of a layer of other axes
            if there:
                self._viewer.layers.remove(layer)
            return False
        layer.data = data
        layer.name, layer.metadata = name, metadata
        _move(layer, place)
        return True

    def _make(self, kind: str, make: Callable[[], Layer]) -> None:
        """Make a layer; it is added, and then sliced and drawn, in turns of their own."""
        layer = make()
        if isinstance(layer, Labels):
            layer.contour = OUTLINE_PX
        if isinstance(layer, Points):
            _lock(layer)
        if kind != "probability":
            self._turns.insert(partial(setattr, layer, "visible", True))
        self._turns.insert(partial(self._add, kind, layer))

    def _add(self, kind: str, layer: Layer) -> None:
        """Add a layer right above the image, so that what lies over the image lies over its beads too."""
        setattr(self, kind, layer)
        layers = self._viewer.layers
        above = [self._below, *self.layers]
        places = [layers.index(one) for one in above if one is not None and one in layers and one != layer]
        add_beside(self._viewer, layer, max(places) + 1 if places else None)

    def follow(self) -> None:
        """Lie where the image lies now."""
        if self._below is not None:
            for layer in self.layers:
                _move(layer, place_of(self._below, layer.ndim))

    @property
    def busy(self) -> bool:
        """Whether layers are still to come."""
        return self._turns.active or self._points.active

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
        """Put a point on every bead of the plane that is shown; seen a moment later.

        Of very many beads only the one that is chosen gets a ring: thousands of rings would hide the image.
        """
        layer = self.centres
        if layer is None or layer not in self.layers:
            self.settled.emit()
            return
        before = np.tile(np.asarray(plane, float), (len(beads), 1))
        layer.selected_data = set()
        points = np.column_stack([before, beads[["y", "x"]].to_numpy(float)])
        features = beads.reset_index(drop=True)
        steps = [partial(setattr, layer, "data", points), partial(setattr, layer, "features", features)]
        self._points.start([*steps, partial(self._ring, None)])

    def mark(self, row: int) -> None:
        """Mark the bead of a row of the table."""
        if self.centres is not None and self.centres in self.layers and row < len(self.centres.data):
            self.centres.selected_data = {row}
            self._ring(row)

    def _ring(self, row: int | None) -> None:
        """Draw a large ring around one bead, and small ones around the others unless they are too many."""
        layer = self.centres
        if layer is None or layer not in self.layers:
            return
        count = len(layer.data)
        sizes = np.full(count, self._dot)
        shown = np.full(count, count <= MOST_RINGS)
        if row is not None and row < count:
            sizes[row], shown[row] = CHOSEN * self._diameter, True
        if not np.array_equal(np.asarray(layer.size), sizes):
            layer.size = sizes
        if not np.array_equal(np.asarray(layer.shown), shown):
            layer.shown = shown

    @property
    def _dot(self) -> float:
        return max(LEAST_DOT, DOT * self._diameter)

    def leave(self, session: Session) -> None:
        """Leave labels and centres in the viewer as plain layers, which need the session no more."""
        self._turns.stop()
        self._points.stop()
        if self.labels is not None and self.labels in self.layers:
            planes = [session.labels(number).copy() for number in range(len(session.planes))]
            whole = np.stack(planes).reshape(*session.image.stack_shape, *session.image.size)
            index = self._viewer.layers.index(self.labels)
            plain = Labels(whole, name=self.labels.name, metadata=self.labels.metadata, opacity=0.9,
                           visible=self.labels.visible, colormap=self.labels.colormap,
                           **place_of(self.labels))  # fmt: skip
            plain.contour = OUTLINE_PX
            self._viewer.layers.remove(self.labels)
            add_beside(self._viewer, plain, index)
        if self.probability is not None and self.probability in self.layers:
            self._viewer.layers.remove(self.probability)
        self.labels = self.probability = self.centres = None

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        self._turns.stop()
        self._points.stop()
        for layer in self.layers:
            self._viewer.layers.remove(layer)
        self.labels = self.probability = self.centres = None


def _lock(layer: Points) -> None:
    """Let no point be added or moved, which would count nowhere; napari unlocks a layer whenever it is shown."""

    def lock(event: object = None) -> None:
        if layer.editable:
            layer.editable = False

    layer.events.editable.connect(lock)
    lock()


def _move(layer: Layer, place: dict[str, Any]) -> None:
    """Give a layer another place; what is the same is left, since setting draws the layer again."""
    has = place_of(layer)
    for attribute, value in place.items():
        if attribute == "units":
            if tuple(map(str, has.get("units", ()))) != tuple(map(str, value)):
                layer.units = value
        elif not np.array_equal(has[attribute], value):
            setattr(layer, attribute, value)
