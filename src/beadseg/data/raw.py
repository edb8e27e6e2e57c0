"""What a file holds, before it is decided what that means; and the checks every file passes first."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from beadseg.errors import ImageError
from beadseg.files import printable

if TYPE_CHECKING:
    from pathlib import Path

TIFF_SUFFIXES = (".tif", ".tiff")
RASTER_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
VENDOR_READERS = {".czi": "bioio_czi", ".nd2": "bioio_nd2", ".lif": "bioio_lif"}
"""Packages of the extra ``vendor`` that read the files of microscopes' makers, by suffix."""
VENDOR_SUFFIXES = tuple(suffix for suffix, package in VENDOR_READERS.items() if find_spec(package) is not None)
"""Those of them that can be read here."""
IMAGE_SUFFIXES = (*TIFF_SUFFIXES, *RASTER_SUFFIXES, *VENDOR_SUFFIXES)
"""Suffixes of the files that are read, in lower case."""
ZARR_SUFFIX = ".zarr"
"""Suffix of the folders that are read as one image."""
KNOWN_KINDS = ", ".join((*IMAGE_SUFFIXES, ZARR_SUFFIX))
"""Everything that is read, for messages."""

_MICROSCOPES = {
    *(".czi", ".nd2", ".lif", ".lsm", ".oib", ".oif", ".oir", ".vsi", ".ims", ".dv", ".svs", ".ndpi", ".scn", ".zvi"),
    *(".stk", ".sld", ".mrxs", ".flex", ".mvd2", ".xlef", ".lof", ".zvf", ".ets", ".bif", ".qptiff"),
}
_PICTURES = {
    *(".webp", ".gif", ".heic", ".heif", ".avif", ".jfif", ".jp2", ".jxl", ".jxr", ".psd", ".tga", ".ppm", ".pgm"),
    *(".pbm", ".pnm", ".exr", ".ico", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raw", ".xcf"),
}
_ARRAYS = {".npy", ".npz", ".mat", ".h5", ".hdf5", ".mrc", ".nrrd", ".nii", ".dcm", ".fits"}
_DOCUMENTS = {".pdf", ".doc", ".docx", ".ppt", ".pptx", ".odp", ".odt", ".key"}
_PACKED = {".zip", ".gz", ".bz2", ".xz", ".7z", ".rar", ".tar", ".tgz"}
_ZARR_MARKS = ("zarr.json", ".zattrs", ".zgroup", ".zarray")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)

MAX_BYTES = 16 * 1024**3
"""Largest decoded size read, 16 GiB: above it the header is taken for wrong, or the file for a decompression bomb."""

PLAUSIBLE_PIXEL_UM = (0.005, 20.0)
"""Pixel sizes of microscopes, µm: print resolutions such as 72 or 300 dpi (353 and 85 µm) fall outside."""

_METRES = {"pico": 1e-12, "nano": 1e-9, "micro": 1e-6, "milli": 1e-3, "centi": 1e-2, "deci": 1e-1, "": 1.0, "kilo": 1e3}
_UNITS = {
    **{f"{prefix}meter": metres * 1e6 for prefix, metres in _METRES.items()},
    **{"pm": 1e-6, "å": 1e-4, "angstrom": 1e-4, "ångström": 1e-4, "nm": 1e-3},
    **{"um": 1.0, "µm": 1.0, "µ": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4, "dm": 1e5, "m": 1e6},
    **{"thou": 25.4, "mil": 25.4, "inch": 25400.0, "inche": 25400.0, "in": 25400.0, '"': 25400.0},
}
"""µm in each unit of length, in lower case, singular and American spelling; see `micrometres`."""

