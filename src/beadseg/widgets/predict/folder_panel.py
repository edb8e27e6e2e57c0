"""Predict every image of a folder with the batch engine, and open the results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Layer
from qtpy.QtWidgets import QCheckBox, QFormLayout, QLabel, QPlainTextEdit, QPushButton, QVBoxLayout, QWidget

from beadseg.errors import InputError
from beadseg.widgets.common import Background, ProgressRow, guarded, in_window, temporary_folder
from beadseg.widgets.predict.command import run_command
from beadseg.widgets.settings import PluginSettings
from beadseg.widgets.train.folder_line import FolderLine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from beadseg.events import Event, OnEvent, StopFlag
    from beadseg.widgets.common import MessageArea

EMPTY = "Counts every image of a folder, and writes masks, tables and a report."
MOST_LINES = 2000
"""Shown of a long batch; all are in counts.csv."""


class FolderPanel(QWidget):
    """Runs `beadseg-batch predict` on a folder.

    Parameters
    ----------
    viewer : napari.Viewer
        Where results are opened.
    run : callable
        Returns the run folder; raises where there is none.
    chosen : callable
        Returns the ``--set`` options of what the sliders say.
    messages : MessageArea
        Where errors and news are told.
    """

    def __init__(
        self, viewer: napari.Viewer, run: Callable[[], Path], chosen: Callable[[], list[str]], messages: MessageArea
    ) -> None:
        super().__init__()
        self._viewer, self._run, self._chosen, self.messages = viewer, run, chosen, messages
        self._done: Path | None = None
        self.background = Background("predicting", self)
        self.images = FolderLine("Folder of images", "Every image in it is predicted: PNG, JPEG, BMP, TIFF, OME-Zarr")
        self.out = FolderLine("Folder of results", "Masks, labels, overlays, tables and counts are written here")
        self.sliders = QCheckBox("Use the slider settings")
        self.sliders.setToolTip("Use threshold, separation, size and confidence as set for the image, not as trained")
        self.again = QCheckBox("again what was predicted before")
        self.again.setToolTip("Otherwise images with results of the same file, model and options are skipped")
        self.predict = QPushButton("Predict folder")
        self.predict.setToolTip("Count all images of the folder")
        self.open = QPushButton("Open results")
        self.open.setToolTip("Show images, labels and centres of the results as layers")
        self.lines = QPlainTextEdit()
        self.lines.setReadOnly(True)
        self.lines.setMaximumBlockCount(MOST_LINES)
        self.lines.setToolTip("What became of every image")
        self._build()
        self._show_state()

    def _build(self) -> None:
        hint = QLabel(EMPTY)
        hint.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Images", self.images)
        form.addRow("Results", self.out)
        form.addRow(self.sliders)
        form.addRow(self.again)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(hint)
        layout.addLayout(form)
        for widget in (self.predict, ProgressRow(self.background)):
            layout.addWidget(widget)
        layout.addWidget(self.lines, 1)
        layout.addWidget(self.open)
        self.predict.clicked.connect(self._predict)
        self.open.clicked.connect(self._open)
        self.background.happened.connect(self._note)
        self.background.returned.connect(self._tell)
        self.background.failed.connect(self.messages.show_error)
        for signal in (self.background.started, self.background.ended):
            signal.connect(self._show_state)

    def _show_state(self) -> None:
        self.predict.setEnabled(not self.background.running)
        self.open.setEnabled(self._done is not None and not self.background.running)

    @guarded
    def _predict(self) -> None:
        images, out = self.images.value(), self.out.value()
        if images is None or out is None:
            raise InputError("Two folders are needed.", remedy="Give the folder of the images and one for the results.")
        if not images.exists():
            raise InputError("No such folder.", images, "Check the path.")
        chosen = self._chosen() if self.sliders.isChecked() else []
        words = ["predict", str(self._run()), str(images), "--out", str(out), *PluginSettings.read().options(), *chosen]
        words += ["--again"] if self.again.isChecked() else []
        self.messages.clear()
        self.lines.clear()
        self._done = out
        self.background.start(lambda on_event, stop: _predicted(words, on_event, stop))

    def _note(self, event: Event) -> None:
        if event.kind in ("count", "failure", "log", "warning", "error") and event.message:
            self.lines.appendPlainText(in_window(event.message))

    @guarded
    def _tell(self, result: Event | None) -> None:
        if result is not None:
            self.messages.tell(result.message.splitlines()[0], "good" if result.level == "info" else "warning")

    @guarded
    def _open(self) -> None:
        from beadseg.widgets.io.read_prediction import read_prediction

        if self._done is None:
            raise InputError("Nothing was predicted yet.", remedy="Press Predict folder first.")
        for layer in read_prediction(self._done):
            self._viewer.add_layer(Layer.create(*layer))


def _predicted(words: Sequence[str], on_event: OnEvent, stop: StopFlag) -> Event | None:
    """Run the command; return its last word."""
    with temporary_folder() as folder:
        events = run_command(words, Path(folder) / "events", on_event, stop)
    return next((event for event in reversed(events) if event.kind == "result"), None)
