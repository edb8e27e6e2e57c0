"""Annotations of another program to a dataset folder, which appears whole or not at all."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from beadseg import files
from beadseg.data.annotations.copying import copy_image, refuse_links
from beadseg.data.annotations.matching import is_image, match_images
from beadseg.data.annotations.model import AnnotationSource, Entry, Failure, failures_csv
from beadseg.data.annotations.paint import Painted, paint
from beadseg.data.dataset import natural_key, stem_of
from beadseg.data.lazy import LazyImage, open_image
from beadseg.data.raw import KNOWN_KINDS
from beadseg.data.scan import ending_of
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, log, track

if TYPE_CHECKING:
    from numpy.typing import NDArray


UNNAMED = ("roiset", "rois", "roi")
"""Names of ROI files that name no image."""


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
    refuse_full(out)
    paths = _image_files(images)
    for note in source.notes:
        on_event(log(note))
    files.ensure_folder(out.absolute().parent)
    unfinished = out.absolute().with_name(
        f"{files.TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}{files.TEMPORARY_SUFFIX}"
    )
    try:
        result = _Importer(unfinished, paths).run(source, images, on_event, stop)
        _appear(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return result


def refuse_full(out: Path) -> None:
    """Raise `InputError` unless `out` is a new or empty folder."""
    if out.is_dir() and any(out.iterdir()):
        raise InputError("The folder is not empty.", out, "Choose a new or empty folder; nothing was written.")
    if out.exists() and not out.is_dir():
        raise InputError("Is a file.", out, "Choose a new or empty folder; nothing was written.")


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


def _appear(unfinished: Path, out: Path) -> None:
    try:
        if out.is_dir():
            out.rmdir()  # it is empty; Windows does not rename onto a folder
        unfinished.rename(out)
    except OSError as error:
        raise files.machine_error(error, out) from error


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
    if pixel_size_um is not None:
        options |= {"resolution": (1e4 / pixel_size_um, 1e4 / pixel_size_um), "resolutionunit": "CENTIMETER"}

    def write(file: Path) -> None:
        tifffile.imwrite(file, data, metadata={"axes": axes}, **options)

    files.write_atomically(path, write)
