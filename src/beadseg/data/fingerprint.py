"""What a dataset's images and annotations are like, so that a training can be planned from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage

from beadseg.config.base import Config
from beadseg.data.dataset import Decoded
from beadseg.data.masks import label_objects
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beadseg.data.dataset import Dataset, Target

MIN_AREA = 4
"""Smaller specks are not beads, px."""
ASPECT = 1.34
"""Largest ratio of the sides of a single bead's bounding box."""
FILL = (0.75, 1.25)
"""Area of a single bead over that of the ellipse in its bounding box."""
RING = (2, 4)
"""The surroundings of beads: distance from them, px, where soft edges have ended."""
ENOUGH = 5
"""A field of view with fewer single beads says little about their diameter."""


class Fingerprint(Config):
    """A dataset in numbers; every plane of a stack counts as an image."""

    samples: int
    """Number of samples."""
    fields: int
    """Number of fields of view."""
    bead_diameter_px: float
    """Equivalent diameter of single beads, px: median per field of view, then over fields."""
    objects: int
    """Objects in all annotations."""
    objects_per_image_min: int
    """Fewest objects in an image."""
    objects_per_image_median: float
    """Median of the objects per image."""
    objects_per_image_max: int
    """Most objects in an image."""
    positive_ratio: float
    """Share of pixels on beads, ignored ones left out."""
    positive_ratio_max: float
    """Largest share of pixels on beads in one image."""
    objects_per_mpx_min: float
    """Fewest objects per million pixels in one image."""
    objects_per_mpx_max: float
    """Most objects per million pixels in one image."""
    polarity: Literal["dark", "bright"]
    """Whether beads are darker or brighter than what surrounds them, in most fields of view."""
    contrast: float
    """Brightness of beads less that of their surroundings, over the image's range; median over fields."""
    bit_depth: int
    """Bits per value of the widest image."""
    channels: int
    """Channels of the image that has most."""
    height_min: int
    """Smallest height, px."""
    height_median: float
    """Median height, px."""
    width_min: int
    """Smallest width, px."""
    width_median: float
    """Median width, px."""
    pixel_size_um: float | None
    """Median pixel size, µm, of the images that tell one."""


@dataclass(frozen=True)
class _Plane:
    """One annotated image in numbers."""

    field: str
    shape: tuple[int, int, int]
    bits: int
    objects: int
    positive: int
    pixels: int
    diameters: tuple[float, ...]
    single: tuple[float, ...]
    contrast: float | None


def fingerprint(
    dataset: Dataset, on_event: OnEvent = ignore, stop: StopFlag | None = None, decoded: Decoded | None = None
) -> Fingerprint:
    """Look at every annotated image of `dataset`; `decoded` may know what its files hold.

    Raises
    ------
    InputError
        Nothing is annotated as a bead.
    ImageError
        A file cannot be read, or does not fit its image.
    Cancelled
        `stop` was set.
    """
    decoded = decoded or Decoded()
    planes: list[_Plane] = []
    pixel_sizes: list[float] = []
    for sample in track(dataset.samples, "fingerprint", len(dataset), on_event, stop):
        pixel_size, annotated = decoded.read(sample)
        planes += [_measure(sample.field, pixels, target) for _, pixels, target in annotated]
        pixel_sizes += [] if pixel_size is None else [pixel_size]
    counts = [plane.objects for plane in planes]
    if not any(counts):
        raise InputError("No bead is annotated in any sample.", dataset.root, "Check the masks: 0 is background.")
    densities = [1e6 * plane.objects / max(1, plane.pixels) for plane in planes]
    contrast = _over_fields(planes, lambda plane: () if plane.contrast is None else (plane.contrast,), 1) or 0.0
    single = _over_fields(planes, lambda plane: plane.single, ENOUGH)
    diameter = single or _over_fields(planes, lambda plane: plane.single or plane.diameters, 1)
    return Fingerprint(
        samples=len(dataset),
        fields=len(dataset.fields),
        bead_diameter_px=round(diameter or 1.0, 3),
        objects=sum(counts),
        objects_per_image_min=min(counts),
        objects_per_image_median=float(median(counts)),
        objects_per_image_max=max(counts),
        positive_ratio=sum(plane.positive for plane in planes) / max(1, sum(plane.pixels for plane in planes)),
        positive_ratio_max=max(plane.positive / max(1, plane.pixels) for plane in planes),
        objects_per_mpx_min=min(densities),
        objects_per_mpx_max=max(densities),
        polarity="dark" if contrast <= 0 else "bright",
        contrast=round(contrast, 4),
        bit_depth=max(plane.bits for plane in planes),
        channels=max(plane.shape[0] for plane in planes),
        height_min=min(plane.shape[1] for plane in planes),
        height_median=float(median(plane.shape[1] for plane in planes)),
        width_min=min(plane.shape[2] for plane in planes),
        width_median=float(median(plane.shape[2] for plane in planes)),
        pixel_size_um=median(pixel_sizes) if pixel_sizes else None,
    )


