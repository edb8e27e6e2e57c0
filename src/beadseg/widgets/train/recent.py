"""The last run folder and dataset, so that a viewer that is opened again finds a training that went on."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSettings

_RUN, _DATASET, _PROFILE = "train/run", "train/dataset", "train/profile"


def remember(run: Path, dataset: Path | None) -> None:
    """Keep what a training was started with."""
    settings = _settings()
    settings.setValue(_RUN, str(run))
    if dataset is not None:
        settings.setValue(_DATASET, str(dataset))


def last() -> tuple[Path | None, Path | None]:
    """Return the last run folder and dataset, None where there is none or it is gone."""
    return _there(_RUN), _there(_DATASET)


def remember_profile(path: Path) -> None:
    """Keep the cluster's profile."""
    _settings().setValue(_PROFILE, str(path.absolute()))


def profile() -> Path | None:
    """Return the cluster's profile, None where there is none or it is gone."""
    return _there(_PROFILE)


def _settings() -> QSettings:
    return QSettings(QSettings.Format.IniFormat, QSettings.Scope.UserScope, "beadseg", "viewer")


def _there(key: str) -> Path | None:
    text = _settings().value(key)
    path = Path(text) if isinstance(text, str) and text else None
    return path if path is not None and path.exists() else None
