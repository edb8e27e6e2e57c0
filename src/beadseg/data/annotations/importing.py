"""Annotations of another program to a dataset folder, which appears whole or not at all.

An image belongs to its annotations by its path below the folder of images, by its file name, else by its stem.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from beadseg import files
from beadseg.data.annotations.regions import AnnotationSource, Entry, Failure, Painted, failures_csv, paint
from beadseg.data.fields import composed
from beadseg.data.image_io import LazyImage, open_image
from beadseg.data.ome_zarr import LABELS_GROUP
from beadseg.data.raw import IMAGE_SUFFIXES, KNOWN_KINDS, is_zarr
from beadseg.data.scan import ending_of, natural_key, stem_of
from beadseg.data.tiff import resolution_of
from beadseg.errors import BeadsegError, Cancelled, ImageError, InputError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.runtime.locking import new_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

UNNAMED = ("roiset", "rois", "roi")
"""Names of ROI files that name no image."""

_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What says more about this machine than about one image."""


@dataclass(frozen=True)
class ImportResult:
    """What became of an import.

    Attributes
    ----------
    images, objects : int
        Images in the dataset, and objects on them.
    contested : int
        Pixels that several objects claimed; the later one has them.
    failures : tuple of Failure
        Images and annotations that were left out, as in ``failures.csv``.
    """

    images: int
    objects: int
    contested: int
    failures: tuple[Failure, ...]


