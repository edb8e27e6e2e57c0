"""The SHA-256 of what a sample's files hold; of a folder (OME-Zarr) that of all its files and their names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from beadseg.data.ome_zarr_meta import LABELS_GROUP
from beadseg.errors import ImageError

_SYSTEM_FILES = {".ds_store", "thumbs.db", "desktop.ini"}


def sha256_of(path: Path, *, without_labels: bool = False) -> str:
    """Return the SHA-256 of a file, or of a folder, as 64 hexadecimal digits.

    A folder's is that of one line ``NAME NUL SHA-256 LF`` per file, in the order of the names' bytes; what an
    operating system leaves there for itself is not counted.

    Parameters
    ----------
    path : pathlib.Path
        The file or folder.
    without_labels : bool
        Leave out the label images inside an OME-Zarr image or a container of one.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    try:
        if not path.is_dir():
            return _of_file(path)
        total = hashlib.sha256()
        for name in sorted(_names(path, without_labels), key=os.fsencode):
            total.update(os.fsencode(name) + b"\0" + _of_file(path / name).encode() + b"\n")
        return total.hexdigest()
    except OSError as error:
        raise ImageError(f"Cannot be read: {error.strerror}.", path, "Check the file.") from None


def signature_of(path: Path) -> list[int]:
    """Return size in bytes and latest time in ns of a file, or of all files of a folder; ``[]`` when there is none."""
    try:
        if not path.is_dir():
            found = path.stat()
            return [found.st_size, found.st_mtime_ns]
        inside = [(path / name).stat() for name in _names(path, without_labels=False)]
    except OSError:
        return []
    return [sum(found.st_size for found in inside), max((found.st_mtime_ns for found in inside), default=0)]


def _of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _names(folder: Path, without_labels: bool) -> list[str]:
    names = []
    for parent, folders, inside in os.walk(folder, onerror=_raise):
        relative = Path(parent).relative_to(folder)
        if without_labels and LABELS_GROUP in folders and len(relative.parts) < 2:
            folders.remove(LABELS_GROUP)
        names += [(relative / name).as_posix() for name in inside if name.lower() not in _SYSTEM_FILES]
    return names


def _raise(error: OSError) -> None:
    raise error
