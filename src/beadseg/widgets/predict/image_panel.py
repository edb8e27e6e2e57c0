"""Count the images of layers, move sliders, read and correct counts, keep the results."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from beadseg.errors import Cancelled, InputError
from beadseg.predict.counts import NOT_COMPARED, sentence
from beadseg.text import plural
from beadseg.widgets.common import Background, ProgressRow, guarded
from beadseg.widgets.common.background import collect_all_again, keep_collections_short
from beadseg.widgets.common.settings import PluginSettings, unsaved_corrections
from beadseg.widgets.layers import LayerChoice, connect_while_alive, finest, fit_to, place_of, shown_index
from beadseg.widgets.predict.controller import PLACE_EVENTS, LiveSession, title_of
from beadseg.widgets.predict.correction import CorrectionRow
from beadseg.widgets.predict.keep_row import KeepRow
from beadseg.widgets.predict.object_sliders import ObjectSliders
from beadseg.widgets.predict.result_tables import (
    Region,
    ResultsView,
    area_text,
    corrected_lines,
    density_lines,
    whole_count,
)
from beadseg.widgets.predict.session import LayerImage, first_axis_of, image_row, region_rows
from beadseg.widgets.predict.size_fields import SizeFields, is_circle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari
    from napari.layers import Layer

    from beadseg.config.predict import ObjectConfig
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.session import Measured, Session

EMPTY = (
    "1. Open an image in the viewer (File ▸ Open Sample ▸ beadseg has some) and choose it here.\n2. Press Count. The "
    "general model needs no training; a model of your own is chosen above by its run folder.\n3. Move the sliders: "
    "labels, count and table follow at once."
)

LOCKED = "Press Correct (D) to add, remove, separate or merge beads. Labels and centres cannot be painted on or moved."
MOST_CHANNELS = 6
"""A longer axis is not offered as channels."""
REGION_MS = 80
"""A region at rest for so long is counted in, ms."""


class ImagePanel(QWidget):
    """Everything about one image.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    run : callable
        Returns the run folder; raises where there is none.
    messages : MessageArea
        Where errors and news are shown.
    """

    def __init__(self, viewer: napari.Viewer, run: Callable[[], Path], messages: MessageArea) -> None:
        super().__init__()
        self._viewer, self._run, self.messages = viewer, run, messages
        self._below: Image | None = None
        self._region_layer: Shapes | None = None
        self._kept: tuple[str, dict[str, Any]] = ("", {})
        """Model, and what a person changed of its choice, for the next image."""
        self.background = Background("predicting", self)
        self.live = LiveSession(viewer, self)
        """Of the layer that is chosen."""
        self._lives = [self.live]
        self.layer = LayerChoice(viewer, (Image,), accepts=_is_an_image)
        self.layer.setToolTip("The layer that is counted: grey or colour, any depth, also stacks and OME-Zarr")
        self.predict = QPushButton("Count")
        self.predict.setToolTip(
            "Count the beads of all planes of this layer, or of all image layers that are selected in the layer list. "
            "The viewer stays usable meanwhile"
        )
        self.every = QPushButton("Count all")
        self.every.setToolTip("Count the beads of every image layer, one after the other")
        self._left: list[Image] = []
        """Layers that are counted after the one that is counted now."""
        self.axis = QComboBox()
        self._axis_by_hand = False
        self.axis.setToolTip("What the first axis of the layer is; of channels, which one is predicted")
        self.sliders, self.results = ObjectSliders(), ResultsView()
        self.sizes = SizeFields(viewer, self._image, self._bead_near, messages)
        self.region = LayerChoice(viewer, (Shapes,), none="whole image", accepts=lambda layer: not is_circle(layer))
        self.region.setToolTip("Count only in the shapes of this layer (rectangles, ellipses, polygons)")
        self.draw = QPushButton("Draw region")
        self.draw.setToolTip("Make a layer to draw regions in, and count in each of them")
        self.empty = QLabel(EMPTY)
        self.correction = CorrectionRow(viewer, lambda: self.live, self._chosen_bead, messages)
        self.keep = KeepRow(lambda: self.live, self._chosen_region, messages, lambda: self._lives, self._run)
        self._region_moved_later = QTimer(self)
        self._build()
        self._connect()
        self._chosen()

    def _build(self) -> None:
        self.empty.setWordWrap(True)
        row, buttons = QHBoxLayout(), QWidget()
        within = QHBoxLayout(buttons)
        within.setContentsMargins(0, 0, 0, 0)
        within.addWidget(self.predict)
        within.addWidget(self.every)
        row.addWidget(self.layer, 1)
        row.addWidget(buttons)
        row.addWidget(ProgressRow(self.background, instead=buttons), 3)
        self.axis_row = QWidget()
        axis = QFormLayout(self.axis_row)
        axis.setContentsMargins(0, 0, 0, 0)
        axis.addRow("First axis", self.axis)
        self.found = QWidget()
        inner = QVBoxLayout(self.found)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self.results.head)
        inner.addWidget(self.correction)
        inner.addWidget(self.sliders)
        where = QHBoxLayout()
        where.addWidget(self.region, 1)
        where.addWidget(self.draw)
        region = QFormLayout()
        region.addRow("Count in", where)
        inner.addLayout(region)
        inner.addWidget(self.keep)
        inner.addWidget(self.results, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(row)
        layout.addWidget(self.axis_row)
        layout.addWidget(self.sizes)
        layout.addWidget(self.empty)
        layout.addWidget(self.found, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        self.predict.clicked.connect(self._predict)
        self.every.clicked.connect(self._predict_all)
        self.sizes.diameter_changed.connect(self._count_again)
        me = id(self)
        self.background.started.connect(lambda: keep_collections_short(me))
        for over in (self.background.failed, self.destroyed):
            over.connect(lambda *said: collect_all_again(me))
        self.background.started.connect(self._show_state)
        self.background.returned.connect(self._show)
        self.background.failed.connect(self._failed)
        self.background.ended.connect(self._show_state)
        self.background.returned.connect(self._predict_next)
        self._connect_live(self.live)
        self.sliders.valueChanged.connect(self._choose)
        self.results.bead_chosen.connect(self._bead_chosen)
        self.results.removal_asked.connect(lambda: self.correction.act("remove"))
        self.results.plane_chosen.connect(lambda number: self.live.go_to_plane(number))
        self.keep.saved.connect(self._show_saved)
        self.results.image_chosen.connect(self._image_chosen)
        self.results.region_chosen.connect(self._region_row_chosen)
        self.region.layer_changed.connect(self._region_chosen)
        self.draw.clicked.connect(self._draw_region)
        self._region_moved_later.setSingleShot(True)
        self._region_moved_later.setInterval(REGION_MS)
        self._region_moved_later.timeout.connect(self._show_numbers)
        self.layer.layer_changed.connect(self._chosen)
        self.layer.offer_changed.connect(self._show_state)
        events = self._viewer.layers.events
        connect_while_alive(self, self._viewer.layers.selection.events.active, self._active_changed)
        connect_while_alive(self, self._viewer.layers.selection.events.changed, self._show_state)
        connect_while_alive(self, events.inserted, self._inserted)
        connect_while_alive(self, self._viewer.dims.events.axis_labels, self._axes_labelled)
        self.axis.currentIndexChanged.connect(self._axis_chosen)

    def _connect_live(self, live: LiveSession) -> None:
        me = id(self)
        for over in (live.failed, live.shown.settled):
            over.connect(lambda *said: collect_all_again(me))
        live.counted.connect(lambda count: self._counted() if live is self.live else None)
        live.measured.connect(lambda measured: self._measured(live, measured))
        live.shown.ready.connect(lambda: self.correction.follow() if live is self.live else None)
        live.failed.connect(self.messages.show_error)
        live.bead_clicked.connect(lambda row: self._bead_clicked(row) if live is self.live else None)
        live.stale.connect(lambda why: self._gone(live, why))

    def end(self) -> None:
        """Cancel what goes on; labels and centres stay in the viewer as plain layers."""
        self.background.cancel()
        self.correction.end()
        collect_all_again(id(self))
        for live in self._lives:
            live.leave()

    # --- Which image --------------------------------------------------------------------------------------------------

    def _show_state(self) -> None:
        shown = self.live.session is not None
        self.found.setVisible(shown)
        self.empty.setVisible(not shown)
        several = len(self._selected())
        self.predict.setText(f"Count {several} images" if several > 1 else "Count")
        self.every.setVisible(self.layer.count() > 1)
        counting_this = self.background.running and self._below is not None and self._below == self.live.below
        self.correction.setEnabled(not counting_this)  # what is changed meanwhile would be of the result before
        for button in (self.predict, self.every):
            button.setEnabled(self.layer.layer is not None and not self.background.running)

    def _active_changed(self) -> None:
        active = self._viewer.layers.selection.active
        if isinstance(active, Image) and _is_an_image(active):
            self.layer.layer = active
            return
        live = next((live for live in self._lives if active is not None and active in live.shown.layers), None)
        if live is not None and live.below is not None:
            self.layer.layer = live.below
            self.messages.show_text(LOCKED)

    def _inserted(self, event: Any) -> None:
        """Show an image that was opened while nothing else is to be seen, wherever the view was."""
        others = [layer for layer in self._viewer.layers if layer != event.value and layer.visible]
        if isinstance(event.value, Image) and _is_an_image(event.value) and not others:
            fit_to(self._viewer, event.value)

    @guarded
    def _chosen(self) -> None:
        """Show the results of the layer that is chosen, or that there are none."""
        layer = self.layer.layer
        self._offer_axes(layer)
        live = next((live for live in self._lives if live.below is not None and live.below == layer), None)
        self.live = live or next((live for live in self._lives if live.session is None), None) or self._new_live()
        self.results.clear()
        session = self.live.session
        if session is not None:
            self.sliders.setValue(session.predicted, session.separations[0].diameter)
            self.sliders.show_value(session.objects)
            if self.live.measured_now is not None:
                self._show_measured()
            else:
                self._show_numbers()
        self._show_state()
        self._show_correction()
        self._show_sizes()
        self.correction.follow()
        self.keep.propose(layer)

    def _image(self) -> Image | None:
        layer = self.layer.layer
        return layer if isinstance(layer, Image) else None

    def _images(self) -> list[Image]:
        return [layer for layer in self._viewer.layers if isinstance(layer, Image) and _is_an_image(layer)]

    def _selected(self) -> list[Image]:
        return [layer for layer in self._images() if layer in self._viewer.layers.selection]

    def _show_sizes(self) -> None:
        session = self.live.session
        if session is None:
            self.sizes.follow()
        else:
            self.sizes.follow(session.separations[0].diameter, session.image.pixel_size_um)

    def _bead_near(self, y: float, x: float) -> tuple[float, float] | None:
        """Return the centre of the measured bead that is nearest to a place, px."""
        measured = self.live.measured_now
        if measured is None or not len(measured.beads):
            return None
        places = measured.beads[["y", "x"]].to_numpy(float)
        nearest = places[int(np.argmin(np.hypot(*(places - (y, x)).T)))]
        return float(nearest[0]), float(nearest[1])

    def _new_live(self) -> LiveSession:
        live = LiveSession(self._viewer, self)
        self._connect_live(live)
        self._lives.append(live)
        return live

    def _gone(self, live: LiveSession, why: str) -> None:
        """Show nothing of a session that was ended."""
        if live is self.live:
            self._chosen()
            if why:
                self.messages.show_text(why)

    def _offer_axes(self, layer: Layer | None) -> None:
        """Offer what the first axis of a stack can be."""
        stack = isinstance(layer, Image) and finest(layer).ndim - int(layer.rgb) == 3
        self.axis_row.setVisible(stack)
        self.axis.blockSignals(True)
        self.axis.clear()
        if stack and isinstance(layer, Image):
            self._fill_axes(layer)
        self.axis.blockSignals(False)
        self._axis_by_hand = False

    def _axes_labelled(self) -> None:
        """Follow the labels of the axes, unless a person has said what the first axis is."""
        if not self._axis_by_hand:
            self._offer_axes(self.layer.layer)

    def _axis_chosen(self) -> None:
        self._axis_by_hand = True

    def _fill_axes(self, layer: Image) -> None:
        length = int(finest(layer).shape[0])
        kinds = [("time, or images one after the other", "T"), ("depth", "Z")]
        if length <= MOST_CHANNELS and not layer.rgb:
            kinds += [(f"channels: predict channel {number}", f"C{number}") for number in range(length)]
        for text, key in kinds:
            self.axis.addItem(text, key)
        labelled = first_axis_of(layer, tuple(self._viewer.dims.axis_labels))
        channel = 0
        with suppress(InputError):  # not shown as planes
            channel = shown_index(layer, self._viewer.dims)[0]
        known = f"C{channel}" if labelled == "C" else labelled or "T"
        self.axis.setCurrentIndex(max(0, self.axis.findData(known)))

    # --- Predicting ---------------------------------------------------------------------------------------------------

    @guarded
    def _predict(self) -> None:
        """Count the layer that is chosen, or those that are selected where these are several."""
        selected, layer = self._selected(), self._image()
        if layer is None:
            raise InputError("There is no image layer.", remedy="Open an image, or choose a layer of the kind image.")
        self._begin(selected if len(selected) > 1 else [layer])

    @guarded
    def _predict_all(self) -> None:
        self._begin(self._images())

    @guarded
    def _count_again(self) -> None:
        """Count the layer again, with another bead diameter; corrections would be lost by that."""
        layer, session = self._image(), self.live.session
        if layer is None or self.background.running:
            return
        if session is not None and session.corrected:
            raise InputError("The beads were corrected.", remedy="Press Count to count the image again.")
        self._begin([layer])

    def _begin(self, layers: list[Image]) -> None:
        self.messages.clear()
        self._left = layers
        self._predict_next()

    @guarded
    def _predict_next(self) -> None:
        """Count the next of the layers that are left; those that were removed meanwhile are skipped."""
        from beadseg.widgets.predict.session import predict_layer

        self._left = [layer for layer in self._left if layer in self._viewer.layers]
        if not self._left or self.background.running:
            return
        layer = self._left.pop(0)
        self.layer.layer = layer
        run, options = self._run(), [*PluginSettings.read().options(), *self.sizes.options]
        first = str(self.axis.currentData() or "") if self.axis_row.isVisibleTo(self) else ""
        image, unsaved = LayerImage.of(layer, tuple(self._viewer.dims.axis_labels), first), unsaved_corrections()
        self._below = layer
        self.background.start(lambda on_event, stop: predict_layer(image, run, options, unsaved, on_event, stop))

    def _failed(self, error: BaseException) -> None:
        """Tell what went wrong; the layers that are left are counted all the same, unless a person stopped it."""
        if isinstance(error, Cancelled):
            self._left, error = [], Cancelled("Cancelled.")
        self._predict_next()
        self.messages.show_error(error)

    @guarded
    def _show(self, session: Session) -> None:
        below, self._below = self._below, None
        if below is None or below not in self._viewer.layers:
            session.close()
            raise InputError("The layer was removed while it was predicted.", remedy="Open the image again.")
        self.layer.layer = below
        self._chosen()
        model, changes = self._kept
        self.live.start(session, below)
        self._chosen()
        if session.recovered:
            they, them = ("is", "it") if session.recovered == 1 else ("are", "them")
            unsaved = plural(session.recovered, "unsaved correction")
            self.messages.show_text(
                f"{unsaved} of this image {they} shown again. Save keeps {them}, Discard drops {them}."
            )
        elif changes and model == session.stored.model_sha256:
            self.sliders.take(session.predicted.replace(**changes))
            self.messages.show_text("Your slider settings were kept. Reset goes back to those of the model.")

    def _counted(self) -> None:
        self._show_numbers()
        self._show_correction()

    @guarded
    def _show_correction(self) -> None:
        """Show what was corrected; the sliders would choose other beads, so they are off meanwhile."""
        session = self.live.session
        corrected = session is not None and bool(session.corrected)
        self.sliders.setEnabled(not corrected)
        self.sliders.setVisible(not corrected)  # what they leave free shows more of the table
        self.correction.show_state()

    @guarded
    def _choose(self, objects: ObjectConfig) -> None:
        session = self.live.session
        if session is not None:
            self._kept = (session.stored.model_sha256, self.sliders.changes())
            self.live.choose(objects)

    # --- Showing ------------------------------------------------------------------------------------------------------

    @guarded
    def _measured(self, live: LiveSession, measured: Measured) -> None:
        if live.session is not None and live.below is not None:
            self.results.take_image(image_row(live.session, str(live.below.name), measured))
        if live is self.live:
            self._show_measured()

    def _show_saved(self) -> None:
        for live in self._lives:
            if live.session is not None and live.measured_now is not None and live.below is not None:
                self.results.take_image(image_row(live.session, str(live.below.name), live.measured_now))

    @guarded
    def _image_chosen(self, name: str) -> None:
        """Show the results of a row of the table of images."""
        for layer in self._images():
            if str(layer.name) == name:
                self._viewer.layers.selection.active = layer
                return
        raise InputError("Its layer is not in the viewer any more.", name, "Open the image again.")

    @guarded
    def _show_measured(self) -> None:
        session, measured = self.live.session, self.live.measured_now
        if session is not None and measured is not None and measured.plane == self.live.number:
            self.results.show_beads(measured.beads)
            self.results.show_planes(session.planes, measured.counts)
            self._show_numbers()

    @guarded
    def _show_numbers(self) -> None:
        """Show the count with the name of what it belongs to, density, interval, region, and what is implausible."""
        session, below = self.live.session, self.live.below
        if session is None or below is None:
            return
        number = self.live.number
        measured = self.live.measured_now
        fresh = measured is not None and measured.plane == number and not self.live.changing
        region = self._chosen_region()
        title = title_of(session, below, number)
        self.results.show_title(title if region is None else f"{title}, in {region.name}")
        count = session.count(number)
        if measured is None or not fresh:
            self.results.show_detail([])
            if region is None and count is not None:
                self.results.show_count(count)
            return
        row = measured.row
        total = count if count is not None else measured.counts[number]
        lines = corrected_lines(row) if "corrected" in row else density_lines(row)
        self.results.show_regions([] if region is None else region_rows(session, region, measured))
        if region is not None:
            part = session.region_row(region, measured)
            total = whole_count(part)
            lines = [f"{plural(total, 'bead')} in {region.name}, {area_text(part)}", *density_lines(part)]
            lines.append(f"{plural(whole_count(row), 'bead')} in the whole image")
        elif len(session.planes) > 1:
            lines.append(f"{plural(sum(measured.counts), 'bead')} in all {len(session.planes)} planes")
        self.results.show_count(total)
        lines += [sentence(row["flags"])] if row["flags"] else []
        if session.stored.appearance is None and not session.stored.fingerprint.get("simulated"):
            lines.append(NOT_COMPARED)
        self.results.show_detail(lines)

    # --- Region, rows and beads ---------------------------------------------------------------------------------------

    def _chosen_region(self) -> Region | None:
        """Return the shapes to count in, as they are now; None for the whole image."""
        shapes, labels = self.region.layer, self.live.shown.labels
        region = Region.of(shapes, labels) if isinstance(shapes, Shapes) and labels is not None else None
        return region if region is not None and region.outlines else None  # nothing is drawn in it yet

    @guarded
    def _draw_region(self) -> None:
        below = self.live.below
        if below is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        options = place_of(below, 2)
        shapes = Shapes(ndim=2, name="Region", face_color="transparent", edge_color="#ffd400", edge_width=2, **options)
        self._viewer.add_layer(shapes)
        shapes.mode = "add_rectangle"
        self.region.layer = shapes
        self.messages.show_text("Draw rectangles, ellipses or polygons with the tools at the top left.")

    @guarded
    def _region_row_chosen(self, number: int) -> None:
        """Select a shape, as a click on its row asks for."""
        shapes = self.region.layer
        if isinstance(shapes, Shapes):
            shapes.selected_data = {number}

    @guarded
    def _region_chosen(self, layer: Shapes | None) -> None:
        names = ("data", "set_data", *PLACE_EVENTS)
        for shapes, how in ((self._region_layer, "disconnect"), (layer, "connect")):
            for name in names:
                event = None if shapes is None else getattr(shapes.events, name, None)
                if event is not None:
                    getattr(event, how)(self._region_changed)
        self._region_layer = layer
        self._show_numbers()

    def _region_changed(self, event: object = None) -> None:
        self._region_moved_later.start()

    def _chosen_bead(self) -> tuple[float, float] | None:
        """Return the place of the bead that is chosen in the table, px."""
        row, measured = self.results.chosen_row, self.live.measured_now
        if row is None or measured is None or measured.plane != self.live.number or row >= len(measured.beads):
            return None
        y, x = self.live.inner_place(row)
        return y, x

    @guarded
    def _bead_chosen(self, row: int) -> None:
        measured = self.live.measured_now
        if measured is not None and row < len(measured.beads):
            y, x = measured.beads[["y", "x"]].to_numpy(np.float64)[row]
            self.live.go_to_bead(float(y), float(x), row)

    @guarded
    def _bead_clicked(self, row: int) -> None:
        self.results.choose_bead(row)
        self.live.shown.mark(row)


def _is_an_image(layer: Image) -> bool:
    """Leave out the probability of a prediction."""
    return "run" not in layer.metadata.get("beadseg", {})
