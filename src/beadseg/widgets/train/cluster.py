"""Send a training to the cluster: choose its profile, see the job, send it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from beadseg.runtime.process import Process
from beadseg.widgets.common import MessageArea, guarded, settings
from beadseg.widgets.common.background import Monitor
from beadseg.widgets.common.settings import FolderField
from beadseg.widgets.train.command import TrainCommand, typed

if TYPE_CHECKING:
    from beadseg.events import Event
    from beadseg.runtime.process import Outcome

_HELP = "One YAML file describes the cluster: queue, cores, time, how beadseg is started."


class ClusterDialog(QDialog):
    """Shows the job script of an order, and sends it.

    Parameters
    ----------
    order : Order
        What is to be trained there.
    """

    sent = Signal(str)
    """The job was queued: what to tell the user."""

    def __init__(self, order: TrainCommand, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Send to the cluster")
        self.resize(720, 520)
        self._order = order
        self._script = ""
        self._told = ""
        self.messages = MessageArea()
        self.profile = FolderField("the profile of the cluster, a YAML file", _HELP, "YAML (*.yaml *.yml)")
        self.script = QPlainTextEdit()
        self.script.setReadOnly(True)
        self.script.setPlaceholderText("The job script is shown here before anything is sent.")
        self.send = QPushButton("Send")
        self.send.setEnabled(False)
        self._arrange()
        self._folder = tempfile.TemporaryDirectory(prefix="beadseg-submit-")
        self._watcher = Monitor(self)
        self._watcher.happened.connect(self._hear)
        self._watcher.ended.connect(self._end)
        self.profile.valueChanged.connect(self.preview)
        self.send.clicked.connect(self._send)
        self.finished.connect(self._close)
        known = settings.profile()
        if known is not None:
            self.profile.setValue(known)
            self.preview()

    def _arrange(self) -> None:
        note = QLabel(
            "The training runs there with the same arguments. "
            "You can follow it here if this computer can see the run folder."
        )
        note.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.addButton(self.send, QDialogButtonBox.ButtonRole.ActionRole)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(note)
        column.addWidget(self.profile)
        column.addWidget(self.messages)
        column.addWidget(self.script, 1)
        column.addWidget(buttons)

    @guarded
    def preview(self) -> None:
        """Show the job script that would be sent."""
        self.send.setEnabled(False)
        self._run("--dry-run")

    @guarded
    def _send(self) -> None:
        self.send.setEnabled(False)
        self._run()

    def _run(self, *more: str) -> None:
        profile = self.profile.value()
        if self._watcher.running or profile is None:
            return
        self.messages.clear()
        self._script, self._told = "", ""
        words = self._order.submission(profile)
        output = Path(self._folder.name) / "submit.jsonl"
        self._watcher.watch(Process.start([*words, *more, "--json"], output, outlives=True))

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            if event.kind == "result":
                self._script = str(event.data.get("script", "")) if "job" not in event.data else ""
                self._told = event.message

    def _end(self, outcome: Outcome) -> None:
        if outcome.message:
            self.messages.show_text(outcome.message, "error")
        elif self._told:
            self.sent.emit(self._told)
            self.accept()
        elif (profile := self.profile.value()) is not None:
            settings.remember_profile(profile)
            command = typed(self._order.submission(profile))
            self.script.setPlainText(f"# {command}\n\n{self._script}")
            self.send.setEnabled(True)

    def _close(self) -> None:
        self._watcher.kill()
        self._folder.cleanup()
