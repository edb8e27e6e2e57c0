"""Pictures inside a page: bounded in size, and part of the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SIDE = 1024
"""Longer sides are scaled down to this, px."""
QUALITY = 88
"""Of the JPEG, without colour subsampling, so that coloured lines of one pixel stay as they are."""


@dataclass(frozen=True)
class Picture:
    """An encoded picture with its text; make one with `picture_of`.

    Attributes
    ----------
    data : bytes
        The encoded file.
    mime : str
        Its kind, e.g. ``image/jpeg``.
    width, height : int
        Its size, px.
    title, caption : str
        In bold above, and one sentence below; shown escaped.
    """

    data: bytes
    mime: str
    width: int
    height: int
    title: str = ""
    caption: str = ""

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` URI."""
        return f"data:{self.mime};base64,{base64.b64encode(self.data).decode('ascii')}"


def picture_of(
    pixels: NDArray[np.uint8], title: str = "", caption: str = "", *, side: int = MOST_SIDE, lossless: bool = False
) -> Picture:
    """Encode pixels for a page.

    Parameters
    ----------
    pixels : (Y, X) or (Y, X, 3) uint8
        Grey or RGB.
    title, caption : str
        What is above and below it.
    side : int
        Longer sides are scaled down to this, px, by averaging.
    lossless : bool
        PNG instead of JPEG: several times larger.

    Raises
    ------
    InputError
        The array is not such a picture.
    """
    if pixels.dtype != np.uint8 or pixels.size == 0 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim not in (2, 3):
        raise InputError(f"An array of shape {pixels.shape} and dtype {pixels.dtype} is not a picture for a page.")
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((side, side), Image.Resampling.BOX)
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    mime = "image/png" if lossless else "image/jpeg"
    return Picture(buffer.getvalue(), mime, image.width, image.height, title, caption)
