"""A folder, typed, dropped or chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from beadseg.files import user_path

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent


class FolderLine(QWidget):
    """A line with a folder's path and a button that lets a person look for it.

    Parameters
    ----------
    hint : str
        Shown while the line is empty.
    help : str
        The tooltip.
    """

    valueChanged = Signal()
    """A person gave another folder."""

    def __init__(self, hint: str, help: str) -> None:
        super().__init__()
        self.line = QLineEdit()
        self.line.setPlaceholderText(hint)
        self.line.setToolTip(help)
        self.browse = QPushButton("Choose…")
        self.browse.setToolTip(f"Look for it. {help}")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.line, 1)
        row.addWidget(self.browse)
        self.setAcceptDrops(True)
        self.line.setAcceptDrops(False)
        self.line.editingFinished.connect(self._edited)
        self.browse.clicked.connect(self._choose)
        self._before = ""

    def value(self) -> Path | None:
        """Return the folder, None while the line is empty."""
        text = self.line.text().strip()
        return user_path(text) if text else None

    def setValue(self, folder: Path | None) -> None:
        """Show a folder."""
        self._before = "" if folder is None else str(folder)
        self.line.setText(self._before)

    def choose(self, folder: Path) -> None:
        """Take a folder as a person would."""
        self.line.setText(str(folder))
        self._edited()

    def dragEnterEvent(self, event: QDragEnterEvent | None) -> None:
        """Take what is one file or folder."""
        if event is not None and len(_paths(event)) == 1:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent | None) -> None:
        """Take the folder that was dropped."""
        if event is not None and (paths := _paths(event)):
            self.choose(paths[0])

    def _edited(self) -> None:
        if self.line.text().strip() != self._before:
            self._before = self.line.text().strip()
            self.valueChanged.emit()

    def _choose(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Choose a folder", str(self.value() or Path.cwd()))
        if chosen:
            self.choose(Path(chosen))


def _paths(event: QDropEvent) -> list[Path]:
    data = event.mimeData()
    return [] if data is None else [Path(url.toLocalFile()) for url in data.urls()]