def import_annotations(
    source: AnnotationSource,
    images: Path,
    out: Path,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> ImportResult:
    """Write annotations and their images as a dataset folder.

    Parameters
    ----------
    source : AnnotationSource
        From `read_coco` or `read_fiji_rois`.
    images : pathlib.Path
        Folder of the images, matched by path below it, file name, or stem (see `match_images`). Images of the same
        name in folders inside are called ``FOLDER_NAME`` in the dataset.
    out : pathlib.Path
        A new or empty folder. Gets ``images/`` (copies), ``labels/`` (TIFF, uint32), ``ignore/`` where there is
        something to ignore, and ``failures.csv`` where something was left out.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    ImportResult
        Numbers, and what was left out.

    Raises
    ------
    InputError
        `out` is not empty, `images` is not a folder, or no image of `source` was found in it. Nothing is written.
    MachineError
        The disk is full or the folder not writable. Nothing is left behind.
    Cancelled
        `stop` was set. Nothing is left behind.
    """
    files.refuse_full(out)
    paths = _image_files(images)
    for note in source.notes:
        on_event(log(note))
    with new_folder(out) as unfinished:
        return _Importer(unfinished, paths).run(source, images, on_event, stop)


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError("No such folder.", folder, "Give the folder of the annotated images (--images).")
    try:
        found = [path for path in folder.iterdir() if path.name[0] != "." and is_image(path)]
    except OSError as error:
        raise InputError(f"Cannot be listed: {error.strerror}.", folder, "Check its permissions.") from None
    return sorted(found, key=lambda path: natural_key(path.name))


def shortened(file_name: str, longest: int = 240) -> str:
    """Return a file's name of at most `longest` bytes: a longer one is cut, with a hash of all of it at its end."""
    if len(os.fsencode(file_name)) <= longest:
        return file_name
    ending = ending_of(Path(file_name))
    mark = f"_{hashlib.sha256(os.fsencode(file_name)).hexdigest()[:8]}{ending}"
    return os.fsencode(file_name)[: longest - len(mark)].decode("utf-8", "ignore") + mark


class _Importer:
    """Fills one unfinished dataset folder."""

    def __init__(self, folder: Path, images: list[Path]) -> None:
        self.folder = folder
        self.images = images
        self.repeated: set[str] = set()
        self.used: dict[str, str] = {}
        self.failures: list[Failure] = []
        self.objects = self.contested = 0

    def run(self, source: AnnotationSource, images: Path, on_event: OnEvent, stop: StopFlag | None) -> ImportResult:
        """Import every entry and list what has no partner."""
        for name in (files.IMAGES, files.LABELS):
            files.ensure_folder(self.folder / name)
        self.failures += source.failures
        matches, named = match_images(source.entries, images, self.images)
        single = len(source.entries) == len(self.images) == 1 and isinstance(matches[0], InputError)
        if single and source.entries[0].names[0].casefold() in UNNAMED:
            # Fiji calls what it saves RoiSet.zip: of a single image there is no question which it is.
            matches, named = [self.images[0]], {self.images[0]}
        matched = [path for path in matches if not isinstance(path, InputError)]
        if not matched and not self.images:
            raise InputError("Holds no images.", images, f"Files of these kinds are read: {KNOWN_KINDS}.")
        stems = Counter(map(stem_of, matched))
        self.repeated = {stem for stem, times in stems.items() if times > 1}
        pairs = list(zip(source.entries, matches, strict=True))
        done = 0
        for entry, match in track(pairs, "import", len(pairs), on_event, stop):
            try:
                if isinstance(match, InputError):
                    raise match
                self._one(entry, match, images)
                done += 1
            except (Cancelled, MachineError):
                raise
            except BeadsegError as error:  # one bad image never stops the rest
                self.failures.append(Failure.of(entry.where, error))
        if not done:
            first = f" The first failure: {self.failures[0]}" if self.failures else ""
            raise InputError(f"None of its images could be annotated.{first}", images, "Nothing was written.")
        rest = [path for path in self.images if path not in named]
        self.failures += [Failure(path.name, "Has no annotations; it was left out.") for path in rest]
        if self.failures:
            files.write_atomically(self.folder / files.FAILURES, failures_csv(self.failures))
        return ImportResult(done, self.objects, self.contested, tuple(self.failures))

    def _one(self, entry: Entry, path: Path, images: Path) -> None:
        refuse_links(path)
        image = open_image(path)
        if entry.size is not None and entry.size != image.size:
            said, found = (f"{width}x{height} px" for height, width in (entry.size, image.size))
            raise InputError(f"Is {found}, in the annotations {said}.", path, "Give the images that were annotated.")
        file_name = shortened("_".join(path.relative_to(images).parts)) if stem_of(path) in self.repeated else path.name
        name = stem_of(Path(file_name))
        if name in self.used:
            text = f"Its image {path.name} has annotations already, from {self.used[name]}."
            raise InputError(text, entry.where, "Keep one of the two.")
        instances, failures = entry.draw(image)
        shape = (int(np.prod(image.stack_shape, dtype=int)), *image.size)
        painted = paint(instances, shape, entry.where)
        self._write(path, file_name, image, painted, entry.pixel_size_um)
        self.used[name] = entry.where
        self.failures += [*failures, *painted.failures]
        self.objects += painted.objects
        self.contested += painted.contested

    def _write(
        self, path: Path, file_name: str, image: LazyImage, painted: Painted, pixel_size_um: float | None
    ) -> None:
        name = stem_of(Path(file_name))
        axes = "".join(axis for axis in image.axes if axis != "C")
        shape = (*image.stack_shape, *image.size)
        size = pixel_size_um or image.pixel_size_um
        copy_image(path, self.folder / files.IMAGES / file_name)
        write_plane_tiff(self.folder / files.LABELS / f"{name}.tif", painted.labels.reshape(shape), axes, size)
        if painted.ignore.any():
            files.ensure_folder(self.folder / files.IGNORE)
            hidden = np.where(painted.ignore, np.uint8(255), np.uint8(0)).reshape(shape)
            write_plane_tiff(self.folder / files.IGNORE / f"{name}.tif", hidden, axes, size)


def write_plane_tiff(path: Path, data: NDArray[np.generic], axes: str, pixel_size_um: float | None) -> None:
    """Write labels or a mask as compressed TIFF with its axes and, where known, its pixel size.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    data : numpy.ndarray
        Of any integer dtype.
    axes : str
        One letter per dimension out of ``TZYX``.
    pixel_size_um : float or None
        Side of a pixel, µm.
    """
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib", "software": False}
    options |= resolution_of(pixel_size_um)

    def write(file: Path) -> None:
        tifffile.imwrite(file, data, metadata={"axes": axes}, **options)

    files.write_atomically(path, write)


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


def refuse_links(image: Path) -> None:
    """Raise `ImageError` where an OME-Zarr folder holds a link, a device or a pipe; `image` itself may be a link."""
    if image.is_dir():
        for _ in _regular_files(image):
            pass


def copy_image(image: Path, copy: Path) -> None:
    """Copy an image file, or an OME-Zarr folder without the labels in it.

    Parameters
    ----------
    image : pathlib.Path
        The file or folder.
    copy : pathlib.Path
        Does not exist yet; nothing of it is left after an error.

    Raises
    ------
    ImageError
        The folder holds something that is neither a file nor a folder, or a part of it cannot be read.
    MachineError
        The disk is full or not writable.
    """
    if not image.is_dir():
        files.write_atomically(copy, lambda file: shutil.copyfile(image, file))
        return
    try:
        _copy_folder(image, copy)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise


def _copy_folder(image: Path, copy: Path) -> None:
    copy.mkdir()
    for part in _regular_files(image):
        target = copy / part.relative_to(image)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(part, target, follow_symlinks=False)
        except OSError as error:
            if error.errno in _MACHINE or str(error.filename).startswith(str(copy)):
                raise files.machine_error(error, copy) from error
            raise _unreadable(image, error) from error


def _regular_files(image: Path) -> Iterator[Path]:
    """Yield the files of a folder at any depth, except those of labels; raises `ImageError` at anything odd."""
    folders = [image]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            raise _unreadable(image, error) from error
        for entry in entries:
            if entry.name == LABELS_GROUP:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            else:
                name = files.printable(Path(entry.path).relative_to(image).as_posix())
                text = f"Its part {name} is a symbolic link, or neither a file nor a folder."
                raise ImageError(text, image, "Put the file itself in its place, or remove it.")


def _unreadable(image: Path, error: OSError) -> ImageError:
    return ImageError(f"Cannot be copied: {error.strerror or error}.", image, "Check the files in it.")
