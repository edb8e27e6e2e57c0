"""Pixel size and bead diameter: fields, and a circle over the image that shows how large a bead is taken to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QWidget

from beadseg.errors import InputError
from beadseg.widgets.common import guarded
from beadseg.widgets.layers import add_beside, camera_of, connect_while_alive, place_of
from beadseg.widgets.predict.session import pixel_size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari
    from napari.layers import Image
    from numpy.typing import NDArray

    from beadseg.widgets.common import MessageArea

CIRCLE = "bead size"
"""Name of the circle's layer, and its mark in the layer's metadata."""
COLOUR = "#ffd400"
NARROW_PX = 96
"""Least width of the bead diameter's field, screen px."""
LARGEST_PX = 1000.0
"""Diameter of a bead, px."""
SEEN = 60.0
"""The circle is at least so large on the screen, screen px."""
DECIMALS = 4
"""Digits of a pixel size, µm."""


class SizeFields(QWidget):
    """Edits the pixel size of a layer, and the bead diameter that images are counted with.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    layer : callable
        Returns the layer that is counted; None for none.
    near : callable
        Returns the place (y, x), px, of the bead that is nearest to a place; None without beads.
    messages : MessageArea
        Where errors are shown.
    """

    diameter_changed = Signal()
    """A person gave another diameter, or wants it to be measured again."""

    def __init__(
        self,
        viewer: napari.Viewer,
        layer: Callable[[], Image | None],
        near: Callable[[float, float], tuple[float, float] | None],
        messages: MessageArea,
    ) -> None:
        super().__init__()
        self._viewer, self._layer, self._near, self.messages = viewer, layer, near, messages
        self._found: float | None = None
        self._given = 0.0
        self.circle: Shapes | None = None
        self.pixel = _spin(100.0, DECIMALS, 0.01, "unknown", " µm")
        self.pixel.setToolTip("Side of a pixel, as the layer tells it; densities are then per mm². 0: unknown")
        self.diameter = _spin(LARGEST_PX, 1, 0.5, "auto", " px")
        self.diameter.setToolTip(
            "Diameter of the beads in the image. 0: measured in every image, or that of the model's training images"
        )
        self.found = QLabel()
        self.show_circle = QPushButton("Circle")
        self.show_circle.setCheckable(True)
        self.show_circle.setToolTip("Show the bead diameter as a circle over a bead; drag its edge to change it")
        row = QHBoxLayout()
        row.setSpacing(3)
        self.diameter.setMinimumWidth(NARROW_PX)
        for part, share in ((self.diameter, 1), (self.found, 1), (self.show_circle, 0)):
            row.addWidget(part, share)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(2)
        form.addRow("Pixel size", self.pixel)
        form.addRow("Diameter", row)
        self.pixel.editingFinished.connect(self._pixel_given)
        self.diameter.editingFinished.connect(self._diameter_given)
        self.show_circle.toggled.connect(self._toggle)
        connect_while_alive(self, viewer.layers.events.removed, self._removed)

    @property
    def options(self) -> list[str]:
        """Options of `beadseg-batch predict` that say the same."""
        return ["--diameter", f"{self._given:g}px"] if self._given else []

    @guarded
    def follow(self, found: float | None = None, pixel_size_um: float | None = None) -> None:
        """Show what the layer tells, and what its counting found: the bead diameter (px), the file's pixel size."""
        layer = self._layer()
        size = None if layer is None else pixel_size_of(layer) or pixel_size_um
        self.pixel.setValue(size or 0.0)
        self.pixel.setEnabled(layer is not None)
        self._found = found
        self.found.setText("" if found is None else f"{'used' if self._given else 'found'}: {found:.1f} px")
        self.show_circle.setEnabled(found is not None)
        if size is not None and layer is not None:
            _show_scale_bar(self._viewer)
        if found is None:
            self.show_circle.setChecked(False)
        elif self.circle is not None and layer is not None:
            self._draw(*_middle(self.circle), found / 2)

    @guarded
    def _pixel_given(self) -> None:
        layer, size = self._layer(), self.pixel.value()
        before = None if layer is None else pixel_size_of(layer)
        if layer is None or abs(size - (before or 0.0)) < 10.0**-DECIMALS / 2:
            return
        set_pixel_size(self._viewer, layer, size or None)
        if size:
            _show_scale_bar(self._viewer)

    def _diameter_given(self) -> None:
        if self.diameter.value() != self._given:
            self._given = self.diameter.value()
            if self._found is not None:
                self.diameter_changed.emit()

    # --- The circle ---------------------------------------------------------------------------------------------------

    @guarded
    def _toggle(self, shown: bool) -> None:
        layer, found = self._layer(), self._found
        if not shown:
            if self.circle is not None and self.circle in self._viewer.layers:
                self._viewer.layers.remove(self.circle)
            self.circle = None
            return
        if layer is None or found is None:
            self.show_circle.setChecked(False)
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        camera = camera_of(self._viewer)
        centre = np.asarray(camera.center, float)[-2:]
        y, x = np.asarray(layer.world_to_data([0.0] * (layer.ndim - 2) + [*centre]))[-2:]
        y, x = self._near(float(y), float(x)) or (float(y), float(x))
        self.circle = Shapes(
            ndim=2, name=CIRCLE, face_color="transparent", edge_color=COLOUR, metadata={"beadseg": {CIRCLE: True}},
            **place_of(layer, 2),
        )  # fmt: skip
        self._draw(y, x, found / 2)
        self.circle.mouse_drag_callbacks.append(self._drag)
        add_beside(self._viewer, self.circle)
        self._viewer.layers.selection.active = self.circle
        self.circle.mouse_pan = False
        camera.center = (*camera.center[:-2], *np.asarray(self.circle.data_to_world((y, x)), float)[-2:])
        camera.zoom = max(float(camera.zoom), SEEN / (found * float(np.asarray(layer.scale)[-1])))

    def _draw(self, y: float, x: float, radius: float) -> None:
        if self.circle is None:
            return
        box = np.array([[y - radius, x - radius], [y - radius, x + radius], [y + radius, x + radius],
                        [y + radius, x - radius]])  # fmt: skip
        self.circle.data = []
        self.circle.add_ellipses(box, edge_width=max(0.2, radius / 12), edge_color=COLOUR, face_color="transparent")

    def _drag(self, circle: Shapes, event: Any) -> Iterator[None]:
        """Move the circle by its middle; anywhere else, let its edge follow the mouse, and count again in the end."""
        y, x = _middle(circle)
        radius = _radius(circle)
        start = np.asarray(circle.world_to_data(event.position), float)[-2:]
        moves = float(np.hypot(*(start - (y, x)))) < radius / 2
        yield
        while event.type == "mouse_move":
            now = np.asarray(circle.world_to_data(event.position), float)[-2:]
            if moves:
                down, across = now - start
                self._draw(y + float(down), x + float(across), radius)
            else:
                self._draw(y, x, float(np.clip(np.hypot(*(now - (y, x))), 0.5, LARGEST_PX / 2)))
            yield
        if not moves and abs(_radius(circle) - radius) > 0.05:
            self.diameter.setValue(2 * _radius(circle))
            self._diameter_given()

    def _removed(self, event: Any) -> None:
        if self.circle is not None and event.value == self.circle:
            self.circle = None
            self.show_circle.setChecked(False)


