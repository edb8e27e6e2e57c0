"""What the user set in napari's preferences, the folders used last, and the field in which a folder is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSettings, QStandardPaths, Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QWidget

from beadseg.files import user_path

if TYPE_CHECKING:
    from qtpy.QtGui import QDragEnterEvent, QDropEvent

PLUGIN = "beadseg"

_RUN, _DATASET, _PROFILE, _MODEL = "train/run", "train/dataset", "train/profile", "teach/model"
_RECENT = "predict/models"
MOST_RECENT = 6
"""So many models are kept."""


@dataclass(frozen=True)
class PluginSettings:
    """The plugin's settings, as `napari.yaml` declares them.

    Attributes
    ----------
    device : str
        Where networks compute: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    threads : int or None
        CPU threads of a prediction or training; None takes what the machine grants.
    run : str
        Run folder that the Count widget begins with; empty for the last one.
    """

    device: str = "auto"
    threads: int | None = None
    run: str = ""

    @classmethod
    def read(cls) -> PluginSettings:
        """Return what is set now."""
        from napari.settings import get_plugin_settings

        stored: Any = get_plugin_settings(PLUGIN)
        computing, predicting = stored.computing, stored.predict
        return cls(str(computing.device), int(computing.threads) or None, str(predicting.run))

    def options(self) -> list[str]:
        """Return the options of `beadseg-batch train` and `predict` that say the same."""
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return ["--device", self.device, *threads]

    def changed(self) -> tuple[str, ...]:
        """Return those of `options` that are not the command's own."""
        device = [] if self.device == PluginSettings.device else ["--device", self.device]
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return (*device, *threads)


def remember(run: Path, dataset: Path | None) -> None:
    """Keep what a training was started with."""
    settings = _settings()
    settings.setValue(_RUN, str(run))
    if dataset is not None:
        settings.setValue(_DATASET, str(dataset))


def last() -> tuple[Path | None, Path | None]:
    """Return the last run folder and dataset, None where there is none or it is gone."""
    return _there(_RUN), _there(_DATASET)


def remember_model(run: Path) -> None:
    """Keep the model that a person took for the next images."""
    _settings().setValue(_MODEL, str(run.absolute()))


def model() -> Path | None:
    """Return the model that a person took last, None where there is none or it is gone."""
    return _there(_MODEL)


def remember_speed(network: str, seconds: float) -> None:
    """Keep how long training takes on this computer: seconds per pixel that a kind of network sees."""
    _settings().setValue(f"train/speed/{network}", float(seconds))


def speed(network: str) -> float | None:
    """Return what `remember_speed` kept; None before the first training."""
    try:
        found = float(_settings().value(f"train/speed/{network}", "nan"))
    except (TypeError, ValueError):
        return None
    return found if 0 < found < float("inf") else None


def remember_counted_with(run: Path) -> None:
    """Keep a model that images were counted with, as the latest one."""
    runs = dict.fromkeys([str(run.absolute()), *map(str, recent_models())])
    _settings().setValue(_RECENT, list(runs)[:MOST_RECENT])


def recent_models() -> list[Path]:
    """Return the models that images were counted with, the latest first, without those that are gone."""
    stored = _settings().value(_RECENT)
    texts = [stored] if isinstance(stored, str) else stored or []
    return [path for path in map(Path, texts) if path.exists()]


def remember_profile(path: Path) -> None:
    """Keep the cluster's profile."""
    _settings().setValue(_PROFILE, str(path.absolute()))


def profile() -> Path | None:
    """Return the cluster's profile, None where there is none or it is gone."""
    return _there(_PROFILE)


def unsaved_corrections() -> Path:
    """Return the folder of this user in which corrections wait that were not saved yet."""
    kind = QStandardPaths.StandardLocation.GenericDataLocation
    return Path(QStandardPaths.writableLocation(kind)) / "beadseg" / "corrections"


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "beadseg", "viewer")


def _there(key: str) -> Path | None:
    text = _settings().value(key)
    path = Path(text) if isinstance(text, str) and text else None
    return path if path is not None and path.exists() else None


class FolderField(QWidget):
    """A line with the path of a folder, or of a file, and a button that lets a person look for it.

    Parameters
    ----------
    hint : str
        Shown while the line is empty.
    help : str
        The tooltip.
    files : str, optional
        Which files can be chosen, as ``"YAML (*.yaml *.yml)"``; a folder when not given.
    """

    valueChanged = Signal()
    """A person gave another folder."""

    def __init__(self, hint: str, help: str, files: str = "") -> None:
        super().__init__()
        self._files = files
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
        before = str(self.value() or Path.cwd())
        if self._files:
            chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file", before, self._files)
        else:
            chosen = QFileDialog.getExistingDirectory(self, "Choose a folder", before)
        if chosen:
            self.choose(Path(chosen))


def _paths(event: QDropEvent) -> list[Path]:
    data = event.mimeData()
    return [] if data is None else [Path(url.toLocalFile()) for url in data.urls()]
