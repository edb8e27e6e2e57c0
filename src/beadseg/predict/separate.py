"""From a probability map to instances: threshold, then touching beads cut apart by a seeded watershed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

from beadseg.data.objects import label_objects
from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig


_ROWS = 256
"""Rows whose distances are computed at a time."""


def separate(probability: NDArray[np.float32], config: ObjectConfig) -> NDArray[np.uint32]:
    """Return the instances of a probability map.

    Pixels of at least ``config.threshold`` are foreground; 8-connected objects smaller than ``config.min_area`` are
    dropped; an object with several maxima of its distance transform, more than about a third of a bead diameter apart,
    is divided along the valleys between them (seeded watershed: Beucher and Lantuéjoul 1979; scikit-image).

    Parameters
    ----------
    probability : (Y, X) float32
        Between 0 and 1.
    config : ObjectConfig
        With a diameter (px).

    Returns
    -------
    (Y, X) uint32
        0 is background; ids run from 1 without gaps.
    """
    diameter = needed_diameter(config)
    objects = label_objects(probability >= config.threshold, smallest_area(config))
    if not config.separate or not objects.any():
        return objects
    foreground = objects > 0
    distance = ndimage.gaussian_filter(_distance(foreground), diameter / 14)
    peaks = peak_local_max(
        distance,
        min_distance=max(1, round(diameter * 0.3)),
        labels=objects.view(np.int32),
        exclude_border=False,
    )
    seeds = np.zeros(objects.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts = watershed(np.negative(distance, out=distance), seeds, mask=foreground, connectivity=2)
    return _without_crumbs(parts.astype(np.uint32), objects, smallest_area(config))


def _distance(foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return each pixel's distance to the background, px: SciPy's own, which needs 33 bytes per pixel, in bands."""
    nearest = ndimage.distance_transform_edt(foreground, return_distances=False, return_indices=True)
    out = np.empty(foreground.shape, np.float32)
    columns = np.arange(foreground.shape[1])
    for start in range(0, len(out), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(out)))
        down = (nearest[0, rows] - rows[:, np.newaxis]).astype(np.float64)
        across = (nearest[1, rows] - columns).astype(np.float64)
        out[rows] = np.sqrt(down * down + across * across)
    return out


def _without_crumbs(parts: NDArray[np.uint32], objects: NDArray[np.uint32], least: int) -> NDArray[np.uint32]:
    """Return `parts` renumbered, pieces smaller than `least` dropped unless that would erase their whole object."""
    areas = np.bincount(parts.ravel())
    owner = np.zeros(len(areas), np.int64)
    owner[parts.ravel()] = objects.ravel()
    keep = areas >= least
    saved = np.zeros(int(objects.max()) + 1, bool)
    saved[owner[keep]] = True
    keep |= ~saved[owner]
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    return numbers[parts]


def needed_diameter(config: ObjectConfig) -> float:
    """Return the bead diameter (px); a configuration without one cannot be used yet."""
    if config.diameter is None:
        raise ConfigError("The bead diameter is not known.", "predict.objects.diameter", "Give it in px.")
    return config.diameter


def smallest_area(config: ObjectConfig) -> int:
    """Return the smallest area of an object, px²: the given one, or a quarter of a bead's."""
    if config.min_area is not None:
        return config.min_area
    return max(1, round(math.pi * needed_diameter(config) ** 2 / 16))
