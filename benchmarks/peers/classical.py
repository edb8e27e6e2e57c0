"""Detectors without a network of their own, each tuned on training tiles: the best of a grid by mean F1."""

from __future__ import annotations

import itertools
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage
from skimage.feature import blob_log, peak_local_max
from skimage.segmentation import watershed

from beadseg.data.masks import label_objects
from beadseg.measure.beads import bead_table
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Centres = NDArray[np.float64]
    Score = Callable[[Callable[[Any], Centres]], float]

GROUND_WINDOW = 31
"""Side of the median filter whose result is taken for the ground, px: several bead diameters."""
BLOB_GRID = {
    "sigma": ((1.8, 1.8, 1), (2.1, 2.1, 1), (2.4, 2.4, 1), (2.0, 2.8, 3)),
    "threshold": (0.06, 0.08, 0.1, 0.13),
    "overlap": (0.5, 0.8, 0.95),
}
"""Smallest and largest sigma with their number; absolute threshold; overlap from which the smaller blob is dropped."""
TRACKPY_GRID = {
    "diameter": (5, 7, 9),
    "minmass": (0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0),
    "separation": (3.5, 5.0),
}
"""Odd feature size, px; least integrated brightness, in units of the ground; least distance of two features, px."""
WATERSHED_GRID = {"smoothing": (0.0, 0.5, 1.0), "distance": (1, 2, 3)}
"""Sigma of the smoothing of the distance transform, px; least distance of two seeds, px."""


def darkness(pixels: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return how much darker than the ground every pixel is, relative to the ground, (Y, X) from (C, Y, X)."""
    grey = np.asarray(luminance(pixels), np.float64)
    coarse = ndimage.zoom(ndimage.percentile_filter(grey[::4, ::4], 70, GROUND_WINDOW // 2), 4, order=1)
    ground = coarse[: grey.shape[0], : grey.shape[1]]
    return 1.0 - grey / ground


def blobs(image: NDArray[np.float64], sigma: tuple[float, float, int], threshold: float, overlap: float) -> Centres:
    """Find beads with the Laplacian of Gaussian of scikit-image; (N, 2) centres."""
    found = blob_log(
        image, min_sigma=sigma[0], max_sigma=sigma[1], num_sigma=sigma[2], threshold=threshold, overlap=overlap
    )
    return np.asarray(found[:, :2], np.float64).reshape(-1, 2)


def features(image: NDArray[np.float64], diameter: int, minmass: float, separation: float) -> Centres:
    """Find beads with ``locate`` of trackpy; (N, 2) centres."""
    import trackpy

    logging.getLogger("trackpy").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of every image without features
        found = trackpy.locate(
            np.clip(image, 0, None), diameter, minmass=minmass, separation=separation, preprocess=True
        )
    return found[["y", "x"]].to_numpy(np.float64).reshape(-1, 2)


def components(foreground: NDArray[np.bool_], least: int) -> Centres:
    """Return the centroids of the 8-connected components of at least `least` px."""
    return bead_table(label_objects(foreground, least))[["y", "x"]].to_numpy(np.float64)


def divided(foreground: NDArray[np.bool_], least: int, smoothing: float, distance: int) -> Centres:
    """Return the centroids of a watershed on the distance transform, as scikit-image's own example has it."""
    objects = label_objects(foreground, least)
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(objects > 0), smoothing)
    peaks = peak_local_max(depth, min_distance=distance, labels=(objects > 0).astype(int), exclude_border=False)
    seeds = np.zeros(objects.shape, int)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return bead_table(watershed(-depth, seeds, mask=objects > 0))[["y", "x"]].to_numpy(np.float64)


def best(
    find: Callable[..., Centres], grid: dict[str, Sequence[Any]], score: Score, prepared: Callable[[Any], Any]
) -> dict[str, Any]:
    """Return the parameters of `grid` with the highest score of ``tile -> find(prepared(tile), **parameters)``."""
    tried = []
    for values in itertools.product(*grid.values()):
        parameters = dict(zip(grid, values, strict=True))
        tried.append((score(lambda tile, p=parameters: find(prepared(tile), **p)), parameters))
    return max(tried, key=lambda pair: pair[0])[1]
