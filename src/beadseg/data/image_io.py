"""Read microscope images and masks: PNG, JPEG and BMP (Pillow), TIFF (tifffile), OME-Zarr folders (zarr).

The kind of a file is told by its content (a PNG named .tif is read). An image's values keep their dtype; 1-bit
images become 0 and 255. Transparency: alpha that is the same everywhere is dropped, else the image is laid over white.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.masks import Mask, interpret_labels, interpret_mask
from beadseg.data.ome_zarr import read_ome_zarr
from beadseg.data.raster import read_raster
from beadseg.data.raw import Raw, check_file, is_zarr
from beadseg.data.tiff import is_tiff, read_tiff
from beadseg.errors import ImageError
from beadseg.files import user_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Image", "Mask", "plane_names", "read_image", "read_labels", "read_mask"]


class Planes(ABC):
    """What the letters of its axes say of an image, whether its pixels have been read or not."""

    axes: str
    pixel_size_um: float | None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.shape[-2], self.shape[-1]

    @property
    def channels(self) -> int:
        """Number of channels; 1 for grey."""
        return self.shape[self.axes.index("C")] if "C" in self.axes else 1

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Lengths of the T and Z axes that there are; empty for a single image."""
        return tuple(n for n, axis in zip(self.shape, self.axes, strict=True) if axis in "TZ")

    @property
    def names(self) -> list[str]:
        """Names of its planes, in storage order: ``[""]``, or ``"t003"``, ``"z001"``, ``"t003_z001"``."""
        return plane_names(self.axes, self.stack_shape)