def set_pixel_size(viewer: napari.Viewer, layer: Image, size: float | None) -> None:
    """Give a layer a pixel size, µm (None: unknown), and show the same part of it as before."""
    camera = camera_of(viewer)
    old = np.asarray(layer.scale, float)
    factor = 1.0 if size is None else size
    outside = np.linalg.norm(np.asarray(layer.affine.linear_matrix, float), axis=0)[-2:]
    centre = np.asarray(layer.world_to_data([0.0] * (layer.ndim - 2) + [*camera.center[-2:]]), float)
    units = [str(unit) for unit in layer.units]
    layer.units = (*units[:-2], *(["pixel"] * 2 if size is None else ["µm"] * 2))
    layer.scale = (*old[:-2], *(factor / outside))
    camera.zoom = float(camera.zoom) * float(old[-1] / np.asarray(layer.scale)[-1])
    camera.center = (*camera.center[:-2], *np.asarray(layer.data_to_world(centre), float)[-2:])


def is_circle(layer: Any) -> bool:
    """Tell whether a layer is the circle that shows the bead diameter."""
    return CIRCLE in layer.metadata.get("beadseg", {})


def _show_scale_bar(viewer: napari.Viewer) -> None:
    bar = getattr(getattr(viewer, "canvas", None), "overlays", None)
    bar = getattr(bar, "scale_bar", None) or viewer.scale_bar
    if not bar.visible:
        bar.visible = True


def _middle(circle: Shapes) -> tuple[float, float]:
    y, x = np.asarray(circle.data[0], float).mean(axis=0)[-2:]
    return float(y), float(x)


def _radius(circle: Shapes) -> float:
    corners: NDArray[np.float64] = np.asarray(circle.data[0], float)
    return float(np.ptp(corners[:, -1]) / 2)


def _spin(largest: float, decimals: int, step: float, special: str, suffix: str) -> QDoubleSpinBox:
    spin = QDoubleSpinBox()
    spin.setRange(0.0, largest)
    spin.setDecimals(decimals)
    spin.setSingleStep(step)
    spin.setSpecialValueText(special)
    spin.setSuffix(suffix)
    spin.setKeyboardTracking(False)
    return spin
