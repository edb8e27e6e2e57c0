"""What was measured, on disk: a repeated or interrupted audit measures only what is new."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from pydantic import ValidationError

from beadseg.annotation.audit.measurement import Measurement
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 64
"""Measurements in one file: what a killed audit loses at most."""


class Store:
    """Measurements by key; kept in memory, and in the files of a folder where one is given.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Where files of up to `CHUNK` measurements lie; damaged ones are taken for missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Measurement] = {}
        self._unwritten: list[Measurement] = []
        if folder is not None and folder.is_dir():
            for path in sorted(folder.glob("*.json")):
                self._known.update((found.key, found) for found in _read(path))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Measurement:
        return self._known[key]

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement; every `CHUNK` of them are written."""
        self._known[measurement.key] = measurement
        self._unwritten.append(measurement)
        if len(self._unwritten) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet; raises `MachineError`."""
        if self._folder is None or not self._unwritten:
            return
        lines = [measurement.model_dump_json() for measurement in self._unwritten]
        path = ensure_folder(self._folder) / f"{secrets.token_hex(8)}.json"
        write_atomically(path, "[" + ",\n".join(lines) + "]\n")
        self._unwritten = []


def _read(path: Path) -> list[Measurement]:
    try:
        return [Measurement.model_validate(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, ValidationError):
        return []
