"""The one definition of an object: pixels of the foreground that touch, also at corners, and are enough of them."""

from __future__ import annotations

import numpy as np
from skimage.measure import label


def label_objects(foreground: np.ndarray, min_area: int = 1) -> np.ndarray:
    """Label the objects of a foreground mask.

    Parameters
    ----------
    foreground : numpy.ndarray
        (Y, X) bool; other dtypes are foreground where they are not 0.
    min_area : int
        Smaller objects are dropped, px.

    Returns
    -------
    numpy.ndarray
        (Y, X) uint32, 0 is background, objects 1, 2, … in the order of their first pixel, row by row.
    """
    labels = equal_regions(np.asarray(foreground) != 0, connectivity=2).astype(np.uint32)
    if min_area <= 1:
        return labels
    return drop_small(labels, min_area)


def drop_small(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Return (Y, X) uint32 labels without objects of fewer than `min_area` px, renumbered without gaps."""
    areas = np.bincount(labels.ravel())
    keep = areas >= min_area
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    return np.asarray(numbers[labels])


def count_objects(foreground: np.ndarray, min_area: int = 1) -> int:
    """Return the number of objects of a (Y, X) foreground mask."""
    return int(label_objects(foreground, min_area).max(initial=0))


def equal_regions(values: np.ndarray, connectivity: int) -> np.ndarray:
    """Find the connected regions of equal value, 0 being background.

    Parameters
    ----------
    values : numpy.ndarray
        Any number of dimensions, bool or int32.
    connectivity : int
        1: neighbours share a side; 2: or a corner; at most the number of dimensions.

    Returns
    -------
    numpy.ndarray
        The same shape, integers, 1, 2, … in storage order.
    """
    return np.asarray(label(values, background=0, connectivity=connectivity))  # type: ignore[no-untyped-call]
