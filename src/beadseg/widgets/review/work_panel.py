"""The controls while a dataset is open: filters and queue, the sample in hand, and the buttons with their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from beadseg.annotation.review.step import STATES
from beadseg.widgets.common.colours import framed
from beadseg.widgets.common.message import plain_tip
from beadseg.widgets.review.actions import ACTION
from beadseg.widgets.review.queue import ANY, Filter
from beadseg.widgets.review.queue_table import QueueTable
from beadseg.widgets.review.stage import Comparison

if TYPE_CHECKING:
    from qtpy.QtGui import QHideEvent, QShowEvent

_DECISIONS = (("accept", "reject", "correct"), ("skip", "back"), ("undo", "redo"))
_TOOLS = ("beads", "ignore", "outline", "place")


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

    def show_sample(self, name: str, state: str, findings: str, offer: str) -> None:
        """Show the sample in hand in words; `offer`: what the proposal does, empty where there is none."""
        self.name.setText(name)
        self.name.setToolTip(plain_tip(name))
        self.about.setText(state)
        self.findings.setText(findings)
        self.findings.setVisible(bool(findings))
        self.offer.setText(f"Proposal: {offer}" if offer else "No correction is proposed.")
        self.comparison.setEnabled(bool(offer))

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
