"""The controls while a dataset is open: filters and queue, the current sample, and the buttons with their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from beadseg.annotation.review.steps import STATES
from beadseg.text import plural
from beadseg.widgets.common.message import HelpButton, framed, plain_tip
from beadseg.widgets.review.keys import ACTION
from beadseg.widgets.review.session import ANY, Filter
from beadseg.widgets.review.view import Comparison

if TYPE_CHECKING:
    from qtpy.QtGui import QHideEvent, QKeyEvent, QShowEvent

    from beadseg.widgets.review.session import Item

_DECISIONS = (("accept", "reject", "correct"), ("skip", "back"), ("undo", "redo"))
_TOOLS = ("beads", "ignore", "outline", "place")

COLUMNS = ("Sample", "Worst finding", "State")
_STATE = {"pending": "", "accepted": "✓ accepted", "rejected": "✗ rejected", "corrected": "✎ corrected"}


class WorkPanel(QWidget):
    """Shows a session and says what the user wants; knows no session itself."""

    acted = Signal(str)
    """Name of an action whose button was pressed."""
    chosen = Signal(str)
    """Name of a sample that was clicked in the queue."""
    filtered = Signal()
    """Another filter was chosen."""
    compared = Signal(str)
    """Another way to show mask and proposal was chosen."""
    audited = Signal()
    """The user wants the audit."""
    seen = Signal(bool)
    """Whether the panel can be seen: not in a hidden dock, or in one behind another."""
    closed = Signal()
    """The user wants another dataset."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.buttons: dict[str, QPushButton] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        column.addLayout(self._make_head())
        column.addLayout(self._make_filters())
        self.table = QueueTable()
        self.table.setMinimumHeight(90)
        self.table.valueChanged.connect(self.chosen)
        column.addWidget(self.table, 1)
        column.addWidget(self._make_sample())
        column.addLayout(self._make_tools())
        column.addLayout(self._make_decisions())
        self._column = column

    def place_below_head(self, part: QWidget) -> None:
        """Take another part in, below the head."""
        self._column.insertWidget(1, part)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Tell that the panel is seen."""
        super().showEvent(event)
        if event is not None and not event.spontaneous():
            self.seen.emit(True)

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Tell that the panel is hidden; a window that is made small or covered hides nothing."""
        super().hideEvent(event)
        if event is not None and not event.spontaneous():
            self.seen.emit(False)

    def filter(self) -> Filter:
        """Return which samples the user wants to see."""
        return Filter(self.state.currentData() or ANY, self.finding.currentData() or ANY)

    def show_codes(self, codes: dict[str, int]) -> None:
        """Offer these codes, with their numbers of samples, in the filter of findings."""
        chosen = self.finding.currentData() or ANY
        self.finding.blockSignals(True)
        self.finding.clear()
        self.finding.addItem("Any finding" if codes else "Not audited", ANY)
        for code, count in codes.items():
            self.finding.addItem(f"{code} ({count})", code)
        self.finding.setCurrentIndex(max(0, self.finding.findData(chosen)))
        self.finding.setEnabled(bool(codes))
        self.finding.blockSignals(False)

    _sample = ""
    """Name of the current sample."""

    def show_sample(self, name: str, state: str, findings: str, offer: str) -> None:
        """Show the current sample in words; `offer`: what the proposal does, empty where there is none."""
        self._sample = name
        self.name.setText(name)
        self.name.setToolTip(plain_tip(name))
        self.about.setText(state)
        self.findings.setText(findings)
        self.findings.setVisible(bool(findings))
        self.offer.setText(f"Proposal: {offer}" if offer else "No correction is proposed.")
        self.comparison.setEnabled(bool(offer))

    def show_count(self, before: int, now: int) -> None:
        """Show how many beads the mask of the current sample has, and had before it was changed."""
        changed = "" if now == before else f" ({before:,} before)"
        self.name.setText(f"{self._sample}: {plural(now, 'bead')}{changed}")

    def show_way(self, way: Comparison) -> None:
        """Show which of mask and proposal is seen."""
        self.comparison.setCurrentText(str(way))

    def show_tool(self, name: str) -> None:
        """Show which tool is on; none where `name` is empty."""
        for tool in ("beads", "ignore"):
            self.buttons[tool].setChecked(tool == name)

    def _make_head(self) -> QVBoxLayout:
        self.dataset = QLabel()
        self.dataset.setTextFormat(Qt.TextFormat.PlainText)
        self.dataset.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.audit = QPushButton("Audit")
        self.audit.setToolTip("Look for wrong annotations in the whole dataset, and propose corrections")
        self.other = QPushButton("Other…")
        self.other.setToolTip("Open another dataset; nothing is lost")
        self.audit.clicked.connect(self.audited)
        self.other.clicked.connect(self.closed)
        row = QHBoxLayout()
        row.addWidget(self.dataset, 1)
        row.addWidget(self.audit)
        row.addWidget(self.other)
        row.addWidget(HelpButton("Review in five minutes"))
        self.progress = QProgressBar()
        self.progress.setToolTip("Samples that are accepted, rejected or corrected")
        column = QVBoxLayout()
        column.addLayout(row)
        column.addWidget(self.progress)
        return column

    def _make_filters(self) -> QHBoxLayout:
        self.state, self.finding = QComboBox(), QComboBox()
        self.state.addItem("Any state", ANY)
        for state in STATES:
            self.state.addItem(state, state)
        self.state.setToolTip("Show samples in this state only")
        self.finding.setToolTip("Show samples with this finding only")
        row = QHBoxLayout()
        for box in (self.state, self.finding):
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setMinimumContentsLength(10)
            box.currentIndexChanged.connect(self.filtered)
            box.activated.connect(lambda _, box=box: box.clearFocus())  # so that keys are the review's again
            row.addWidget(box, 1)
        return row

    def _make_sample(self) -> QWidget:
        frame = QWidget()
        frame.setObjectName("beadsegSample")
        frame.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        frame.setStyleSheet(framed("info", "beadsegSample"))
        self.name, self.about, self.findings, self.offer = QLabel(), QLabel(), QLabel(), QLabel()
        bold = self.name.font()
        bold.setBold(True)
        self.name.setFont(bold)
        column = QVBoxLayout(frame)
        column.setContentsMargins(8, 5, 6, 5)
        column.setSpacing(3)
        for label in (self.name, self.about, self.findings, self.offer):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(label is not self.name)
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
            column.addWidget(label)
        self.comparison = QComboBox()
        self.comparison.addItems([str(way) for way in Comparison])
        self.comparison.setToolTip(ACTION["compare"].tooltip)
        self.comparison.activated.connect(lambda _: self.comparison.clearFocus())
        self.comparison.activated.connect(lambda index: self.compared.emit(self.comparison.itemText(index)))
        row = QHBoxLayout()
        row.addWidget(QLabel(f"Show ({ACTION['compare'].key})"))
        row.addWidget(self.comparison, 1)
        column.addLayout(row)
        return frame

    def _make_tools(self) -> QHBoxLayout:
        row = QHBoxLayout()
        for name in _TOOLS:
            row.addWidget(self._button(name), 1)
        for name in ("beads", "ignore", "outline"):
            self.buttons[name].setCheckable(True)
        return row

    def _make_decisions(self) -> QVBoxLayout:
        self.comment = QLineEdit()
        self.comment.setPlaceholderText(f"Comment ({ACTION['comment'].key}), kept with the decision")
        self.comment.setToolTip(ACTION["comment"].tooltip)
        self.comment.returnPressed.connect(self.comment.clearFocus)
        grid = QGridLayout()
        grid.setSpacing(4)
        for column, name in enumerate(_DECISIONS[0]):
            grid.addWidget(self._button(name), 0, 4 * column, 1, 4)
        for column, name in enumerate((*_DECISIONS[1], *_DECISIONS[2])):
            grid.addWidget(self._button(name), 1, 3 * column, 1, 3)
        whole = QVBoxLayout()
        whole.setSpacing(5)
        whole.addWidget(self.comment)
        whole.addLayout(grid)
        return whole

    def _button(self, name: str) -> QPushButton:
        button = QPushButton(ACTION[name].label)
        button.setToolTip(ACTION[name].tooltip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # a click leaves the keys to the image
        button.clicked.connect(lambda: self.acted.emit(name))
        self.buttons[name] = button
        return button


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
