"""Which image file annotations belong to: by path below the folder of images, by file name, else by stem.

Names are compared as they are, then in Unicode's form NFC (macOS writes the other one), then regardless of case.
A file that several images of the annotations would take alike belongs to none of them: beads on the wrong picture are
worse than a picture less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.data.fields import composed
from beadseg.data.raw import IMAGE_SUFFIXES, is_zarr
from beadseg.data.scan import stem_of
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from beadseg.data.annotations.model import Entry


def is_image(path: Path) -> bool:
    """Tell by its name and kind whether a file or folder is an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES or is_zarr(path)


def match_images(
    entries: Sequence[Entry], folder: Path, images: Iterable[Path]
) -> tuple[list[Path | InputError], set[Path]]:
    """Find the image file of every entry.

    Parameters
    ----------
    entries : sequence of Entry
        Their ``names`` are tried in order: all entries by their first one, then those left by the second one, ….
    folder : pathlib.Path
        Folder of the images; names with ``/`` are looked for below it.
    images : iterable of pathlib.Path
        Images in the folder itself.

    Returns
    -------
    matches : list of pathlib.Path or InputError
        Per entry its file, which no other entry has, or why it has none.
    named : set of pathlib.Path
        The files that entries asked for, also those that went to none since several did.
    """
    matching = _Matching(entries)
    images = list(images)
    positions = range(max((len(entry.names) for entry in entries), default=0))
    for key in (str, composed, _caseless):
        names = _Names(folder, images, key)
        for find in (names.files, names.stems):
            for position in positions:
                matching.match(find, position)
    example = f" The folder holds {images[0].name}." if images else ""
    missing = InputError(f"No image of this name or stem.{example}", remedy="Check the folder of images (--images).")
    return [matching.found.get(number, missing) for number in range(len(entries))], matching.taken


def _caseless(name: str) -> str:
    return composed(composed(name).casefold())


class _Names:
    """Images by one way of comparing names."""

    def __init__(self, folder: Path, images: Sequence[Path], key: Callable[[str], str]) -> None:
        self._folder, self._key = folder, key
        self._files = self._grouped(images, lambda path: path.name)
        self._stems = self._grouped(images, stem_of)
        self._inside: dict[Path, dict[str, list[Path]]] = {}

    def files(self, name: str) -> list[Path]:
        """Return the images of a file name, or of a path with ``/``."""
        parts = name.split("/")
        if len(parts) == 1:
            return self._files.get(self._key(name), [])
        found = [self._folder]
        for part in parts:
            found = [path for folder in found for path in self._children(folder).get(self._key(part), [])]
        return [path for path in found if is_image(path)]

    def stems(self, name: str) -> list[Path]:
        """Return the images of a stem."""
        return self._stems.get(self._key(name), [])

    def _children(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._inside:
            try:
                paths = [] if is_zarr(folder) else [path for path in folder.iterdir() if path.name[0] != "."]
            except OSError:  # no folder, or one that may not be entered
                paths = []
            self._inside[folder] = self._grouped(paths, lambda path: path.name)
        return self._inside[folder]

    def _grouped(self, paths: Iterable[Path], name: Callable[[Path], str]) -> dict[str, list[Path]]:
        groups: dict[str, list[Path]] = {}
        for path in paths:
            groups.setdefault(self._key(name(path)), []).append(path)
        return groups


class _Matching:
    """What is matched so far."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.found: dict[int, Path | InputError] = {}
        self.taken: set[Path] = set()

    def match(self, find: Callable[[str], list[Path]], position: int) -> None:
        """Match those entries by their name at `position` that are left, to files that are left."""
        claims: dict[Path, list[int]] = {}
        for number, entry in enumerate(self.entries):
            if number in self.found or position >= len(entry.names):
                continue
            paths = [path for path in find(entry.names[position]) if path not in self.taken]
            if len(paths) > 1:
                text = f"Several images have its name or stem: {', '.join(path.name for path in paths)}."
                self.found[number] = InputError(text, remedy="Keep one.")
            elif paths:
                claims.setdefault(paths[0], []).append(number)
        self.taken.update(claims)
        for path, numbers in claims.items():
            for number in numbers:
                self.found[number] = path if len(numbers) == 1 else self._disputed(path, numbers)

    def _disputed(self, path: Path, numbers: list[int]) -> InputError:
        names = ", ".join(self.entries[number].where for number in numbers)
        text = f"The image {path.name} may belong to each of {names}."
        return InputError(text, remedy="Keep one, or give the images in the folders that the annotations name.")
