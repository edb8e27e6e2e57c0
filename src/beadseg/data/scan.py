"""Which files a folder holds: found by the sample's name, with the SHA-256 of what they contain."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.fields import composed, listed
from beadseg.data.ome_zarr import LABELS_GROUP
from beadseg.data.raw import IMAGE_SUFFIXES, NOT_UTF8, ZARR_SUFFIX, conversion, kind_of
from beadseg.errors import ImageError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

SYSTEM_FILES = {".ds_store", "thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"}
"""What systems put into folders, in small letters."""
_ANNOTATION_SUFFIX = re.compile(r"[-_. ](?:cp_)?(?:masks?|labels?|ignore|seg|points?)$", re.IGNORECASE)
"""What programs (Cellpose: ``_cp_masks``, ``_seg``) and people add to an image's name."""

_RESULT_SUFFIX = re.compile(
    r"[-_. ](?:(?:cp_)?(?:masks?|labels?|outlines?|flows?|seg|segmentation)|ignore|overlays?|thumb(?:nail)?"
    r"|probabilit(?:y|ies)|simple segmentation|uncertainty|features"
    r"|(?:object|pixel)[-_ ](?:predictions|identities|probabilities))$",
    re.IGNORECASE,
)
"""What Cellpose, ilastik, StarDist and people add to an image's name for what was made from it."""


@dataclass(frozen=True)
class Problem:
    """A file or folder that could not be used, and why."""

    path: Path
    message: str

    def __str__(self) -> str:
        return f"{files.printable(self.path)}: {self.message}"


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts ``c2`` before ``c10``."""
    parts = re.split(r"([0-9]+)", name)
    return (*((0, int(part), "") if part.isdecimal() else (1, 0, part.lower()) for part in parts if part), (2, 0, name))


def stem_of(path: Path) -> str:
    """Return a file's name without its extension, nor ``.ome`` before it, in Unicode's form NFC: a sample's name."""
    return composed(path.name[: len(path.name) - len(ending_of(path))])


def ending_of(path: Path) -> str:
    """Return the part of a file's name that `stem_of` leaves out."""
    stem = path.stem
    stem = stem[:-4] if stem.lower().endswith(".ome") and len(stem) > 4 else stem
    return path.name[len(stem) :]


def results_among(paths: Sequence[Path]) -> list[Path]:
    """Return those of some images that seem to be made from another one: ``a_cp_masks.png`` beside ``a.tif``."""
    names = {stem_of(path).casefold() for path in paths}
    return [path for path in paths if _RESULT_SUFFIX.sub("", stem := stem_of(path).casefold()) in names - {stem}]


@dataclass(frozen=True)
class Filter:
    """Which sample names are wanted: those that match one of `include` (or there are none) and none of `exclude`."""

    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def __call__(self, name: str) -> bool:
        """Tell whether a name is wanted."""
        included = not self.include or any(fnmatchcase(name, pattern) for pattern in self.include)
        return included and not any(fnmatchcase(name, pattern) for pattern in self.exclude)


@dataclass(frozen=True)
class Found:
    """Files by sample name, and the names that several files have."""

    paths: dict[str, Path]
    ambiguous: frozenset[str]


def scan(
    folder: Path,
    wanted: Filter,
    problems: list[Problem],
    images: set[str] | None = None,
    suffixes: frozenset[str] = frozenset(IMAGE_SUFFIXES),
) -> Found:
    """Find the files of a folder by sample name; for annotations, `images` are the names that there are."""
    by_name: dict[str, list[Path]] = {}
    try:
        entries = sorted(folder.iterdir(), key=lambda path: natural_key(path.name))
    except OSError as error:
        raise InputError(f"Cannot be listed: {error.strerror}.", folder, "Check its permissions.") from None
    for path in entries:
        if is_hidden(path):
            continue
        name = stem_of(path)
        if images is not None and name not in images:
            name = _ANNOTATION_SUFFIX.sub("", name)
        if files.printable(name) != name:
            problems.append(Problem(path, f"{NOT_UTF8} Rename it."))
        elif path.is_dir() and path.suffix.lower() != ZARR_SUFFIX:
            problems.append(Problem(path, "Folders inside are not searched. Move its files up, or leave it."))
        elif path.suffix.lower() not in suffixes and not path.is_dir():
            kind = kind_of(path)
            problems.append(Problem(path, f"Files of the kind {kind!r} are not read. {conversion(kind)}"))
        elif wanted(name):
            by_name.setdefault(name, []).append(path)
    for name, paths in by_name.items():
        if len(paths) > 1:
            text = f"Several files for {name!r}: {listed([path.name for path in paths])}. Keep one."
            problems.extend(Problem(path, text) for path in paths)
    single = {name: paths[0] for name, paths in by_name.items() if len(paths) == 1}
    return Found(single, frozenset(by_name) - frozenset(single))


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
        names += [(relative / name).as_posix() for name in inside if name.lower() not in SYSTEM_FILES]
    return names


def is_hidden(path: Path) -> bool:
    """Tell whether a file or folder is nothing that a person put there as an image: hidden, or the system's own."""
    return path.name.startswith(".") or path.name == "__MACOSX" or path.name.lower() in SYSTEM_FILES


def _raise(error: OSError) -> None:
    raise error
