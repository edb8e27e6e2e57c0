"""The numbers of a plane: a histogram whose bars select beads, beads in colours by a property, tables to take along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from qtpy.QtCore import QSize, Signal
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from beadseg.errors import InputError
from beadseg.files import write_atomically
from beadseg.text import csv_text, plural
from beadseg.widgets.common import guarded
from beadseg.widgets.predict.result_tables import pasted

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.controller import LiveSession

PROPERTIES = {
    "diameter_um": "Diameter, µm",
    "equivalent_diameter_um": "Diameter, µm",
    "equivalent_diameter_px": "Diameter, px",
    "area_um2": "Area, µm²",
    "area_px": "Area, px²",
    "mean_intensity": "Mean brightness",
    "integrated_intensity": "Integrated brightness",
    "confidence": "Confidence",
    "circularity": "Circularity",
    "focus": "Focus",
}
"""Columns of the bead table that are shown, and what they are called."""
MOST_BARS = 40
COLOUR, CHOSEN = "#4c9be8", "#f0932b"
"""Of bars, and of those that were clicked."""
COLORMAP = "viridis"
"""Of beads that are coloured by a property: can be read with any colour vision, and in grey."""
FEW = "Count an image first; its beads are shown here."


class NumbersPanel(QWidget):
    """The beads of the plane that is shown, in numbers.

    Parameters
    ----------
    messages : MessageArea
        Where errors and news are shown.
    """

    rows_chosen = Signal(object)
    """Rows of the bead table in the bars that were clicked: a list of int."""

    def __init__(self, messages: MessageArea) -> None:
        super().__init__()
        self.messages = messages
        self._live: LiveSession | None = None
        self._beads = pd.DataFrame()
        self._chosen: set[int] = set()
        self._edges: NDArray[np.float64] = np.zeros(0)
        self._stale = True
        """Whether other values are to be drawn."""
        self.shown_property = QComboBox()
        self.shown_property.setToolTip("What the histogram shows, and what beads are coloured by")
        self.colour = QCheckBox("Colour the beads")
        self.colour.setToolTip("Colour the beads in the image by this property: dark is low, yellow is high")
        self.figure = Figure(layout="constrained")
        self.canvas = _Canvas(self.figure)
        self.canvas.setToolTip("Click a bar to select its beads in the image; click it again to leave them out")
        self.about = QLabel(FEW)
        self.about.setWordWrap(True)
        self.copy = QPushButton("Copy table")
        self.copy.setToolTip("Copy the beads of this plane, or those of the selected bars, for a spreadsheet")
        self.save = QPushButton("Save table…")
        self.save.setToolTip("Save the same table as CSV or Excel workbook")
        self._arrange()
        self.shown_property.currentIndexChanged.connect(self._show)
        self.colour.toggled.connect(self._colour)
        self.canvas.mpl_connect("button_press_event", self._clicked)
        self.copy.clicked.connect(self._copy)
        self.save.clicked.connect(self._save)

    def _arrange(self) -> None:
        above, below = QHBoxLayout(), QGridLayout()
        above.addWidget(self.shown_property, 1)
        above.addWidget(self.colour)
        below.addWidget(self.copy, 0, 0)
        below.addWidget(self.save, 0, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addLayout(above)
        column.addWidget(self.canvas, 1)
        column.addWidget(self.about)
        column.addLayout(below)

    def show_beads(self, live: LiveSession | None, beads: pd.DataFrame) -> None:
        """Show the bead table of a plane of a session; an empty one where nothing is counted."""
        if self._live is not None and live is not self._live:
            self._uncolour()
        self._live, self._beads, self._chosen = live, beads, set()
        before = self.shown_property.currentData()
        self.shown_property.blockSignals(True)
        self.shown_property.clear()
        for name, words in PROPERTIES.items():
            if name in beads and beads[name].notna().any():
                self.shown_property.addItem(words, name)
        self.shown_property.setCurrentIndex(max(0, self.shown_property.findData(before)))
        self.shown_property.blockSignals(False)
        self._show()

    @property
    def values(self) -> NDArray[np.float64]:
        """What the histogram shows, one value per bead."""
        name = self.shown_property.currentData()
        return np.zeros(0) if name is None else self._beads[name].to_numpy(np.float64)

    def chosen_rows(self) -> list[int]:
        """Return the rows of the bead table in the bars that were clicked."""
        if not self._chosen:
            return []
        bars = bar_of(self.values, self._edges)
        return [int(row) for row in np.flatnonzero(np.isin(bars, sorted(self._chosen)))]

    # --- Showing ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self._chosen = set()
        self._draw()
        self._colour()
        for button in (self.copy, self.save, self.colour):
            button.setEnabled(bool(len(self._beads)))

    def _draw(self) -> None:
        values = self.values
        self._edges = edges_of(values)
        self.about.setText(summary_of(values, self.shown_property.currentText()) or FEW)
        self._stale = not self.isVisible()  # while beads are corrected on the other tab, drawing would hold them up
        if not self._stale:
            self._draw_bars(values)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw what has come meanwhile."""
        super().showEvent(event)
        if self._stale:
            self._stale = False
            self._draw_bars(self.values)

    def _draw_bars(self, values: NDArray[np.float64]) -> None:
        self.figure.clear()
        text = self.palette().windowText().color().name()
        self.figure.set_facecolor("none")
        axes = self.figure.add_subplot()
        axes.set_facecolor("none")
        if len(self._edges) > 1:
            counts = np.bincount(bar_of(values, self._edges), minlength=len(self._edges))[1:]
            colours = [CHOSEN if bar + 1 in self._chosen else COLOUR for bar in range(len(counts))]
            widths = np.diff(self._edges)
            axes.bar(self._edges[:-1], counts, widths, align="edge", color=colours, edgecolor=text, linewidth=0.4)
        axes.set_xlabel(self.shown_property.currentText(), color=text)
        axes.set_ylabel("Beads", color=text)
        axes.tick_params(colors=text)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ("left", "bottom"))
            spine.set_color(text)
        self.canvas.draw_idle()  # type: ignore[no-untyped-call]

    def _clicked(self, event: Any) -> None:
        """Select the beads of the bar under the mouse, or leave them out again."""
        if event.inaxes is None or len(self._edges) < 2:
            return
        bar = int(bar_of(np.array([event.xdata]), self._edges)[0])
        if not 1 <= bar < len(self._edges):
            return
        self._chosen ^= {bar}
        self._draw()
        rows = self.chosen_rows()
        self.about.setText(f"{plural(len(rows), 'bead')} selected." if rows else summary_of(self.values, ""))
        self._select(rows)
        self.rows_chosen.emit(rows)

    def _select(self, rows: list[int]) -> None:
        live = self._live
        layer = None if live is None else live.shown.centres
        if live is None or layer is None or layer not in live.shown.layers or len(layer.data) != len(self._beads):
            return
        layer.selected_data = set(rows)
        shown = np.asarray(layer.shown).copy()
        shown[rows] = True
        layer.shown = shown

    @guarded
    def _colour(self) -> None:
        """Colour the points of the image by the property, or not."""
        live, name = self._live, self.shown_property.currentData()
        layer = None if live is None else live.shown.centres
        if live is None or layer is None or layer not in live.shown.layers:
            return
        if not self.colour.isChecked() or name is None or len(layer.data) != len(self._beads):
            self._uncolour()
            return
        if name not in layer.features or not np.array_equal(layer.features[name], self._beads[name], equal_nan=True):
            return  # the points of these beads are still to come
        finite = self.values[np.isfinite(self.values)]
        layer.face_color = name
        layer.face_colormap = COLORMAP
        layer.face_contrast_limits = tuple(np.percentile(finite, (2, 98))) if len(finite) else (0.0, 1.0)
        layer.refresh_colors()

    def _uncolour(self) -> None:
        live = self._live
        layer = None if live is None else live.shown.centres
        if live is not None and layer is not None and layer in live.shown.layers and layer.face_color_mode != "direct":
            layer.face_color_mode = "direct"
            layer.face_color = "transparent"

    # --- Taking along -------------------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """Return the beads to take along: those selected, else all."""
        rows = self.chosen_rows()
        return self._beads.iloc[rows] if rows else self._beads

    @guarded
    def _copy(self) -> None:
        table = self.table()
        if not len(table):
            raise InputError("There are no beads to copy.", remedy="Count an image first.")
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(pasted(table))
        self.messages.show_text(f"Copied {plural(len(table), 'bead')}: paste them into a spreadsheet.", "good")

    @guarded
    def _save(self) -> None:
        if not len(self.table()):
            raise InputError("There are no beads to save.", remedy="Count an image first.")
        name, _ = QFileDialog.getSaveFileName(
            self, "Save the table of beads", "beads.csv", "Table (*.csv);;Excel workbook (*.xlsx)"
        )
        if name:
            self.write(Path(name))

    def write(self, path: Path) -> None:
        """Write the table as CSV, or as an Excel workbook where the name ends so."""
        table = self.table()
        if path.suffix.lower() == ".xlsx":
            from beadseg.predict.exchange import write_workbook

            write_workbook(path, {"beads": table})
        else:
            path = path if path.suffix else path.with_suffix(".csv")
            write_atomically(path, csv_text(table, "%.6g"))
        self.messages.show_text(f"Saved {plural(len(table), 'bead')} in {path}.", "good")


