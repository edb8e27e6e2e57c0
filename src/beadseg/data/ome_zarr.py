"""Read the pixels of OME-Zarr folders (versions 0.4 and 0.5), whole or plane by plane, at the highest resolution.

Only the chunks that a plane needs are read. A chunk that is not there holds the array's fill value, as Zarr has it:
writers leave out chunks that hold nothing else. An image without a single chunk is refused.
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.data.ome_zarr_meta import ZarrImage, find_image, find_labels
from beadseg.data.raw import Raw, check_size, damaged
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOSC_HEADER = 16
_MOST_UNPACKED = 8
"""Filters may store a value in a type of up to this many times its bytes."""


def read_ome_zarr(path: Path, *, labels: bool = False) -> Raw:
    """Return the pixels of an OME-Zarr image, or of its label image.

    Parameters
    ----------
    path : pathlib.Path
        See `beadseg.data.ome_zarr_meta.find_image`.
    labels : bool
        Read an image's ``labels/beads``, or only label image, where it has one.

    Raises
    ------
    ImageError
        It cannot be read; see `find_image`. A chunk is damaged.
    """
    image = find_labels(path) if labels else find_image(path)
    check_size(image.shape, image.dtype, image.array)
    order = [letter for letter in "TZYXC" if letter in image.kept_axes]
    data = _read(image, {})
    present = [letter for letter in image.axes if letter in image.kept_axes]
    return Raw(data.transpose([present.index(a) for a in order]), "".join(order), pixel_size_um=image.pixel_size_um)


def read_planes(image: ZarrImage) -> Iterator[np.ndarray]:
    """Yield the (C, Y, X) pixels of every plane, reading one at a time; raises `ImageError` for a damaged chunk."""
    lengths = dict(zip(image.axes, image.shape, strict=True))
    stack = [letter for letter in "TZ" if letter in image.kept_axes]
    inside = [letter for letter in image.axes if letter in image.kept_axes and letter not in "TZ"]
    for index in np.ndindex(*(lengths[letter] for letter in stack)):
        plane = _read(image, dict(zip(stack, index, strict=True)))
        plane = plane.transpose([inside.index(a) for a in "CYX" if a in inside])
        yield np.ascontiguousarray(plane if "C" in inside else plane[np.newaxis])


def _read(image: ZarrImage, at: dict[str, int]) -> np.ndarray:
    """Return the array at the indices `at` of some axes, without axes of length 1, in native byte order."""
    import zarr
    from zarr.storage import LocalStore

    selection = tuple(
        at.get(letter, slice(None) if letter in image.kept_axes else 0) for letter in image.axes
    )  # fmt: skip
    _check_chunks(image, at)
    try:
        array: Any = zarr.open_array(
            store=LocalStore(image.array, read_only=True), mode="r", zarr_format=3 if image.zarr_format == 3 else 2
        )
        data = np.asarray(array[selection])
    except MemoryError:
        raise ImageError("Does not fit into memory.", image.array, "Use a larger machine.") from None
    except PermissionError:
        raise ImageError("May not be read.", image.array, "Check the permissions of its files.") from None
    except Exception as error:  # a damaged chunk makes zarr and its codecs raise nearly anything
        raise damaged(image.array, error) from None
    return data.astype(image.dtype, copy=False)


def _check_chunks(image: ZarrImage, at: dict[str, int]) -> None:
    """Raise where no chunk of a whole image is there, or a Blosc chunk is cut short: its decoder would read past it."""
    found = False
    for path in _chunk_files(image, at):
        try:
            with path.open("rb") as file:
                header = file.read(_BLOSC_HEADER)
                size = file.seek(0, 2)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ImageError(f"Cannot be read: {error.strerror}.", path, "Check its permissions.") from None
        found = True
        if image.blosc:
            _check_blosc(header, size, image, path)
    if not found and not at and not image.is_label:
        raise damaged(image.array, "not one of its chunks is there")


def _check_blosc(header: bytes, size: int, image: ZarrImage, path: Path) -> None:
    if len(header) < _BLOSC_HEADER:
        raise damaged(path, f"a chunk of {size} bytes")
    unpacked, _, packed = struct.unpack("<III", header[4:])
    wanted = int(np.prod(image.chunks, dtype=np.int64)) * image.dtype.itemsize
    if packed != size:
        raise damaged(path, f"a chunk of {packed} bytes of which {size} are there")
    if unpacked > _MOST_UNPACKED * wanted:
        raise damaged(path, f"a chunk that unpacks to {unpacked} bytes instead of {wanted}")


def _chunk_files(image: ZarrImage, at: dict[str, int]) -> Iterator[Path]:
    prefix, separator = ("c", image.keys[-1]) if image.keys.startswith("c") else ("", image.keys)
    ranges = [
        range(at[letter] // chunk, at[letter] // chunk + 1) if letter in at else range(-(-length // chunk))
        for letter, length, chunk in zip(image.axes, image.shape, image.chunks, strict=True)
    ]
    for index in itertools.product(*ranges):
        yield image.array / separator.join([*([prefix] if prefix else []), *map(str, index)])