@dataclass(frozen=True, eq=False)
class Image(Planes):
    """An image with named axes.

    Attributes
    ----------
    data : numpy.ndarray
        Unsigned or signed integers or floats, finite, native byte order, C-contiguous.
    axes : str
        One letter per dimension out of ``TZCYX``, in that order. Grey: ``YX``; RGB: ``CYX`` with C of length 3.
    pixel_size_um : float or None
        Side of a pixel, µm, where the file tells it.
    turned : bool
        The pixels were turned as the file's orientation tag (EXIF) says.
    """

    data: np.ndarray
    axes: str
    pixel_size_um: float | None = None
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(map(int, self.data.shape))

    def planes(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the (C, Y, X) view of every plane: ``""``, or ``"t003"``, ``"z001"``, ``"t003_z001"``."""
        flat = self.data.reshape(-1, self.channels, *self.size)
        yield from zip(self.names, flat, strict=True)


def plane_names(axes: str, stack_shape: tuple[int, ...]) -> list[str]:
    """Return the names of a stack's planes in storage order; ``[""]`` for a single image. Counted from 0."""
    letters = [axis.lower() for axis in axes if axis in "TZ"]
    return [
        "_".join(f"{letter}{i:03d}" for letter, i in zip(letters, index, strict=True))
        for index in np.ndindex(*stack_shape)
    ]


def read_image(path: Path | str) -> Image:
    """Read an image file, or an OME-Zarr folder.

    Parameters
    ----------
    path : path
        A .png, .jpg, .jpeg, .bmp, .tif or .tiff file, or an OME-Zarr folder (0.4 or 0.5; its highest resolution).

    Returns
    -------
    Image
        Its pixels. Pages of a TIFF without named axes are time points. Palette colours become RGB (grey where the
        palette is grey); a TIFF whose 0 is white is inverted, so that bright is large. Pixels are
        turned as the orientation tag of a PNG, JPEG or TIFF says.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, cut short, of another kind, absurdly large, or holds NaN, infinite or
        complex values.
    """
    path = user_path(path)
    raw = _read_raw(path)
    data, axes = _coloured(raw)
    data = as_intensities(data, path, inverted=raw.inverted)
    if raw.alpha != "none":
        data, axes = _opaque(data, axes, raw.alpha, path)
    order = [axes.index(letter) for letter in "TZCYX" if letter in axes]
    names = "".join(axes[i] for i in order)
    return Image(np.ascontiguousarray(data.transpose(order)), names, raw.pixel_size_um, raw.turned)


def read_mask(path: Path) -> Mask:
    """Read a mask file; `Mask.kind` says how its values were understood.

    Parameters
    ----------
    path : pathlib.Path
        A file or folder as for `read_image`; of an OME-Zarr image that has label images, ``labels/beads`` or the only
        one is read. Of a palette the colours count: black is background; an inverted mask is not guessed at.

    Returns
    -------
    Mask
        ``"binary"``: 0 and one other value. ``"soft"``: grades between background and foreground, cut at half of
        white (1.0 for floats up to 1, 255 for values up to 255, else the largest value). ``"labels"``: one id per
        object, told from soft edges by the size of the regions of equal value; see `beadseg.data.masks`.

    Raises
    ------
    ImageError
        As for `read_image`; or it has different colours, transparency, negative values, or values that are neither
        edges nor ids.
    """
    data, axes, turned = _mask_values(path)
    return replace(interpret_mask(data, axes, path), turned=turned)


def read_labels(path: Path) -> Mask:
    """Read instance labels: 0 is background, every other integer one object, of any integer dtype.

    Raises
    ------
    ImageError
        As for `read_mask`; or the values are not integers, or a single id is spread over many separate pieces (a binary
        mask where labels were expected).
    """
    data, axes, turned = _mask_values(path)
    return replace(interpret_labels(data, axes, path), turned=turned)


def _read_raw(path: Path, *, labels: bool = False) -> Raw:
    check_file(path)
    if is_zarr(path):
        return read_ome_zarr(path, labels=labels)
    try:
        return read_tiff(path) if decodes_as_tiff(path) else read_raster(path)
    except PermissionError:
        raise ImageError("May not be read.", path, "Check the file's permissions.") from None
    except MemoryError:
        raise ImageError("Does not fit into memory.", path, "Cut it into parts, or use a larger machine.") from None


def decodes_as_tiff(path: Path) -> bool:
    """Tell whether a file is read as a TIFF: by its content, and by its name where that tells nothing."""
    return is_tiff(path) or (path.suffix.lower().startswith(".tif") and not _is_raster(path))


def _is_raster(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    return start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM"))


def _coloured(raw: Raw) -> tuple[np.ndarray, str]:
    """Replace palette indices by their colours, or greys where all colours used are grey."""
    if raw.palette is None:
        return raw.data, raw.axes
    colours = raw.palette[raw.data]
    if (colours == colours[..., :1]).all():
        return colours[..., 0], raw.axes
    return colours, raw.axes + "C"


def as_intensities(data: np.ndarray, path: Path, *, inverted: bool = False) -> np.ndarray:
    """Return values of which more is brighter: 1-bit ones as 0 and 255; raise `ImageError` for values that are none."""
    if data.dtype == np.bool_:
        data = data.astype(np.uint8) * np.uint8(255)
    _check_values(data, path)
    return _inverted(data) if inverted else data


def _check_values(data: np.ndarray, path: Path) -> None:
    if data.dtype.kind not in "uif":
        raise ImageError(
            f"Holds values of the kind {data.dtype}.", path, "Save it as integers or floats (no complex numbers)."
        )
    if data.dtype.kind != "f":
        return
    wrong = int(data.size - np.count_nonzero(np.isfinite(data)))
    if wrong:
        if wrong == data.size:
            raise ImageError("Holds nothing but NaN or infinite values.", path, "Export it again from its source.")
        text = f"{wrong} of its {data.size} values are NaN or infinite."
        raise ImageError(text, path, "Replace them, e.g. by the median of the image, and save it again.")


def _inverted(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind == "f":
        return np.asarray(data.max() - data + data.min(), data.dtype)
    if data.dtype.kind == "u":
        return np.asarray(np.iinfo(data.dtype).max - data, data.dtype)
    return np.asarray(-1 - data, data.dtype)


def _opaque(data: np.ndarray, axes: str, kind: str, path: Path) -> tuple[np.ndarray, str]:
    """Drop the alpha sample (last along C, the last axis); lay the image over white where alpha varies."""
    alpha, values = data[..., -1:], data[..., :-1]
    if int(alpha.min()) != int(alpha.max()):
        if data.dtype.kind != "u":
            raise ImageError(
                "Is partly transparent, with values that are not unsigned integers.", path, "Remove its alpha channel."
            )
        values = _over_white(values, alpha, kind)
    if values.shape[-1] == 1:
        return values[..., 0], axes.replace("C", "")
    return values, axes


def _over_white(values: np.ndarray, alpha: np.ndarray, kind: str) -> np.ndarray:
    white = float(np.iinfo(values.dtype).max)
    share = alpha / white
    shown = values * (share if kind == "straight" else 1.0)
    return np.asarray(np.clip(np.rint(shown + white * (1.0 - share)), 0, white), values.dtype)


def _mask_values(path: Path) -> tuple[np.ndarray, str, bool]:
    """Return a mask's single value per pixel, its axes out of ``TZYX``, and whether it was turned."""
    raw = _read_raw(path, labels=True)
    data, axes = _mask_colours(raw)
    _check_values(data.astype(np.uint8) if data.dtype == np.bool_ else data, path)
    if raw.alpha != "none":
        if data[..., -1].min() != data[..., -1].max():
            raise ImageError("Is partly transparent.", path, "Save the mask without an alpha channel: 0 and 255.")
        data = data[..., :-1]
    if "C" in axes:
        if (data != data[..., :1]).any():
            data = _on_black(data, path)[..., np.newaxis]
        data, axes = data[..., 0], axes.replace("C", "")
    return np.ascontiguousarray(data), axes, raw.turned


def _mask_colours(raw: Raw) -> tuple[np.ndarray, str]:
    """Return a mask's values: a palette's greys, else its indices with what is black as 0; white-is-zero turned round.

    Colours of a palette only show ids (as in PASCAL VOC), but what is black is background, whichever index it has. A
    palette without black, or one that shows its index 0 in white beside other colours, keeps its indices.
    """
    if raw.palette is None:
        turned = raw.inverted and not raw.imagej
        return (_two_values_turned(raw.data) if turned else raw.data), raw.axes
    data, axes = _coloured(raw)
    if axes == raw.axes:
        return data, axes
    indices = np.asarray(raw.data)
    black = [int(i) for i in np.unique(indices) if not raw.palette[i].any()]
    if 0 in black or not black or ((raw.palette[0] == 255).all() and (indices == 0).any()):
        return indices, raw.axes
    ids = np.arange(1, len(raw.palette) + 1, dtype=np.uint16)
    ids[black] = 0
    return ids[indices], raw.axes


def _two_values_turned(data: np.ndarray) -> np.ndarray:
    """Return a white-is-zero mask as it is shown; ids, which no program shows as they are, stay."""
    if data.dtype == np.bool_:
        return ~data
    highest = np.iinfo(data.dtype).max if data.dtype.kind == "u" else 0
    return _inverted(data) if highest and np.isin(np.unique(data), (0, highest)).all() else data


def _on_black(colours: np.ndarray, path: Path) -> np.ndarray:
    """Return where a coloured mask is not black, as 0 and 255, where it has one other colour only."""
    marked = colours.any(axis=-1)
    found = colours[marked]
    if marked.all() or (found != found[0]).any():
        raise ImageError(
            "Has different colours, so that what is a bead is not clear.",
            path,
            "Save the mask in grey: 0 and 255, or one number per bead.",
        )
    return np.where(marked, np.uint8(255), np.uint8(0))
