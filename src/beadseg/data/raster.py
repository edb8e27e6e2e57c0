"""PNG, JPEG and BMP files.

Read by Pillow (what imageio uses beneath): it tells size and mode before it decodes, and leaves a palette's indices
alone. Pillow cuts 16-bit colour PNGs to 8 bit, so those are decoded by imagecodecs. Pixels are turned as an orientation
tag (EXIF) says, once and here: annotation tools and viewers do so, and their coordinates are those of the turned image.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from beadseg.data.raw import (
    ORIENTATION,
    Raw,
    check_size,
    damaged,
    plausible_pixel_size,
    upright,
    valid_orientation,
)
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("PNG", "JPEG", "BMP")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_GREY_OR_COLOUR = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F")


def read_raster(path: Path) -> Raw:
    """Return the pixels of a PNG, JPEG or BMP file.

    Raises
    ------
    ImageError
        It is damaged, cut short, animated, absurdly large, or no image.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; the size is checked below.
            warnings.simplefilter("ignore")
            with PilImage.open(path, formats=FORMATS) as image:
                return _upright(_decode(image, path), _orientation(image))
    except PilImage.DecompressionBombError:
        limit = 2 * (PilImage.MAX_IMAGE_PIXELS or 0) // 10**6
        raise ImageError(
            f"Claims more than {limit} million pixels.", path, "Save images of that size as TIFF."
        ) from None
    except UnidentifiedImageError:
        raise ImageError("Is not a PNG, JPEG or BMP image, whatever its name says.", path, "Export it again.") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, imagecodecs.DelayedImportError) as error:
        raise damaged(path, error) from None


def _orientation(image: PilImage.Image) -> int:
    """Return the orientation tag, 1 to 8; 1, as stored, where there is none that is valid."""
    try:
        return valid_orientation(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block makes its parser raise nearly anything
        return 1


def _upright(raw: Raw, orientation: int) -> Raw:
    if orientation == 1:
        return raw
    return replace(raw, data=upright(raw.data, raw.axes, orientation), turned=True)


def _decode(image: PilImage.Image, path: Path) -> Raw:
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise ImageError("Is an animated PNG.", path, "Save its frames as a TIFF stack or as single images.")
    check_size((image.height, image.width, len(image.getbands())), np.dtype(np.uint16), path)
    pixel_size = _pixel_size(image)
    if _is_deep_colour(path):
        return _decode_deep(path, pixel_size)
    if image.mode == "P" and "transparency" not in image.info:
        return Raw(np.asarray(image), "YX", palette=_palette(image), pixel_size_um=pixel_size)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode == "CMYK":
        raise ImageError("Holds printing colours (CMYK).", path, "Convert it to RGB or grey.")
    elif image.mode not in _GREY_OR_COLOUR:
        image = image.convert("RGB")
    data = np.array(image)
    alpha = "straight" if image.mode in ("LA", "RGBA") else "none"
    return Raw(_native(data), "YX" if data.ndim == 2 else "YXC", alpha, pixel_size_um=pixel_size)


def _decode_deep(path: Path, pixel_size: float | None) -> Raw:
    try:
        data = imagecodecs.png_decode(path.read_bytes())
    except imagecodecs.PngError as error:
        raise damaged(path, error) from None
    alpha = "straight" if data.ndim == 3 and data.shape[2] in (2, 4) else "none"
    return Raw(_native(data), "YX" if data.ndim == 2 else "YXC", alpha, pixel_size_um=pixel_size)


def _is_deep_colour(path: Path) -> bool:
    """Tell from the header whether it is a PNG of 16 bits with more than one channel."""
    with path.open("rb") as file:
        header = file.read(26)
    return len(header) == 26 and header.startswith(_PNG_MAGIC) and header[24] == 16 and header[25] != 0


def _palette(image: PilImage.Image) -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    stored = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    colours[: len(stored)] = stored
    return colours


def _pixel_size(image: PilImage.Image) -> float | None:
    dpi = image.info.get("dpi", (0, 0))
    try:
        x, y = (25400.0 / float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return plausible_pixel_size(x, y)


def _native(data: np.ndarray) -> np.ndarray:
    return data.astype(data.dtype.newbyteorder("="), copy=False)