ORIENTATION = 0x0112
"""The orientation tag of TIFF and EXIF."""
TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""Quarter turns to the left, and whether it is mirrored left to right afterwards, by the value of the tag."""
QUARTER_TURNS = (5, 6, 7, 8)
"""Values that exchange width and height."""

NOT_UTF8 = "Its name has bytes that are not UTF-8, so that tables and reports cannot name it."
"""What is wrong with a file called, say, ``b\\xff.png``."""


def micrometres(unit: object) -> float | None:
    r"""Return how many µm a unit of length has, however a file or viewer names it; None for pixels and what is unknown.

    Names and symbols, in any case, singular or plural, with either µ: ``µm``, ``um``, ``micron``, ``Micrometers``,
    ``micrometre``, ``nm``, ``mm``, ``inch`` … An ImageJ file's ``\u00B5m`` is µm too.
    """
    name = str(unit).strip().lower().replace("\\u00b5", "µ").replace("\u03bc", "µ").replace("âµ", "µ")
    name = re.sub(r"metre(s?)$", r"meter\1", name)
    known = _UNITS.get(name)
    return _UNITS.get(name[:-1]) if known is None and len(name) > 3 and name.endswith("s") else known


@dataclass(frozen=True, eq=False)
class Raw:
    """Decoded pixels as the file stores them.

    Attributes
    ----------
    data : numpy.ndarray
        Native byte order, any dtype.
    axes : str
        One letter per dimension; in the order ``TZYXC``, colour or grey samples last.
    alpha : {"none", "straight", "premultiplied"}
        What the last sample along C is.
    inverted : bool
        The file says that 0 is white (TIFF photometric ``MinIsWhite``).
    palette : numpy.ndarray or None
        (n, 3) colours that the values are indices into.
    pixel_size_um : float or None
        Side of a pixel, µm.
    imagej : bool
        ImageJ wrote it: its inverting lookup table is a matter of display, and masks are meant as stored.
    turned : bool
        The pixels were turned or mirrored as the file's orientation tag (EXIF) says.
    """

    data: np.ndarray
    axes: str
    alpha: str = "none"
    inverted: bool = False
    palette: np.ndarray | None = field(default=None)
    pixel_size_um: float | None = None
    imagej: bool = False
    turned: bool = False


def valid_orientation(value: object) -> int:
    """Return the value of an orientation tag, 1 to 8; 1, as stored, for any other."""
    return value if isinstance(value, int) and value in TURNS else 1


def upright(data: np.ndarray, axes: str, orientation: int) -> np.ndarray:
    """Return pixels turned as an orientation tag says.

    Parameters
    ----------
    data : numpy.ndarray
        Pixels with the axes `axes`, Y before X.
    axes : str
        One letter per dimension.
    orientation : int
        Value of the tag, 1 to 8 (TIFF 6.0, section 8).
    """
    if orientation == 1:
        return data
    turns, mirrored = TURNS[orientation]
    turned = np.rot90(data, turns, axes=(axes.index("Y"), axes.index("X")))
    return np.ascontiguousarray(np.flip(turned, axes.index("X")) if mirrored else turned)


def kind_of(path: Path) -> str:
    """Return the kind of a file as people name it: its suffix in lower case, ``.zarr.zip``, or ``(none)``."""
    kinds = [suffix.lower() for suffix in path.suffixes[-2:]]
    return "".join(kinds) if kinds[-1:] == [".zip"] and kinds[:1] == [ZARR_SUFFIX] else path.suffix.lower() or "(none)"


def is_picture_kind(kind: str) -> bool:
    """Tell whether files of this kind usually hold pictures that are not read as they are."""
    return kind.endswith(".zip") or kind in _MICROSCOPES | _PICTURES | _ARRAYS | _DOCUMENTS | _PACKED


def conversion(kind: str) -> str:
    """Return in one sentence what to do with files of a kind that is not read."""
    if kind in VENDOR_READERS:
        return 'Export them as OME-TIFF, or install what reads them: pip install "beadseg[vendor]".'
    if kind in _MICROSCOPES:
        return "Export them as OME-TIFF, for example by Bio-Formats in Fiji."
    if kind in _PICTURES | _ARRAYS:
        return "Save them as PNG or TIFF."
    if kind in _DOCUMENTS:
        return "Export the original images from the microscope's program."
    if kind in _PACKED or kind.endswith(".zip"):
        return "Unpack them."
    return f"Convert them to one of {KNOWN_KINDS}."


def is_zarr(path: Path) -> bool:
    """Tell whether `path` is a folder named ``*.zarr``, or one with Zarr metadata (a group inside)."""
    try:
        return path.is_dir() and (
            path.suffix.lower() == ZARR_SUFFIX or any((path / name).is_file() for name in _ZARR_MARKS)
        )
    except OSError:  # a folder that may not be entered
        return False


def refuse_address(path: Path) -> None:
    """Raise `ImageError` for an address on the network (``https://…``, ``s3://…``) in place of a path."""
    if _ADDRESS.match(str(path)) and not path.exists():
        raise ImageError("Is an address on the network; images are read from disks only.", path, "Download it first.")


def check_file(path: Path) -> None:
    """Raise `ImageError` unless `path` is an OME-Zarr folder, or a non-empty file of a suffix that is read.

    Its name must be one that can be written.
    """
    if printable(path) != str(path):
        raise ImageError(NOT_UTF8, printable(path), "Rename it.")
    refuse_address(path)
    if is_zarr(path):
        return
    try:
        if path.is_dir():
            raise ImageError("Is a folder, not an image file.", path, "Give the path of a file.")
        size = path.stat().st_size
    except FileNotFoundError:
        if path.is_symlink():
            text = f"Is a link to a file that is not there ({printable(path.readlink())})."
            raise ImageError(text, path, "Copy the file itself, or correct the link.") from None
        raise ImageError("No such file.", path, "Check the path.") from None
    except OSError as error:
        raise ImageError(f"Cannot be opened: {error.strerror}.", path, "Check the path and its permissions.") from None
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        kind = kind_of(path)
        raise ImageError(f"Files of the kind {kind!r} are not read.", path, conversion(kind))
    if size == 0:
        raise ImageError("The file is empty (0 bytes).", path, "Export it again from its source.")


def check_size(shape: tuple[int, ...], dtype: np.dtype, path: Path) -> None:
    """Raise `ImageError` when an array of that shape has no pixels or is absurdly large."""
    if not shape or min(shape) == 0:
        raise ImageError(f"Holds no pixels (shape {shape}).", path, "Export it again from its source.")
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        claim = f"{'x'.join(map(str, shape))} values, {size / 1024**3:.0f} GiB"
        text = f"Claims {claim}; at most {MAX_BYTES // 1024**3} GiB are read."
        raise ImageError(text, path, "If that is its true size, cut it into parts; else export it again.")


def plausible_pixel_size(x_um: float, y_um: float) -> float | None:
    """Return the side of a square of the pixel's area, µm; None where it cannot be a microscope's."""
    if not (math.isfinite(x_um) and math.isfinite(y_um) and x_um > 0 and y_um > 0):
        return None
    side = math.sqrt(x_um * y_um)
    low, high = PLAUSIBLE_PIXEL_UM
    return side if low <= side <= high else None


def damaged(path: Path, detail: object) -> ImageError:
    """Return the error of a file that its decoder cannot read."""
    text = " ".join(str(detail).split()).rstrip(".") or type(detail).__name__
    return ImageError(
        f"Cannot be decoded; it is damaged, cut short, or no image ({text}).", path, "Export it again from its source."
    )
