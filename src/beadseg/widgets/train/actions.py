"""The buttons below the tabs, and when each can be pressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QGridLayout, QPushButton, QWidget

if TYPE_CHECKING:
    from beadseg.widgets.train.session import Status

_KEEP_HELP = (
    "A training is a process of its own. Ticked: it goes on when napari or this widget is closed, and the widget finds "
    "it again. Not ticked: it is stopped then; its checkpoints are kept, and it can be continued."
)
_STOP_HELP = "Stop after the step in hand and write a checkpoint: the training can be continued exactly there."
_END_HELP = "Do not wait for the step in hand: the training can be continued from its last checkpoint."


class Actions(QWidget):
    """Start or continue, stop, new run, copy the command, submit."""

    def __init__(self) -> None:
        super().__init__()
        self.start = QPushButton("Start training")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip(_STOP_HELP)
        self.new = QPushButton("New run")
        self.new.setToolTip("Set up another training, in a new folder. A training that goes on is not stopped.")
        self.copy = QPushButton("Copy command")
        self.copy.setToolTip("Copy the command that does exactly this, for a terminal or a job script.")
        self.submit = QPushButton("To the cluster…")
        self.submit.setToolTip("Send this training to a PBS cluster: shows the job script first.")
        self.keep = QCheckBox("Training goes on when napari is closed")
        self.keep.setToolTip(_KEEP_HELP)
        self.keep.setChecked(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.start, 0, 0, 1, 2)
        grid.addWidget(self.stop, 0, 2)
        for column, button in enumerate((self.new, self.copy, self.submit)):
            grid.addWidget(button, 1, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.keep, 2, 0, 1, 3)

    def show_status(self, status: Status, ready: bool) -> None:
        """Offer what can be done now; `ready`: a dataset is chosen."""
        self.start.setText("Continue training" if status == "unfinished" else "Start training")
        self.start.setEnabled((status == "new" and ready) or status == "unfinished")
        self.start.setToolTip(_START_HELP[status])
        self.stop.setEnabled(status in ("running", "stopping"))
        self.stop.setText("End at once" if status == "stopping" else "Stop")
        self.stop.setToolTip(_END_HELP if status == "stopping" else _STOP_HELP)
        self.new.setEnabled(ready or status != "none")
        for button in (self.copy, self.submit):
            button.setEnabled(ready or status in ("unfinished", "finished"))


_START_HELP: dict[Status, str] = {
    "none": "Choose a dataset first.",
    "new": "Train with these settings, in a process of its own; napari stays free.",
    "unfinished": "Go on after the last checkpoint, with the settings of this run.",
    "finished": "This run is finished. Press New run to train again.",
    "running": "This run is being trained.",
    "stopping": "This run is being stopped.",
    "elsewhere": "Another program trains this run.",
}
