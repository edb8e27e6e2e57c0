"""Corrected masks and ignore regions as files: always new ones, so that every step can be undone."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import tifffile

from beadseg import files
from beadseg.annotation.review.step import Kind, new_id
from beadseg.data.masks import Mask, interpret_labels, interpret_mask
from beadseg.errors import ImageError
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.data.dataset import Sample

NAME_BYTES = 150
"""So much of a sample's name goes into the names of its files, which many systems limit to 255 bytes."""


def understood(values: NDArray[np.generic], kind: Kind, sample: Sample) -> Mask:
    """Return what a corrected mask says, checked against its image.

    Parameters
    ----------
    values : (Y, X), or as many planes as the image has
        Foreground where not 0, or one id per bead.
    kind : {"", "mask", "labels"}
        How to take the values; told from them as for a mask file when empty.
    sample : Sample
        What it belongs to.

    Raises
    ------
    ImageError
        It has another size than the image, or values of which it is not clear what they mean.
    """
    image = sample.read_image()
    expected = (*image.stack_shape, *image.size)
    if values.shape != expected:
        text = f"The mask has the shape {values.shape}, its image {expected}."
        raise ImageError(text, sample.image_path, "Give a mask of the same size; resizing one moves its edges.")
    axes = image.axes.replace("C", "")
    if kind == "mask":
        return Mask(values != 0, None, "binary", axes)
    if kind == "labels":
        return interpret_labels(values, axes, sample.image_path)
    return interpret_mask(values, axes, sample.image_path)


@dataclass(frozen=True)
class SavedMask:
    """A mask file of the review.

    Attributes
    ----------
    path : str
        Relative to the dataset folder, with slashes.
    kind : {"mask", "labels"}
        How to read it.
    sha256 : str
        Of its bytes.
    """

    path: str
    kind: Kind
    sha256: str


def save_mask(root: Path, folder: str, name: str, mask: Mask) -> SavedMask:
    """Write a mask of the sample `name` as a new file in a folder of the review.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    kind: Kind = "mask" if mask.labels is None else "labels"
    values = np.where(mask.foreground, 255, 0).astype(np.uint8) if mask.labels is None else mask.labels
    flat = mask.labels is None and values.ndim == 2
    content = iio.imwrite("<bytes>", values, extension=".png") if flat else tiff_bytes(values, mask.axes)
    short = name.encode()[:NAME_BYTES].decode(errors="ignore")
    path = ensure_folder(root / files.REVIEW / folder) / f"{short}--{new_id()}{'.png' if flat else '.tif'}"
    write_atomically(path, content)
    return SavedMask(path.relative_to(root).as_posix(), kind, hashlib.sha256(content).hexdigest())


def tiff_bytes(values: NDArray[np.generic], axes: str) -> bytes:
    """Return a compressed TIFF of a mask or labels whose `axes` are ``YX``, or with T and Z before."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", compression="zlib", metadata={"axes": axes})
    return buffer.getvalue()
