"""What is seen before a dataset is open: what to do first, and the fields to do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from beadseg.annotation.review import who
from beadseg.files import user_path

if TYPE_CHECKING:
    from pathlib import Path

STEPS = (
    "<b>Decide which annotations are trained on.</b>"
    "<ol style='margin-left: -20px'>"
    "<li>Choose a dataset: a folder with <i>images</i> and <i>masks</i> or <i>labels</i>.</li>"
    "<li>Let the audit find what is wrong with the masks; the worst come first.</li>"
    "<li>Accept, reject or correct one after the other, each with a single key.</li></ol>"
    "Originals are never changed, every decision can be undone, and training uses what you accept."
)


class FolderField(QWidget):
    """A path with a button that browses for it.

    Parameters
    ----------
    title : str
        Of the dialog.
    tooltip : str
        Of the field.
    placeholder : str
        Shown while it is empty.
    """

    def __init__(self, title: str, tooltip: str, placeholder: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self.line = QLineEdit()
        self.line.setPlaceholderText(placeholder)
        self.line.setToolTip(tooltip)
        browse = QPushButton("Choose…")
        browse.setToolTip(title)
        browse.clicked.connect(self._browse)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.line, 1)
        row.addWidget(browse)

    def value(self) -> Path | None:
        """Return the path; None while the field is empty."""
        text = self.line.text().strip()
        return user_path(text) if text else None

    def setValue(self, path: Path | None) -> None:
        """Show a path."""
        self.line.setText("" if path is None else str(path))

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self._title, self.line.text())
        if chosen:
            self.line.setText(chosen)


class StartPanel(QWidget):
    """Fields for the dataset, its audit and the name to sign with."""

    opened = Signal()
    """The user wants to open what the fields say."""
    practised = Signal()
    """The user wants a simulated dataset to practise on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        steps = QLabel(STEPS)
        steps.setWordWrap(True)
        self.dataset = FolderField("Choose a dataset folder", "Folder with images/ and masks/ or labels/", "dataset")
        self.audit = FolderField(
            "Choose the folder of an audit",
            "Folder that `beadseg-batch audit` wrote; leave it empty to take the one made here, or to make one later",
            "optional: made by the audit",
        )
        self.by = QLineEdit(who())
        self.by.setToolTip("Name that your decisions are signed with")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Dataset", self.dataset)
        form.addRow("Audit", self.audit)
        form.addRow("Signed by", self.by)
        self.open = QPushButton("Open for review")
        self.open.setToolTip("Open the dataset; what was decided before is still there")
        self.practise = QPushButton("Practise on simulated data")
        self.practise.setToolTip("Make a small dataset with known faults, and open it")
        self.open.clicked.connect(self.opened)
        self.dataset.line.returnPressed.connect(self.opened)
        self.practise.clicked.connect(self.practised)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(steps)
        column.addLayout(form)
        column.addWidget(self.open)
        column.addWidget(self.practise)
        column.addStretch(1)
