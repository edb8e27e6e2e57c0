"""The image with the outlines of what was found: the first thing to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

OUTLINE_RGB = (255, 176, 0)
"""Amber of the IBM colour-blind-safe palette: told from grey, blue and green with any colour vision."""

STRETCH_PERCENTILES = (0.5, 99.5)
"""Grey values that become black and white, per cent."""

STRETCH_SAMPLE = 4
"""Step between rows and columns that percentiles are taken from: the same to the eye, in a sixteenth of the time."""


def overlay(
    image: NDArray[np.generic],
    labels: NDArray[np.integer],
    *,
    colour: tuple[int, int, int] = OUTLINE_RGB,
    caption: str = "",
) -> NDArray[np.uint8]:
    """Draw the outlines of beads over an image.

    Parameters
    ----------
    image : (Y, X), (1, Y, X) or (3, Y, X), any real dtype
        Grey or RGB; its contrast is stretched, all channels alike. Of other numbers of channels the first is shown.
    labels : (Y, X) integer
        Instances; 0 is background.
    colour : (R, G, B)
        Of the outlines, 0 to 255.
    caption : str
        Written in the upper left corner, e.g. the count.

    Returns
    -------
    (Y, X, 3) uint8
        The outline is the outermost pixel of each bead, inside it, so that touching beads stay two.

    Raises
    ------
    InputError
        Image and labels differ in size.
    """
    channels = image[None] if image.ndim == 2 else image
    if channels.ndim != 3 or channels.shape[1:] != labels.shape:
        raise InputError(f"An image of shape {image.shape} cannot be laid under labels of shape {labels.shape}.")
    picture = _stretched(channels)
    picture[outlines(labels)] = colour
    return _captioned(picture, caption) if caption else picture


def outlines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return (Y, X) bool, True on pixels of objects that touch (4-connected) another object or the background.

    An object cut by the image's border is open there: its outline goes on outside.
    """
    edge = np.zeros(labels.shape, dtype=np.bool_)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    edge &= labels != 0
    return edge


def _stretched(channels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return (C, Y, X) as (Y, X, 3) uint8 between two percentiles; not finite values are black."""
    shown = channels if channels.shape[0] == 3 else channels[:1]
    sample = shown[:, ::STRETCH_SAMPLE, ::STRETCH_SAMPLE].astype(np.float64)
    finite = sample[np.isfinite(sample)]
    low, high = np.percentile(finite, STRETCH_PERCENTILES) if finite.size else (0.0, 1.0)
    span = high - low if high > low else 1.0
    picture = np.empty((*shown.shape[1:], 3), dtype=np.uint8)
    for index, channel in enumerate(shown):
        scaled = np.clip((channel.astype(np.float32) - np.float32(low)) * np.float32(255 / span), 0, 255)
        picture[..., index] = np.nan_to_num(scaled)
    if len(shown) == 1:
        picture[..., 1:] = picture[..., :1]
    return picture


def _captioned(picture: NDArray[np.uint8], caption: str) -> NDArray[np.uint8]:
    """Write `caption` in the upper left corner, black on white."""
    from PIL import Image, ImageDraw, ImageFont

    canvas = Image.fromarray(picture)
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=max(10, min(picture.shape[:2]) // 32))
    left, top, right, bottom = draw.textbbox((0, 0), caption, font=font)
    pad = max(2, int(bottom - top) // 3)
    draw.rectangle((0, 0, right - left + 2 * pad, bottom - top + 2 * pad), fill="white")
    draw.text((pad - left, pad - top), caption, fill="black", font=font)
    return np.asarray(canvas).copy()
