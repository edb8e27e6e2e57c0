"""Copies of image files, and of OME-Zarr folders without following links out of them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.ome_zarr_meta import LABELS_GROUP
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""What says more about this machine than about one image."""


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
