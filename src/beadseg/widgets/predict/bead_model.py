"""A table of beads or planes for a Qt view: rows are made when they are seen, so that 10,000 cost nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from qtpy.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt

if TYPE_CHECKING:
    Index = QModelIndex | QPersistentModelIndex

UNITS = {"area_px": "px²", "_px2": "px²", "_um2": "µm²", "_px": "px", "_um": "µm"}
"""What the endings of columns stand for."""
DIGITS = 4
"""Significant digits of a real number."""


class FrameModel(QAbstractTableModel):
    """Shows a `pandas.DataFrame`, read only; columns can be sorted by."""

    def __init__(self) -> None:
        super().__init__()
        self._table = pd.DataFrame()
        self._order: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(0, np.int64)
        self._columns: list[np.ndarray[Any, Any]] = []
        self._sorted: tuple[int, Qt.SortOrder] | None = None

    @property
    def table(self) -> pd.DataFrame:
        """The table, in its own order."""
        return self._table

    def set_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted as the one before."""
        self.beginResetModel()
        if list(table.columns) != list(self._table.columns):
            self._sorted = None
        self._table = table
        self._columns = [table[name].to_numpy() for name in table.columns]
        self._order = self._ordered()
        self.endResetModel()

    def row_of(self, position: int) -> int:
        """Return the row in which the table's row `position` is shown."""
        return int(np.flatnonzero(self._order == position)[0])

    def position_of(self, row: int) -> int:
        """Return which of the table's rows is shown in a row."""
        return int(self._order[row])

    def rowCount(self, parent: Index | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._table)

    def columnCount(self, parent: Index | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, or how it is aligned."""
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(self._columns[index.column()][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name of a column."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            name = str(self._table.columns[section])
            for ending, unit in UNITS.items():
                if name.endswith(ending):
                    name = f"{name.removesuffix(ending)}, {unit}"
                    break
            return name.replace("_", "\n").replace(", ", ",\n")  # a word a line: columns stay narrow
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, by none where it is -1; the rows that are selected stay the same beads."""
        self._sorted = (column, order) if column >= 0 else None
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        beads = [self.position_of(index.row()) for index in before]
        self._order = self._ordered()
        rows = np.empty(len(self._order), np.int64)
        rows[self._order] = np.arange(len(self._order))
        after = [self.index(int(rows[bead]), index.column()) for bead, index in zip(beads, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _ordered(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        if self._sorted is None or not 0 <= self._sorted[0] < len(self._columns):
            return np.arange(len(self._table))
        values = self._columns[self._sorted[0]]
        order = np.argsort(values, kind="stable")
        return order if self._sorted[1] == Qt.SortOrder.AscendingOrder else order[::-1]


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)
