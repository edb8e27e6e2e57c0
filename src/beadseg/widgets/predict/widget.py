"""Predict: beads of an image or of a whole folder, by a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QFormLayout, QLabel, QTabWidget, QVBoxLayout

from beadseg.config import GENERAL
from beadseg.errors import RunError
from beadseg.predict.model_file import general_file, named_model
from beadseg.widgets.common import MessageArea, guarded
from beadseg.widgets.layers.events import PluginWidget, scrolling
from beadseg.widgets.predict.folder_panel import FolderPanel
from beadseg.widgets.predict.image_panel import ImagePanel
from beadseg.widgets.predict.run_info import run_info
from beadseg.widgets.settings import PluginSettings
from beadseg.widgets.train.folder_line import FolderLine

if TYPE_CHECKING:
    import napari

SIZE_PX = (400, 700)
"""Width and height that the widget asks for; it can be made narrower and wider."""


class PredictWidget(PluginWidget):
    """Predicts with a run.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.messages = MessageArea()
        self.run = FolderLine(
            "general, or a run folder", "The general model, or the folder of a model that you trained"
        )
        self.about = QLabel()
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.about.setWordWrap(True)
        self.image = ImagePanel(napari_viewer, self._run, self.messages)
        self.folder = FolderPanel(napari_viewer, self._run, self._chosen, self.messages)
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolling(self.image), "Image")
        self.tabs.addTab(scrolling(self.folder), "Folder")
        form = QFormLayout()
        form.setContentsMargins(4, 4, 4, 0)
        form.addRow("Run", self.run)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(form)
        layout.addWidget(self.about)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.messages)
        self.run.valueChanged.connect(self._look)
        self.about.setVisible(False)
        first = PluginSettings.read().run or (GENERAL if general_file().is_file() else "")
        if first:
            self.run.choose(Path(first))

    def sizeHint(self) -> QSize:
        """Leave the larger part of a small screen to the image."""
        return QSize(*SIZE_PX)

    def end(self) -> None:
        """Cancel what goes on; labels and centres stay in the viewer."""
        self.folder.background.cancel()
        self.image.keep.background.cancel()
        self.image.end()

    def _run(self) -> Path:
        """Return where the model lies; raises `RunError` where there is none."""
        run = self._model()
        if run is None:
            raise RunError(
                "No model was chosen.", remedy=f"Give {GENERAL} or the folder of a trained model at the top."
            )
        run_info(run)
        return run

    def _model(self) -> Path | None:
        """Return where the model that is named at the top lies: the general one, or a run; None while nothing is."""
        run = self.run.value()
        return run if run is None else named_model(self.run.line.text().strip()) if run == Path(GENERAL) else run

    @guarded
    def _look(self) -> None:
        """Say what the run is, as soon as it is named."""
        self.about.setVisible(False)
        run = self._model()
        if run is not None:
            self.about.setText(run_info(run))
            self.about.setVisible(True)
            self.messages.clear()

    def _chosen(self) -> list[str]:
        """Return the options of `beadseg-batch predict` that say what the sliders say."""
        objects = self.image.sliders.value()
        if self.image.live.session is None:
            return []
        fields = {
            "threshold": objects.threshold,
            "min_area": "null" if objects.min_area is None else objects.min_area,
            "min_confidence": objects.min_confidence,
            "separate": str(objects.separate).lower(),
            "seeds.distance": objects.seeds.distance,
        }
        return [word for name, value in fields.items() for word in ("--set", f"objects.{name}={value}")]
