"""Two ways to keep a result: a prediction folder, or a draft in a dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from beadseg.errors import InputError
from beadseg.widgets.common import Background, ProgressRow, guarded
from beadseg.widgets.train.folder_line import FolderLine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.live import LiveSession
    from beadseg.widgets.predict.region import Region


class KeepRow(QWidget):
    """Saves what is chosen now, from a thread."""

    def __init__(
        self, live: Callable[[], LiveSession], region: Callable[[], Region | None], messages: MessageArea
    ) -> None:
        super().__init__()
        self._live, self._region, self.messages = live, region, messages
        self.background = Background("saving", self)
        self.folder = FolderLine(
            "Folder", "Folder of results, or of a dataset to add a draft to; it is made where it does not exist"
        )
        self.save = QPushButton("Save results")
        self.save.setToolTip("Write masks, labels, bead table and counts; also the counts in a region")
        self.draft = QPushButton("Add to dataset as draft")
        self.draft.setToolTip("Add image and labels to a dataset; nothing trains on them before a person accepted them")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.addWidget(self.folder, 0, 0, 1, 2)
        grid.addWidget(self.save, 1, 0)
        grid.addWidget(self.draft, 1, 1)
        grid.addWidget(ProgressRow(self.background), 2, 0, 1, 2)
        self.save.clicked.connect(self._save)
        self.draft.clicked.connect(self._draft)
        self.background.started.connect(lambda: self._enable(False))
        self.background.returned.connect(lambda text: messages.tell(text, "good"))
        self.background.failed.connect(messages.show_error)
        self.background.ended.connect(lambda: self._enable(True))

    def _enable(self, on: bool) -> None:
        self.save.setEnabled(on)
        self.draft.setEnabled(on)

    @guarded
    def _save(self) -> None:
        from beadseg.widgets.predict.keeping import save

        region = self._region()
        self._start(lambda session, objects, out, on_event, stop: save(session, objects, out, region, on_event, stop))

    @guarded
    def _draft(self) -> None:
        from beadseg.widgets.predict.keeping import draft

        self._start(draft)

    def _start(self, keep: Callable[..., str]) -> None:
        folder: Path | None = self.folder.value()
        session = self._live().session
        if folder is None:
            raise InputError("No folder was given.", remedy="Type or choose one above the buttons.")
        if session is None:
            raise InputError("Nothing was predicted yet.", remedy="Press Predict first.")
        objects = session.objects
        self.messages.clear()
        self.background.start(lambda on_event, stop: keep(session, objects, folder, on_event, stop))
