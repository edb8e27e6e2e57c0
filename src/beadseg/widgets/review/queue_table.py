"""The queue as a table of samples; a click goes to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

if TYPE_CHECKING:
    from qtpy.QtGui import QKeyEvent

    from beadseg.widgets.review.queue import Item

COLUMNS = ("Sample", "Worst finding", "State")
_STATE = {"pending": "", "accepted": "✓ accepted", "rejected": "✗ rejected", "corrected": "✎ corrected"}


class QueueModel(QAbstractTableModel):
    """Samples of the queue, one row each."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.items: list[Item] = []

    def set_items(self, items: list[Item]) -> None:
        """Show other samples, or the same ones with other states."""
        if [item.name for item in items] == [item.name for item in self.items]:
            self.items = items
            if items:
                self.dataChanged.emit(self.index(0, 0), self.index(len(items) - 1, len(COLUMNS) - 1))
            return
        self.beginResetModel()
        self.items = items
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of samples."""
        return 0 if parent is not None and parent.isValid() else len(self.items)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(COLUMNS)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return a cell's text; as a tooltip the name with all findings."""
        item = self.items[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return (item.name, item.headline, _STATE[item.state])[index.column()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join([item.name, *(f"{finding.code}: {finding.message}" for finding in item.findings)])
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        """Return a column's name."""
        horizontal = orientation == Qt.Orientation.Horizontal
        return COLUMNS[section] if horizontal and role == Qt.ItemDataRole.DisplayRole else None


class QueueTable(QTableView):
    """Speaks ``value / setValue / valueChanged``: the name of the current sample."""

    valueChanged = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._model = QueueModel(self)
        self.setModel(self._model)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the image
        self.setTabKeyNavigation(False)
        self.setAccessibleName("Queue of samples")
        self.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.setShowGrid(False)
        self.setWordWrap(False)
        rows = QHeaderView(Qt.Orientation.Vertical, self)
        rows.setDefaultSectionSize(self.fontMetrics().height() + 6)
        self.setVerticalHeader(rows)
        rows.setVisible(False)
        header = QHeaderView(Qt.Orientation.Horizontal, self)
        self.setHorizontalHeader(header)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setResizeContentsPrecision(30)
        self.setToolTip("Samples, worst finding first; click one to go there")
        self.clicked.connect(lambda index: self.valueChanged.emit(self._model.items[index.row()].name))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        """Go from sample to sample by the arrows; letters are the review's keys, not a search in the table."""
        if event is None or event.text().isalnum():
            if event is not None:
                event.ignore()
            return
        before = self.value()
        super().keyPressEvent(event)
        name = self.value()
        if name is not None and name != before:
            self.valueChanged.emit(name)

    def value(self) -> str | None:
        """Return the name of the current sample."""
        row = self.currentIndex().row()
        return self._model.items[row].name if 0 <= row < len(self._model.items) else None

    def setValue(self, name: str | None) -> None:
        """Mark a sample as the current one, and bring it into view."""
        names = [item.name for item in self._model.items]
        if name in names:
            index = self._model.index(names.index(name), 0)
            self.setCurrentIndex(index)
            self.scrollTo(index)
        else:
            self.clearSelection()
            self.setCurrentIndex(QModelIndex())

    def set_items(self, items: list[Item]) -> None:
        """Show these samples; the current one stays current where it is among them."""
        current = self.value()
        self._model.set_items(items)
        self.setValue(current)
