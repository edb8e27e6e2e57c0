"""Count, tables of beads and planes, and the count in a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from qtpy.QtCore import QItemSelectionModel, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QLabel, QTableView, QVBoxLayout, QWidget

from beadseg.text import plural
from beadseg.widgets.predict.bead_model import FrameModel

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST_WIDTH = 56
"""Of a column, screen px."""
PLANES_HEIGHT = 96
"""Of the table of planes, screen px."""


class ResultsView(QWidget):
    """Shows what was found; a row that a person chooses is told."""

    bead_chosen = Signal(int)
    """Row of the bead table."""
    plane_chosen = Signal(int)
    """Number of a plane."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel()
        self.title.setTextFormat(Qt.TextFormat.PlainText)
        self.title.setWordWrap(True)
        self.title.setToolTip("The image, and where it is a stack the plane, that the number belongs to")
        self.count = QLabel()
        self.count.setStyleSheet("font-size: 16pt; font-weight: bold;")
        self.count.setToolTip("Beads in the plane that is shown, or in the region, as chosen by the sliders")
        self.detail = QLabel()
        self.detail.setTextFormat(Qt.TextFormat.PlainText)
        self.detail.setWordWrap(True)
        self.beads, self.planes = FrameModel(), FrameModel()
        self.bead_view = _view(self.beads, "Click a row to go to the bead; click a bead in the image to find its row")
        self.plane_view = _view(self.planes, "Beads of every plane; click a row to show the plane")
        self.plane_view.setFixedHeight(PLANES_HEIGHT)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.title, self.count, self.detail, self.plane_view):
            layout.addWidget(widget)
        layout.addWidget(self.bead_view, 1)
        self._selecting = False
        _rows_chosen(self.bead_view, self._bead_row)
        _rows_chosen(self.plane_view, self._plane_row)
        self.plane_view.setVisible(False)

    def show_title(self, title: str) -> None:
        """Show what the number belongs to."""
        self.title.setText(title)

    def show_count(self, count: int) -> None:
        """Show the number of beads."""
        self.count.setText(plural(count, "bead"))

    def show_beads(self, beads: pd.DataFrame) -> None:
        """Show the bead table of the plane."""
        other = list(beads.columns) != list(self.beads.table.columns)
        self._selecting = True
        self.beads.set_table(beads)
        self._selecting = False
        across = self.bead_view.horizontalHeader()
        if other and across is not None:
            across.setSortIndicator(-1, across.sortIndicatorOrder())  # no arrow over rows that are not sorted
        if other and across is not None:
            for column in range(len(beads.columns)):
                self.bead_view.setColumnWidth(column, max(LEAST_WIDTH, across.sectionSizeHint(column)))

    def show_planes(self, names: Sequence[str], counts: Sequence[int]) -> None:
        """Show the counts of all planes; nothing of a single image."""
        self.plane_view.setVisible(len(names) > 1)
        if len(names) > 1:
            self._selecting = True
            self.planes.set_table(pd.DataFrame({"plane": names, "beads": counts}))
            self._selecting = False
            self.plane_view.setToolTip(
                f"Beads of every plane, {plural(sum(counts), 'bead')} in all; click a row to show the plane"
            )

    def choose_bead(self, row: int) -> None:
        """Select and show a row of the bead table, as a click on a bead asks for."""
        if not 0 <= row < len(self.beads.table):
            return
        index = self.beads.index(self.beads.row_of(row), 0)
        flags = QItemSelectionModel.SelectionFlag
        self._selecting = True
        selection = self.bead_view.selectionModel()
        if selection is not None:
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self._selecting = False
        self.bead_view.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)

    def clear(self) -> None:
        """Show nothing."""
        self.title.setText("")
        self.count.setText("")
        self.detail.setText("")
        self.show_beads(pd.DataFrame())
        self.show_planes([], [])

    def _bead_row(self, row: int) -> None:
        if not self._selecting:
            self.bead_chosen.emit(self.beads.position_of(row))

    def _plane_row(self, row: int) -> None:
        if not self._selecting:
            self.plane_chosen.emit(self.planes.position_of(row))


def _view(model: FrameModel, explained: str) -> QTableView:
    view = QTableView()
    view.setModel(model)
    view.setToolTip(explained)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setSortingEnabled(True)
    view.setMinimumHeight(80)
    view.setTabKeyNavigation(False)
    header = view.verticalHeader()
    if header is not None:
        header.setVisible(False)
        header.setDefaultSectionSize(20)
    across = view.horizontalHeader()
    if across is not None:
        across.setDefaultSectionSize(72)
        across.setSortIndicator(-1, across.sortIndicatorOrder())
    return view


def _rows_chosen(view: QTableView, told: object) -> None:
    selection = view.selectionModel()
    if selection is not None:
        selection.currentRowChanged.connect(lambda now, before: told(now.row()) if now.isValid() else None)  # type: ignore[operator]
