"""Save what was counted and corrected, or add it to a dataset, from a thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from beadseg.data.documents import refuse_output
from beadseg.errors import BeadsegError, InputError
from beadseg.widgets.common import Background, ProgressRow, guarded
from beadseg.widgets.common.settings import FolderField

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.layers import Layer

    from beadseg.events import OnEvent, StopFlag
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.controller import LiveSession
    from beadseg.widgets.predict.result_tables import Region

HINT = "Folder of results, or of a dataset to add a draft to; it is made where it does not exist"


class KeepRow(QWidget):
    """Saves what is chosen now.

    Parameters
    ----------
    live : callable
        Returns what is shown of the chosen layer.
    region : callable
        Returns the shapes that are counted in; None for the whole image.
    messages : MessageArea
        Where errors and news are shown.
    lives : callable
        Returns everything that was counted and is still in the viewer.
    model : callable
        Returns where the model lies; raises where there is none.
    """

    saved = Signal()
    """Results were written."""

    def __init__(
        self,
        live: Callable[[], LiveSession],
        region: Callable[[], Region | None],
        messages: MessageArea,
        lives: Callable[[], Sequence[LiveSession]],
        model: Callable[[], Path],
    ) -> None:
        super().__init__()
        self._live, self._region, self.messages, self._lives, self._model = live, region, messages, lives, model
        self._proposed: Path | None = None
        self.background = Background("saving", self)
        self.folder = FolderField("Folder", HINT)
        self.save = QPushButton("Save results")
        self.save.setToolTip("Write masks, labels, tables, counts and report of every image that was counted")
        self.draft = QPushButton("Add to dataset as draft")
        self.draft.setToolTip("Add image and labels to a dataset; nothing trains on them before a person accepted them")
        column, buttons = QVBoxLayout(self), QWidget()
        row = QHBoxLayout(buttons)
        row.addWidget(self.save)
        row.addWidget(self.draft)
        for part in (self.folder, buttons, ProgressRow(self.background, instead=buttons)):
            column.addWidget(part)
        for layout in (column, row):
            layout.setContentsMargins(0, 0, 0, 0)
            layout.setSpacing(4)
        self.save.clicked.connect(self._save)
        self.draft.clicked.connect(self._draft)
        self.background.started.connect(lambda: self._enable(False))
        self.background.returned.connect(lambda text: messages.show_text(text, "good"))
        self.background.returned.connect(lambda text: self.saved.emit())
        self.background.failed.connect(messages.show_error)
        self.background.ended.connect(lambda: self._enable(True))

    def propose(self, layer: Layer | None) -> None:
        """Offer a folder beside the file of a layer, while none is given."""
        source = None if layer is None else layer.source.path
        self._proposed = None
        if source:
            try:
                path = Path(str(source))
                folder = path.parent / f"beadseg-{self._model().stem}"
                refuse_output(folder, [path])
                self._proposed = folder
            except (BeadsegError, OSError):
                pass
        self.folder.line.setPlaceholderText("Folder" if self._proposed is None else str(self._proposed))

    def _enable(self, on: bool) -> None:
        for button in (self.save, self.draft):
            button.setEnabled(on)

    @guarded
    def _save(self) -> None:
        region, live = self._region(), self._live()
        lives = [live, *(other for other in self._lives() if other is not live)]
        chosen = [
            (each.session, each.session.objects, region if each is live else None)
            for each in lives
            if each.session is not None
        ]
        if not chosen:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        out = self.folder.value() or self._proposed
        if out is None:
            raise InputError("No folder was given.", remedy="Type or choose one above the buttons.")
        folder = out
        self.messages.clear()

        def work(on_event: OnEvent, stop: StopFlag) -> str:
            from beadseg.widgets.predict.export import save  # what it stands on takes seconds to load

            return save(chosen, folder, on_event, stop)

        self.background.start(work)

    @guarded
    def _draft(self) -> None:
        folder, session = self.folder.value(), self._live().session
        if folder is None:
            raise InputError("No folder was given.", remedy="Type or choose one above the buttons.")
        if session is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        dataset, shown, objects = folder, session, session.objects

        def work(on_event: OnEvent, stop: StopFlag) -> str:
            from beadseg.widgets.predict.export import draft

            return draft(shown, objects, dataset, on_event, stop)

        self.messages.clear()
        self.background.start(work)
