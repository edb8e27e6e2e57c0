"""What a network learns of one annotated plane: its beads one by one, and the map of their centres."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from beadseg.config.centre import GaussianTargetConfig
from beadseg.measure.beads import bead_table
from beadseg.predict.bead_size import encoded
from beadseg.predict.separate import separate
from beadseg.predict.separation import needed_diameter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.centre import CentreTargetConfig
    from beadseg.config.predict import ObjectConfig
    from beadseg.data.dataset import Target
    from beadseg.data.simulate.looks import Look

_NARROWEST = 0.6
"""Least standard deviation of a centre's Gaussian, px: a narrower one would miss every pixel."""
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


def look_target(look: Look, known: float, sigma: float) -> NDArray[np.float16]:
    """Return what a network with all three heads learns of a simulated image.

    Parameters
    ----------
    look : Look
        The image with its beads.
    known : float
        Bead diameter that the network works at, px.
    sigma : float
        Standard deviation of the Gaussian at a centre, share of that bead's own diameter.

    Returns
    -------
    (4, Y, X) float16
        Foreground, centre map, size (`beadseg.predict.bead_size.encoded`; 0 where there is no bead), and which pixels
        count (1) or are ignored (0).
    """
    target = np.zeros((4, *look.labels.shape), np.float16)
    target[0] = look.labels > 0
    peaks = np.zeros(look.labels.shape, np.float32)
    for (y, x), diameter in zip(look.centres, look.diameters, strict=True):
        width = max(sigma * float(diameter), _NARROWEST)
        reach = math.ceil(_REACH * width)
        rows = slice(max(round(float(y)) - reach, 0), round(float(y)) + reach + 1)
        columns = slice(max(round(float(x)) - reach, 0), round(float(x)) + reach + 1)
        part = peaks[rows, columns]
        down = np.exp(-((np.arange(rows.start, rows.start + part.shape[0]) - y) ** 2) / (2 * width**2))
        across = np.exp(-((np.arange(columns.start, columns.start + part.shape[1]) - x) ** 2) / (2 * width**2))
        np.maximum(part, down[:, None] * across, out=part)
    target[1] = peaks
    sizes = np.concatenate(([0.0], encoded(look.diameters, known)))
    target[2] = np.append(sizes, 0.0)[np.minimum(look.labels, len(sizes))]
    target[3] = ~look.ignore
    return target


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
