"""What a network learns of one annotated plane: its beads one by one, and the map of their centres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from beadseg.config.centre import GaussianTargetConfig
from beadseg.measure.beads import bead_table
from beadseg.predict.separate import separate
from beadseg.predict.separation import needed_diameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.centre import CentreTargetConfig
    from beadseg.config.predict import ObjectConfig
    from beadseg.data.dataset import Target

_REACH = 3.5
"""Standard deviations after which a Gaussian is left out: 0.002 of its height."""


def instances(target: Target, objects: ObjectConfig) -> NDArray[np.integer]:
    """Return the beads (Y, X) of an annotation, one id each: its own labels, or its mask divided by its shape.

    A mask is divided as a foreground without a centre map would be (`beadseg.predict.separate.separate`), and pieces
    below the smallest area are left out.
    """
    if target.labels is not None:
        return target.labels
    return separate(target.foreground.astype(np.float32), objects).chosen(objects.replace(min_confidence=0.0))


def centres(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the centroids (N, 2) of the ids of a label image (Y, X), px, ascending by id."""
    return bead_table(labels)[["y", "x"]].to_numpy(np.float32)


def centre_map(labels: NDArray[np.integer], config: CentreTargetConfig, objects: ObjectConfig) -> NDArray[np.float16]:
    """Return the centre map (Y, X), 0 to 1, of a label image."""
    if isinstance(config, GaussianTargetConfig):
        return _gaussians(labels.shape, centres(labels), config.sigma * needed_diameter(objects))
    return _distances(labels)


def _gaussians(shape: tuple[int, ...], points: NDArray[np.float32], sigma: float) -> NDArray[np.float16]:
    """Return the highest of the Gaussians around all `points` (N, 2)."""
    reach = math.ceil(_REACH * sigma)
    padded = np.zeros((shape[0] + 2 * reach, shape[1] + 2 * reach), np.float32)
    around = np.arange(-reach, reach + 1)
    ys, xs = (np.rint(points[:, axis]).astype(np.int64)[:, np.newaxis] + around for axis in (0, 1))
    falls = [np.exp(-((at - points[:, axis, np.newaxis]) ** 2) / (2 * sigma**2)) for axis, at in enumerate((ys, xs))]
    heights = falls[0][:, :, np.newaxis] * falls[1][:, np.newaxis, :]
    places = (ys[:, :, np.newaxis] + reach) * padded.shape[1] + xs[:, np.newaxis, :] + reach
    np.maximum.at(padded.reshape(-1), places.ravel(), heights.ravel().astype(np.float32))
    return padded[reach : reach + shape[0], reach : reach + shape[1]].astype(np.float16)


def _distances(labels: NDArray[np.integer]) -> NDArray[np.float16]:
    """Return each pixel's distance to the edge of its own bead, relative to the largest there."""
    result = np.zeros(labels.shape, np.float16)
    ids, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (ids[0] > 0)
    for number, box in enumerate(ndimage.find_objects(compact), start=1):
        if box is not None:
            own = np.pad(compact[box] == number, 1)
            distance = ndimage.distance_transform_edt(own)[1:-1, 1:-1]
            result[box] = np.where(distance > 0, distance / distance.max(), result[box])
    return result