def _over_fields(planes: list[_Plane], values: Callable[[_Plane], Iterable[float]], enough: int) -> float | None:
    """Return the median over fields of view of their medians; fields with fewer than `enough` values do not count."""
    by_field: dict[str, list[float]] = {}
    for plane in planes:
        by_field.setdefault(plane.field, []).extend(values(plane))
    medians = [median(found) for found in by_field.values() if len(found) >= enough]
    return float(median(medians)) if medians else None


def _measure(field: str, pixels: np.ndarray, target: Target) -> _Plane:
    labels = label_objects(target.foreground) if target.labels is None else target.labels
    counted = np.ones(labels.shape, bool) if target.ignore is None else ~target.ignore
    number = np.unique(labels[counted & (labels > 0)], return_inverse=True)[1].max(initial=-1) + 1
    if target.points is not None and target.labels is None:
        number = len(target.points)
    diameters, single = _diameters(np.where(counted, labels, 0))
    channels, height, width = pixels.shape
    return _Plane(
        field=field,
        shape=(channels, height, width),
        bits=8 * pixels.dtype.itemsize,
        objects=int(number),
        positive=int(np.count_nonzero(target.foreground & counted)),
        pixels=int(np.count_nonzero(counted)),
        diameters=tuple(diameters.tolist()),
        single=tuple(single.tolist()),
        contrast=_contrast(pixels, target.foreground & counted, counted),
    )


def _diameters(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the equivalent diameters, px, of all objects, and of the roundish ones inside the image."""
    values, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (1 if values[0] > 0 else 0)
    areas = np.bincount(compact.ravel())[1:]
    boxes = [box for box in ndimage.find_objects(compact) if box is not None]
    if not boxes:
        return np.empty(0), np.empty(0)
    edges = np.array([[s.start, s.stop] for box in boxes for s in box]).reshape(-1, 2, 2)
    sides = edges[:, :, 1] - edges[:, :, 0]
    inside = (edges[:, :, 0] > 0).all(axis=1) & (edges[:, :, 1] < np.array(labels.shape)).all(axis=1)
    fill = areas / (math.pi / 4 * sides.prod(axis=1))
    round_ = (sides.max(axis=1) <= ASPECT * sides.min(axis=1)) & (fill >= FILL[0]) & (fill <= FILL[1])
    diameters = 2 * np.sqrt(areas / math.pi)
    large = areas >= MIN_AREA
    return diameters[large], diameters[large & inside & round_]


def beads_and_ring(grey: np.ndarray, foreground: np.ndarray, counted: np.ndarray) -> tuple[float, float] | None:
    """Return the mean brightness of beads and of a ring around them; None without either: who is dark, who is bright.

    Parameters
    ----------
    grey : (Y, X), any real dtype
        Brightness.
    foreground, counted : (Y, X) bool
        Pixels of beads, and those that are looked at.
    """
    near, far = RING
    distance = ndimage.distance_transform_cdt(~foreground, "chessboard") if foreground.any() else None
    if distance is None:
        return None
    ring = (distance >= near) & (distance <= far) & counted
    if not ring.any():
        return None
    return float(grey[foreground].mean(dtype=np.float64)), float(grey[ring].mean(dtype=np.float64))


def _contrast(pixels: np.ndarray, foreground: np.ndarray, counted: np.ndarray) -> float | None:
    """Return how much brighter beads are than a ring around them, as a share of the image's range."""
    grey = pixels.mean(axis=0, dtype=np.float64)
    span = float(grey.max()) - float(grey.min())
    means = beads_and_ring(grey, foreground, counted) if span > 0 else None
    return None if means is None else (means[0] - means[1]) / span