class _Canvas(FigureCanvasQTAgg):
    """A figure as large as its place, however small that is."""

    def __init__(self, figure: Figure) -> None:
        super().__init__(figure)  # type: ignore[no-untyped-call]
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 150)
        self.setStyleSheet("background-color: transparent;")

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(320, 220)


def edges_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the edges of the bars of a histogram, at most `MOST_BARS`; of no values, nothing."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.zeros(0)
    if finite.min() == finite.max():
        return np.array([finite[0] - 0.5, finite[0] + 0.5])
    edges = np.histogram_bin_edges(finite, "auto")
    return np.linspace(finite.min(), finite.max(), MOST_BARS + 1) if len(edges) > MOST_BARS + 1 else edges


def bar_of(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return in which bar every value lies, from 1; 0 for NaN and what lies outside."""
    if len(edges) < 2:
        return np.zeros(len(values), np.intp)
    inside = (values >= edges[0]) & (values <= edges[-1])
    bars = np.clip(np.searchsorted(edges, values, "right"), 1, len(edges) - 1)
    return np.where(inside, bars, 0)


def summary_of(values: NDArray[np.float64], words: str) -> str:
    """Return number, median, quartiles and relative spread of what is shown; empty without beads."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return ""
    low, middle, high = np.percentile(finite, (25, 50, 75))
    spread = f", CV {finite.std() / abs(finite.mean()):.0%}" if len(finite) > 1 and finite.mean() else ""
    return f"{plural(len(finite), 'bead')}: median {middle:.4g}, half of them {low:.4g} to {high:.4g}{spread}"
