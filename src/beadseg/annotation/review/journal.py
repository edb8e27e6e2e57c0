"""The steps of a review on disk: one CSV per writing session, only ever appended to, by that session alone.

Nobody writes into a file of somebody else, so that nothing needs a lock, which shared folders do not reliably have. A
row counts from its line feed on; it is on the disk before the writer hears that it is. A line that was cut off by
a kill or a full disk has no line feed and is passed over; its session never writes behind it.
"""

from __future__ import annotations

import csv
import os
import re
import secrets
import socket
import threading
from typing import TYPE_CHECKING

from beadseg.annotation.review.steps import STEP_COLUMNS, Step, who
from beadseg.data.scan import Problem
from beadseg.errors import ConfigError, InputError
from beadseg.files import ensure_folder, is_unfinished, machine_error, write_atomically
from beadseg.text import from_line, to_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BYTE_ORDER_MARK = "\ufeff"
"""Begins every CSV of a review: without it, spreadsheets take UTF-8 for their own code page."""


class Journal:
    """Everybody's steps, and the file that this session adds its own to. Thread-safe.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the journal; made when the first step is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._steps: dict[str, Step] = {}
        self._files: dict[str, _Reader] = {}
        self._own: Path | None = None
        self._process = 0
        self._lock = threading.RLock()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step that was read, in no particular order."""
        with self._lock:
            return tuple(self._steps.values())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Rows and files that cannot be understood."""
        with self._lock:
            return tuple(problem for _, reader in sorted(self._files.items()) for problem in reader.problems)

    def refresh(self) -> list[Step]:
        """Read what was added since the last time, and return it.

        Raises
        ------
        InputError
            A file cannot be read, or a newer version of beadseg wrote it.
        """
        with self._lock:
            new: list[Step] = []
            for name in self._names():
                reader = self._files.setdefault(name, _Reader(self.folder / name))
                new += [step for step in reader.read() if self._take(step, reader)]
            return new

    def append(self, steps: Sequence[Step]) -> None:
        """Add steps; when this returns they are on the disk.

        Raises
        ------
        MachineError
            The disk is full, or the folder not writable. Perhaps some of the steps are there.
        """
        text = "".join(step.to_line() for step in steps).encode()
        with self._lock:
            path = self._own_file()
            # Whatever ends this early may leave half a line: the next step begins a new file.
            self._own = None
            try:
                _append(path, text)
            except OSError as error:
                raise machine_error(error, path) from error
            self._own = path
            for step in steps:
                self._steps[step.step] = step

    def _names(self) -> list[str]:
        """Return the names of the journal's files, in order."""
        try:
            paths = [path for path in self.folder.iterdir() if path.suffix.lower() == ".csv"]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise InputError(f"Cannot be listed: {error.strerror}.", self.folder, "Check its permissions.") from None
        return sorted(path.name for path in paths if not path.name.startswith(".") and not is_unfinished(path))

    def _take(self, step: Step, reader: _Reader) -> bool:
        """Add a step unless it is there already (a copied journal); report one that differs from its namesake."""
        known = self._steps.setdefault(step.step, step)
        if known is step:
            return True
        if known != step:
            reader.problems.append(Problem(reader.path, f"Step {step.step} is there twice, with different contents."))
        return False

    def _own_file(self) -> Path:
        if self._own is None or self._process != os.getpid():  # after a fork, parent and child write apart
            ensure_folder(self.folder)
            self._own = self.folder / f"{_session_name()}.csv"
            self._process = os.getpid()
            write_atomically(self._own, BYTE_ORDER_MARK + to_line(STEP_COLUMNS))
        return self._own


class _Reader:
    """Reads one file as it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._offset = 0
        self._columns: list[str] | None = None

    def read(self) -> list[Step]:
        """Return the steps of the lines that were finished since the last time."""
        steps: list[Step] = []
        for line in self._new_lines():
            if self._columns is None:
                self._columns = _header(line.removeprefix(BYTE_ORDER_MARK))
                missing = [name for name in STEP_COLUMNS if name not in self._columns]
                if missing:
                    self._report(f"Is not a journal: it has no column {', '.join(missing)}.")
            elif line and not (set(STEP_COLUMNS) - set(self._columns)):
                steps += self._parsed(line, self._columns)
        return steps

    def _new_lines(self) -> list[str]:
        try:
            if self.path.stat().st_size <= self._offset:
                return []
            with self.path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"Cannot be read: {error.strerror}.", self.path, "Check its permissions.") from None
        end = data.rfind(b"\n") + 1
        self._offset += end
        text = data[:end].decode("utf-8", errors="replace")
        return [line.removesuffix("\r") for line in text.split("\n")[:-1]]

    def _parsed(self, line: str, columns: list[str]) -> list[Step]:
        try:
            _check_version(line, columns, self.path)
            return [Step.from_line(line, columns)]
        except (ConfigError, ValueError, csv.Error) as error:
            detail = error.what if isinstance(error, ConfigError) else str(error)
            self._report(f"A row cannot be understood ({detail}): {line[:80]}")
            return []

    def _report(self, message: str) -> None:
        self.problems.append(Problem(self.path, message))


def _header(line: str) -> list[str]:
    try:
        return from_line(line)
    except csv.Error:
        return []


def _check_version(line: str, columns: list[str], path: Path) -> None:
    version = dict(zip(columns, from_line(line), strict=True))["version"]
    if version.isdigit() and int(version) > 1:
        raise InputError(f"Is of version {version}, which this beadseg does not know.", path, "Update beadseg.")


def _append(path: Path, data: bytes) -> None:
    """Write `data` behind what is there and wait until the disk has it; the file must exist, header and all."""
    with path.open("r+b", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        while data:
            data = data[file.write(data) or 0 :]
        os.fsync(file.fileno())


def _session_name() -> str:
    """Return a file name of this session's own; it tells whose it is."""
    parts = (who()[:40], socket.gethostname()[:40], str(os.getpid()), secrets.token_hex(4))
    return "-".join(re.sub(r"[^A-Za-z0-9_.]", "_", part).strip(".") or "_" for part in parts)
