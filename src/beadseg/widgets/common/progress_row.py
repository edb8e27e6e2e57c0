"""A bar with a cancel button that follows a `Background`; hidden while nothing goes on, its place kept free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from beadseg.widgets.common.background import Background, share
from beadseg.widgets.common.message import keep_place

if TYPE_CHECKING:
    from beadseg.events import Event


class ProgressRow(QWidget):
    """Progress of one background, and the button that cancels it.

    Parameters
    ----------
    background : Background
        What is followed.
    """

    def __init__(self, background: Background, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(f"Stop {background.name}; what was finished is kept")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel)
        self.cancel.clicked.connect(self._cancel)
        background.started.connect(self._begin)
        background.happened.connect(self._show)
        background.ended.connect(self._end)
        keep_place(self)
        self.setVisible(False)

    def _begin(self) -> None:
        self.bar.setRange(0, 1)  # not 0 to 0: that is animated, and each frame redraws the OpenGL canvas
        self.bar.setValue(0)
        self.bar.setFormat(self._background.name)
        self.cancel.setEnabled(True)
        self.setVisible(True)

    def _show(self, event: Event) -> None:
        found = share(event)
        if found is None:
            return
        task, done, total = found
        self.bar.setRange(0, max(1, total))
        self.bar.setValue(done)
        self.bar.setFormat(f"{task}: {done} of {total}")

    def _cancel(self) -> None:
        self.cancel.setEnabled(False)
        self.bar.setFormat("stopping")
        self._background.cancel()

    def _end(self) -> None:
        self.setVisible(False)
