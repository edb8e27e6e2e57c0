"""Predict the image of a layer, move sliders, read counts, keep the result."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Shapes
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from beadseg.errors import InputError
from beadseg.predict.counts import NOT_COMPARED, sentence
from beadseg.text import plural
from beadseg.widgets.common import Background, ProgressRow, guarded
from beadseg.widgets.common.background import collect_all_again, keep_collections_short
from beadseg.widgets.common.settings import FolderField, PluginSettings, unsaved_corrections
from beadseg.widgets.layers import LayerChoice, connect_while_alive, finest, fit_to, place_of, shown_index
from beadseg.widgets.predict.controller import PLACE_EVENTS, LiveSession
from beadseg.widgets.predict.correction import CorrectionRow
from beadseg.widgets.predict.object_sliders import ObjectSliders
from beadseg.widgets.predict.result_tables import Region, ResultsView
from beadseg.widgets.predict.session import LayerImage, first_axis_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import napari
    from napari.layers import Layer

    from beadseg.config.predict import ObjectConfig
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.session import Session

EMPTY = (
    "1. Open an image in the viewer (File ▸ Open Sample ▸ beadseg has some) and choose it here.\n2. Press Predict. The "
    "general model needs no training; a model of your own is chosen above by its run folder.\n3. Move the sliders: "
    "labels, count and table follow at once."
)

LOCKED = "Press Correct (D) to add, remove, separate or merge beads. Labels and centres cannot be painted on or moved."
MOST_CHANNELS = 6
"""A longer axis is not offered as channels."""
REGION_MS = 80
"""A region at rest for so long is counted in, ms."""
WHOLE = 100.0
"""Densities from here on are shown without decimals."""


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
        self.layer.setToolTip("The layer that is predicted: grey or colour, any depth, also stacks and OME-Zarr")
        self.predict = QPushButton("Predict")
        self.predict.setToolTip("Find the beads of all planes of this layer; the viewer stays usable meanwhile")
        self.axis = QComboBox()
        self._axis_by_hand = False
        self.axis.setToolTip("What the first axis of the layer is; of channels, which one is predicted")
        self.sliders, self.results = ObjectSliders(), ResultsView()
        self.region = LayerChoice(viewer, (Shapes,), none="whole image")
        self.region.setToolTip("Count only in the shapes of this layer (rectangles, ellipses, polygons)")
        self.draw = QPushButton("Draw")
        self.draw.setToolTip("Make a layer to draw a region in, and count in it")
        self.empty = QLabel(EMPTY)
        self.correction = CorrectionRow(viewer, lambda: self.live, self._chosen_bead, messages)
        self.keep = KeepRow(lambda: self.live, self._chosen_region, messages)
        self._region_moved_later = QTimer(self)
        self._build()
        self._connect()
        self._chosen()

    def _build(self) -> None:
        self.empty.setWordWrap(True)
        row = QHBoxLayout()
        row.addWidget(self.layer, 1)
        row.addWidget(self.predict)
        self.axis_row = QWidget()
        axis = QFormLayout(self.axis_row)
        axis.setContentsMargins(0, 0, 0, 0)
        axis.addRow("First axis", self.axis)
        self.found = QWidget()
        inner = QVBoxLayout(self.found)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self.sliders)
        where = QHBoxLayout()
        where.addWidget(self.region, 1)
        where.addWidget(self.draw)
        region = QFormLayout()
        region.addRow("Count in", where)
        inner.addWidget(self.correction)
        inner.addLayout(region)
        inner.addWidget(self.results, 1)
        inner.addWidget(self.keep)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(row)
        layout.addWidget(self.axis_row)
        layout.addWidget(ProgressRow(self.background))
        layout.addWidget(self.empty)
        layout.addWidget(self.found, 1)
        layout.addStretch(0)

    def _connect(self) -> None:
        self.predict.clicked.connect(self._predict)
        me = id(self)
        self.background.started.connect(lambda: keep_collections_short(me))
        for over in (self.background.failed, self.destroyed):
            over.connect(lambda *said: collect_all_again(me))
        self.background.started.connect(self._show_state)
        self.background.returned.connect(self._show)
        self.background.failed.connect(self.messages.show_error)
        self.background.ended.connect(self._show_state)
        self._connect_live(self.live)
        self.sliders.valueChanged.connect(self._choose)
        self.results.bead_chosen.connect(self._bead_chosen)
        self.results.removal_asked.connect(lambda: self.correction.act("remove"))
        self.results.plane_chosen.connect(lambda number: self.live.go_to_plane(number))
        self.region.layer_changed.connect(self._region_chosen)
        self.draw.clicked.connect(self._draw_region)
        self._region_moved_later.setSingleShot(True)
        self._region_moved_later.setInterval(REGION_MS)
        self._region_moved_later.timeout.connect(self._show_numbers)
        self.layer.layer_changed.connect(self._chosen)
        self.layer.offer_changed.connect(self._show_state)
        events = self._viewer.layers.events
        connect_while_alive(self, self._viewer.layers.selection.events.active, self._active_changed)
        connect_while_alive(self, events.inserted, self._inserted)
        connect_while_alive(self, self._viewer.dims.events.axis_labels, self._axes_labelled)
        self.axis.currentIndexChanged.connect(self._axis_chosen)

    def _connect_live(self, live: LiveSession) -> None:
        me = id(self)
        for over in (live.failed, live.shown.settled):
            over.connect(lambda *said: collect_all_again(me))
        live.counted.connect(lambda count: self._counted() if live is self.live else None)
        live.measured.connect(lambda measured: self._show_measured() if live is self.live else None)
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
        self.predict.setEnabled(self.layer.layer is not None and not self.background.running)

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
        self.correction.follow()

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
        from beadseg.widgets.predict.session import predict_layer

        layer = self.layer.layer
        if not isinstance(layer, Image):
            raise InputError("There is no image layer.", remedy="Open an image, or choose a layer of the kind image.")
        run, options = self._run(), PluginSettings.read().options()
        first = str(self.axis.currentData() or "") if self.axis_row.isVisibleTo(self) else ""
        image, unsaved = LayerImage.of(layer, tuple(self._viewer.dims.axis_labels), first), unsaved_corrections()
        self.messages.clear()
        self._below = layer
        self.background.start(lambda on_event, stop: predict_layer(image, run, options, unsaved, on_event, stop))

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
        self.sliders.setEnabled(session is None or not session.corrected)
        self.correction.show_state()

    @guarded
    def _choose(self, objects: ObjectConfig) -> None:
        session = self.live.session
        if session is not None:
            self._kept = (session.stored.model_sha256, self.sliders.changes())
            self.live.choose(objects)

    # --- Showing ------------------------------------------------------------------------------------------------------

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
        title = _title(session, below, number)
        self.results.show_title(title if region is None else f"{title}, in {region.name}")
        count = session.count(number)
        if measured is None or not fresh:
            self.results.detail.setText("")
            if region is None and count is not None:
                self.results.show_count(count)
            return
        row = measured.row
        total = count if count is not None else measured.counts[number]
        lines = _corrected_lines(row) if "corrected" in row else _density_lines(row)
        if region is not None:
            part = session.region_row(region, measured)
            total = part["beads"]
            lines = [f"{plural(total, 'bead')} in {region.name}, {_area(part)}", *_density_lines(part)]
            lines.append(f"{plural(row['beads'], 'bead')} in the whole image")
        elif len(session.planes) > 1:
            lines.append(f"{plural(sum(measured.counts), 'bead')} in all {len(session.planes)} planes")
        self.results.show_count(total)
        lines += [sentence(row["flags"])] if row["flags"] else []
        if session.stored.appearance is None:
            lines.append(NOT_COMPARED)
        self.results.detail.setText("\n".join(lines))

    # --- Region, rows and beads ---------------------------------------------------------------------------------------

    def _chosen_region(self) -> Region | None:
        """Return the shapes to count in, as they are now; None for the whole image."""
        shapes, labels = self.region.layer, self.live.shown.labels
        return Region.of(shapes, labels) if isinstance(shapes, Shapes) and labels is not None else None

    @guarded
    def _draw_region(self) -> None:
        below = self.live.below
        if below is None:
            raise InputError("Nothing was predicted yet.", remedy="Press Predict first.")
        options = place_of(below, 2)
        shapes = Shapes(ndim=2, name="Region", face_color="transparent", edge_color="#ffd400", edge_width=2, **options)
        self._viewer.add_layer(shapes)
        shapes.mode = "add_rectangle"
        self.region.layer = shapes
        self.messages.show_text("Draw rectangles, ellipses or polygons with the tools at the top left.")

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


def _title(session: Session, below: Image, number: int) -> str:
    """Return the name of the image, and of the plane of a stack: its file where the layer knows it."""
    planes = session.planes
    if len(planes) < 2:
        return str(below.name)
    names = below.metadata.get("beadseg", {}).get("samples", ())
    plane = names[number] if len(names) == len(planes) else planes[number]
    return f"{below.name}: {plane} ({number + 1} of {len(planes)})"


def _area(row: dict[str, Any]) -> str:
    return f"{row['area_px']:,} px²" if row["area_mm2"] == "" else f"{row['area_mm2']:,.4g} mm²"


def _density_lines(row: dict[str, Any]) -> list[str]:
    """Return what a row of ``counts.csv`` or ``regions.csv`` says of density and interval, in words."""
    name, unit = ("beads_per_mm2", "mm²") if row["beads_per_mm2"] != "" else ("beads_per_mpx", "megapixel")
    lines = [] if row[name] == "" else [f"{_density(float(row[name]))} per {unit}"]
    if row["beads_low"] != "":
        lines.append(f"95 % interval of the count: {row['beads_low']:,.0f} to {row['beads_high']:,.0f}")
    return lines


def _corrected_lines(row: dict[str, Any]) -> list[str]:
    """Return what a row says of a count that a person corrected, and of the automatic one beside it."""
    unit, name = ("mm²", "per_mm2") if row["beads_per_mm2"] != "" else ("megapixel", "per_mpx")
    density, low, high = (float(row[f"corrected_{name}{limit}"]) for limit in ("", "_total_low", "_total_high"))
    lines = [f"{_density(density)} per {unit}, by sampling alone {_density(low)} to {_density(high)} (95 %)"]
    interval = f", 95 % interval {row['beads_low']:,.0f} to {row['beads_high']:,.0f}" if row["beads_low"] != "" else ""
    return [*lines, f"Automatic: {plural(row['beads'], 'bead')}{interval}"]


def _density(value: float) -> str:
    """Return a density without digits that a count cannot have."""
    return f"{value:,.0f}" if value >= WHOLE else f"{value:,.3g}"


class KeepRow(QWidget):
    """Saves what is chosen now, from a thread."""

    def __init__(
        self, live: Callable[[], LiveSession], region: Callable[[], Region | None], messages: MessageArea
    ) -> None:
        super().__init__()
        self._live, self._region, self.messages = live, region, messages
        self.background = Background("saving", self)
        self.folder = FolderField(
            "Folder", "Folder of results, or of a dataset to add a draft to; it is made where it does not exist"
        )
        self.save = QPushButton("Save results")
        self.save.setToolTip("Write masks, labels, bead table and counts; also the counts in a region")
        self.draft = QPushButton("Add to dataset as draft")
        self.draft.setToolTip("Add image and labels to a dataset; nothing trains on them before a person accepted them")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.folder, 0, 0, 1, 2)
        grid.addWidget(self.save, 1, 0)
        grid.addWidget(self.draft, 1, 1)
        grid.addWidget(ProgressRow(self.background), 2, 0, 1, 2)
        self.save.clicked.connect(self._save)
        self.draft.clicked.connect(self._draft)
        self.background.started.connect(lambda: self._enable(False))
        self.background.returned.connect(lambda text: messages.show_text(text, "good"))
        self.background.failed.connect(messages.show_error)
        self.background.ended.connect(lambda: self._enable(True))

    def _enable(self, on: bool) -> None:
        self.save.setEnabled(on)
        self.draft.setEnabled(on)

    @guarded
    def _save(self) -> None:
        from beadseg.widgets.predict.export import save

        region = self._region()
        self._start(lambda session, objects, out, on_event, stop: save(session, objects, out, region, on_event, stop))

    @guarded
    def _draft(self) -> None:
        from beadseg.widgets.predict.export import draft

        self._start(draft)

    def _start(self, keep: Callable[..., str]) -> None:
        folder: Path | None = self.folder.value()
        session = self._live().session
        if folder is None:
            raise InputError("No folder was given.", remedy="Type or choose one above the buttons.")
        if session is None:
            raise InputError("Nothing was predicted yet.", remedy="Press Predict first.")
        objects = session.objects
        self.messages.clear()
        self.background.start(lambda on_event, stop: keep(session, objects, folder, on_event, stop))
