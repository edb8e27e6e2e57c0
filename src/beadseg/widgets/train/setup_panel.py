"""What to train on, with which preset and network, and where to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget

from beadseg.config import PRESETS, TrainConfig
from beadseg.errors import InputError
from beadseg.widgets.common.settings import FolderField, PluginSettings
from beadseg.widgets.train.command import SAMPLES, TrainCommand, free_folder

if TYPE_CHECKING:
    from pathlib import Path

_SAMPLES = dict(zip(SAMPLES, ("all but rejected", "accepted only", "all"), strict=True))
_PRESET_HELP = (
    "dense: beadseg's own, for small touching beads. microbeads, mitochondria: the laboratory's tables, exactly. "
    "Every value can be changed under Settings."
)


class SetupPanel(QWidget):
    """Dataset, preset, network and run folder."""

    datasetChanged = Signal()
    """Another dataset, or other samples of it."""
    presetChanged = Signal()
    """Another preset or network: the settings start from it."""
    runChanged = Signal()
    """Another run folder."""

    def __init__(self) -> None:
        super().__init__()
        self.dataset = FolderField(
            "folder with images/ and masks/", "The annotated images: a folder with images/ and masks/ or labels/."
        )
        self.samples = QComboBox()
        for key, words in _SAMPLES.items():
            self.samples.addItem(words, key)
        self.samples.setToolTip("Which samples of a reviewed dataset are trained on.")
        self.preset = QComboBox()
        self.preset.addItems(list(PRESETS))
        self.preset.setToolTip(_PRESET_HELP)
        self.network = QComboBox()
        self.network.setToolTip(
            "half-unet starts from the general model, so that a handful of images and a minute suffice. The others "
            "start from nothing."
        )
        self._offer_networks()
        self.run = FolderField(
            "a new folder, or a run to look at",
            "Where the run is written. Choose a run that is there to look at it, to follow a training that goes on "
            "elsewhere, or to continue it.",
        )
        self.refit = QCheckBox("Then retrain on all samples")
        self.refit.setToolTip(
            "Repeat the training on training and validation samples together; prediction then takes that model."
        )
        self.practise = QPushButton("Try it on simulated images")
        self.practise.setToolTip("Make a small dataset of simulated beads, and choose it")
        self._proposed: Path | None = None
        self._arrange()
        self.dataset.valueChanged.connect(self.datasetChanged)
        self.samples.activated.connect(self.datasetChanged)
        self.preset.currentIndexChanged.connect(self._offer_networks)
        self.preset.activated.connect(self.presetChanged)
        self.network.activated.connect(self.presetChanged)
        self.run.valueChanged.connect(self.runChanged)

    def _arrange(self) -> None:
        layout = QFormLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        choice = QWidget()
        row = QHBoxLayout(choice)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.preset, 1)
        row.addWidget(self.network, 1)
        for label, widget in (("Dataset", self.dataset), ("Samples", self.samples), ("Preset, network", choice),
                              ("Run folder", self.run), ("", self.refit)):  # fmt: skip
            layout.addRow(label, widget)
        layout.addRow(self.practise)

    def base(self) -> TrainConfig:
        """Return the preset chosen."""
        return TrainConfig.preset(self.preset.currentText(), self.network.currentText())

    def _offer_networks(self) -> None:
        """List the networks of the preset, its default first; keep a chosen one that was not the default before."""
        chosen = self.network.currentText() if self.network.currentIndex() > 0 else ""
        self.network.clear()
        self.network.addItems(list(TrainConfig.networks(self.preset.currentText())))
        self.network.setCurrentText(chosen)

    def show_config(self, config: TrainConfig) -> None:
        """Show the preset and network of a configuration."""
        self.preset.setCurrentText(config.based_on)
        self.network.setCurrentText(config.network.kind)

    def propose(self, again: bool = False) -> bool:
        """Give the run a free folder beside the dataset, unless a person chose one; return whether it changed."""
        dataset, chosen = self.dataset.value(), self.run.value()
        if dataset is None or (chosen not in (None, self._proposed) and not again):
            return False
        self._proposed = free_folder(dataset, self.base())
        self.run.setValue(self._proposed)
        return bool(self._proposed != chosen)

    def order(self, config: TrainConfig | None) -> TrainCommand:
        """Return what is to be trained; raises `InputError` while something is missing."""
        dataset, run = self.dataset.value(), self.run.value()
        if dataset is None:
            raise InputError("No dataset is chosen.", remedy="Choose a folder with images/ and masks/ or labels/.")
        if run is None:
            raise InputError("No run folder is chosen.", remedy="Choose a folder for the run.")
        samples, refit = self.samples.currentData(), self.refit.isChecked()
        return TrainCommand(dataset.absolute(), run.absolute(), config, samples, refit, PluginSettings.read().changed())

    def setEditable(self, editable: bool) -> None:
        """Let preset, network and refit be changed, or not: those of a run that was begun stay."""
        for part in (self.preset, self.network, self.samples, self.refit):
            part.setEnabled(editable)
