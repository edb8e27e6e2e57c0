"""Beads without a network: what is convex and stands out, cut apart where it touches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from beadseg.annotation.draft.look import BLUR, BeadLook, relative, typical_response
from beadseg.annotation.draft.scale_space import laplacian
from beadseg.config import ObjectConfig
from beadseg.predict.separate import separate

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.35
"""A bead's pixels reach this share of the contrast that bead centres typically have in the image."""
EDGE_SCALE = 0.4
"""Edges are looked for at this share of the beads' own scale: narrow enough to part beads that touch."""
SMALLEST_EDGE_PX = 2.0
"""But never at a smaller scale than of a disk of this diameter: below it is noise."""
WEAKEST = 0.25
"""Beads of an image may be this much weaker than the folder's typical one."""


def find_beads(plane: NDArray[np.generic], look: BeadLook) -> NDArray[np.uint32]:
    """Label the beads of a plane.

    Foreground is where the image curves inwards (the zero crossings of the Laplacian are edges: Marr and Hildreth
    1980) and stands out by `LEVEL` of the contrast at bead centres; `beadseg.predict.separate` divides what still
    touches.

    Parameters
    ----------
    plane : (C, Y, X)
        Pixels of one image.
    look : BeadLook
        Size and polarity of the beads.

    Returns
    -------
    (Y, X) uint32
        0 is background; ids run from 1. All 0 where no bead stands out.
    """
    values = relative(plane)
    if look.polarity == "bright":
        values = -values
    scale = look.diameter_px / BLUR
    response = laplacian(values, scale)
    peaks = response == ndimage.maximum_filter(response, size=2 * max(1, round(scale / 3)) + 1)
    peaks &= response > WEAKEST * look.response
    strong = peaks & (response > typical_response(response[peaks]) / 2)
    if not strong.any():
        return np.zeros(values.shape, np.uint32)
    contrast = -ndimage.gaussian_filter(values, max(0.5, scale / 14))
    inside = laplacian(values, max(SMALLEST_EDGE_PX, EDGE_SCALE * scale)) > 0
    beads = inside & (contrast > LEVEL * float(np.median(contrast[strong])))
    objects = ObjectConfig(diameter=look.diameter_px)
    return separate(beads.astype(np.float32), objects).chosen(objects)
