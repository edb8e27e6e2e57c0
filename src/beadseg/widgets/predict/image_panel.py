"""Predict the image of a layer, move sliders, read counts, keep the result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from beadseg.errors import InputError
from beadseg.predict.flags import NOT_COMPARED, sentence
from beadseg.text import plural
from beadseg.widgets.common import Background, ProgressRow, guarded
from beadseg.widgets.common.collector import collect_all_again, keep_collections_short
from beadseg.widgets.layers.choice import LayerChoice
from beadseg.widgets.layers.events import connect_while_alive
from beadseg.widgets.predict.choice import ObjectSliders
from beadseg.widgets.predict.keep_row import KeepRow
from beadseg.widgets.predict.layer_image import LayerImage
from beadseg.widgets.predict.live import LiveSession
from beadseg.widgets.predict.region import inside
from beadseg.widgets.predict.results import ResultsView
from beadseg.widgets.settings import PluginSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari

    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.session import Measured, Session

EMPTY = (
    "1. Choose the run folder of a trained model above.\n2. Open an image in the viewer (File ▸ Open Sample ▸ beadseg "
    "has some) and choose it here.\n3. Press Predict. Then move the sliders: labels, count and table follow at once."
)


class ImagePanel(QWidget):
    """Everything about one image.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    run : callable
        Returns the run folder; raises where there is none.
    messages : MessageArea
        Where errors and news are told.
    """

    def __init__(self, viewer: napari.Viewer, run: Callable[[], Path], messages: MessageArea) -> None:
        super().__init__()
        self._viewer, self._run, self.messages = viewer, run, messages
        self._below: Image | None = None
        self._measured: Measured | None = None
        self._region_layer: Shapes | None = None
        self.background = Background("predicting", self)
        self.live = LiveSession(viewer, self)
        self.layer = LayerChoice(viewer, (Image,), accepts=_is_an_image)
        self.layer.setToolTip("The layer that is predicted: grey or colour, any depth, also stacks and OME-Zarr")
        self.predict = QPushButton("Predict")
        self.predict.setToolTip("Find the beads of all planes of this layer; the viewer stays usable meanwhile")
        self.sliders, self.results = ObjectSliders(), ResultsView()
        self.region = LayerChoice(viewer, (Shapes,), none="whole image")
        self.region.setToolTip("Count only in the shapes of this layer (rectangles, ellipses, polygons)")
        self.empty = QLabel(EMPTY)
        self.keep = KeepRow(self.live, messages)
        self._build()
        self._connect()
        self._show_state()

    def _build(self) -> None:
        self.empty.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.layer, 1)
        row.addWidget(self.predict)
        self.found = QWidget()
        inner = QVBoxLayout(self.found)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self.sliders)
        region = QFormLayout()
        region.addRow("Count in", self.region)
        inner.addLayout(region)
        inner.addWidget(self.results, 1)
        inner.addWidget(self.keep)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(row)
        layout.addWidget(ProgressRow(self.background))
        layout.addWidget(self.empty)
        layout.addWidget(self.found, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        self.predict.clicked.connect(self._predict)
        me = id(self)
        self.background.started.connect(lambda: keep_collections_short(me))
        for over in (self.background.failed, self.live.failed, self.live.shown.settled, self.destroyed):
            over.connect(lambda *said: collect_all_again(me))
        self.background.started.connect(self._show_state)
        self.background.returned.connect(self._show)
        self.background.failed.connect(self.messages.show_error)
        self.background.ended.connect(self._show_state)
        self.sliders.valueChanged.connect(self.live.choose)
        self.live.counted.connect(self.results.show_count)
        self.live.measured.connect(self._show_measured)
        self.live.failed.connect(self.messages.show_error)
        self.live.bead_clicked.connect(self._bead_clicked)
        self.results.bead_chosen.connect(self._bead_chosen)
        self.results.plane_chosen.connect(self.live.go_to_plane)
        self.region.layer_changed.connect(self._region_chosen)
        self.layer.offer_changed.connect(self._show_state)
        connect_while_alive(self, self._viewer.layers.selection.events.active, self._active_changed)

    def _show_state(self) -> None:
        shown = self.live.session is not None
        self.found.setVisible(shown)
        self.empty.setVisible(not shown)
        self.predict.setEnabled(self.layer.layer is not None and not self.background.running)

    def _active_changed(self) -> None:
        active = self._viewer.layers.selection.active
        if isinstance(active, Image) and _is_an_image(active):
            self.layer.layer = active

    @guarded
    def _predict(self) -> None:
        from beadseg.widgets.predict.predicting import predict_layer

        layer = self.layer.layer
        if not isinstance(layer, Image):
            raise InputError("There is no image layer.", remedy="Open an image, or choose a layer of the kind image.")
        run, options = self._run(), PluginSettings.read().options()
        image = LayerImage.of(layer, tuple(self._viewer.dims.axis_labels))
        self.messages.clear()
        self._below = layer
        self.background.start(lambda on_event, stop: predict_layer(image, run, options, on_event, stop))

    @guarded
    def _show(self, session: Session) -> None:
        if self._below is None:
            return
        self._measured = None
        self.results.clear()
        self.sliders.setValue(session.predicted, session.separations[0].diameter)
        self.live.start(session, self._below)
        self._show_state()

    @guarded
    def _show_measured(self, measured: Measured) -> None:
        session = self.live.session
        if session is not None and measured.plane == self.live.number:
            self._measured = measured
            self.results.show_beads(measured.beads)
            self.results.show_planes(session.planes, measured.counts)
            self._show_detail()

    def _show_detail(self) -> None:
        """Tell density, count in the region, and what is implausible."""
        session, measured = self.live.session, self._measured
        if session is None or measured is None:
            return
        lines = _told(measured.row)
        region = self.region.layer
        if isinstance(region, Shapes) and self.live.shown.labels is not None:
            centres = measured.beads[["y", "x"]].to_numpy(float)
            found = inside(region, self.live.shown.labels, self.live.plane, centres)
            lines.append(f"{plural(int(found.sum()), 'bead')} in {region.name}")
        lines += [sentence(measured.row["flags"])] if measured.row["flags"] else []
        if session.stored.appearance is None:
            lines.append(NOT_COMPARED)
        self.results.detail.setText("\n".join(lines))

    @guarded
    def _region_chosen(self, layer: Shapes | None) -> None:
        if self._region_layer is not None:
            self._region_layer.events.data.disconnect(self._region_moved)
        self._region_layer = layer
        if layer is not None:
            layer.events.data.connect(self._region_moved)
        self._show_detail()

    @guarded
    def _region_moved(self) -> None:
        self._show_detail()

    @guarded
    def _bead_chosen(self, row: int) -> None:
        if self._measured is not None and row < len(self._measured.beads):
            y, x = self._measured.beads[["y", "x"]].to_numpy(np.float64)[row]
            self.live.go_to_bead(float(y), float(x), row)

    @guarded
    def _bead_clicked(self, row: int) -> None:
        self.results.choose_bead(row)
        self.live.shown.mark(row)


def _is_an_image(layer: Image) -> bool:
    """Leave out the probability of a prediction."""
    return "run" not in layer.metadata.get("beadseg", {})


def _told(row: dict[str, Any]) -> list[str]:
    """Return what a row of ``counts.csv`` says of density and interval, in words."""
    name, unit = ("beads_per_mm2", "mm²") if row["beads_per_mm2"] != "" else ("beads_per_mpx", "megapixel")
    lines = [f"{row[name]:,.6g} per {unit}"]
    if row["beads_low"] != "":
        lines.append(f"95 % interval of the count: {row['beads_low']:,.0f} to {row['beads_high']:,.0f}")
    return lines
