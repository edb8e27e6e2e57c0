"""What one annotated image is like: how full, how many objects and how large, how bright, how clear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from beadseg.config.base import Config
from beadseg.data.objects import label_objects
from beadseg.measure.beads import equivalent_diameter
from beadseg.measure.partial import PartialMask
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.dataset import Sample, Target

RING = (2, 4)
"""The surroundings of beads: distance from the mask, px, where soft edges have ended."""
CLUMP = 1.6
"""Without ids, an object larger than this many times the image's median area counts as several touching beads."""

PARTIAL_COLUMNS = {
    "mask": "verdict",
    "beads_marked": "marked",
    "beads_unmarked": "unmarked",
    "unmarked_share": "unmarked_share",
    "stray_marks": "stray_marks",
    "unmarked_region_share": "region_share",
    "unmarked_region_beads": "region_spots",
    "calibrated_on": "calibrated_on",
    "shift_y": "shift_y",
    "shift_x": "shift_x",
}
"""Columns of the table about partial masks, and the fields of `PartialMask` they hold."""


class ImageStats(Config):
    """One annotated image, or plane of a stack, in numbers."""

    image: str
    """Name of the sample, with the plane's name in a stack."""
    sample: str
    """Name of the sample."""
    field: str
    """Field of view."""
    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    instances: bool
    """Objects are ids of a label image; else 8-connected components of the mask, in which touching beads are one."""
    positive_ratio: float
    """Share of the pixels on beads, ignored ones left out."""
    objects: int
    """Annotated objects."""
    objects_per_mpx: float
    """Objects per million pixels."""
    object_area_px: float | None
    """Median area of an object, px²."""
    object_diameter_px: float | None
    """Diameter of the circle of that area, px."""
    touching: float | None
    """Share of the objects that touch another one. With ids: that have a neighbour of another id (8-connected).
    Without: whose area is more than 1.6 times the image's median, since beads in touch are one object there."""
    brightness: float
    """Mean luminance (BT.601), grey levels of the file."""
    brightness_sd: float
    """Standard deviation of the luminance over the image, grey levels: light, noise and beads together."""
    contrast: float | None
    """Weber contrast of the beads: mean luminance on them less that of a ring 2 to 4 px around the mask, over the
    ring's. Negative for dark beads."""
    partial: PartialMask | None
    """Whether the mask seems to leave beads out; None where it cannot be told."""

    def row(self) -> dict[str, Any]:
        """Return all numbers in one level, for a table."""
        flat = self.model_dump(exclude={"partial"})
        for column, name in PARTIAL_COLUMNS.items():
            flat[column] = None if self.partial is None else getattr(self.partial, name)
        return flat


def image_stats(sample: Sample, plane: str, pixels: NDArray[np.generic], target: Target) -> ImageStats:
    """Measure one plane (C, Y, X) with its annotation; `ImageStats.partial` is left None."""
    labels = label_objects(target.foreground) if target.labels is None else target.labels
    counted = np.ones(labels.shape, bool) if target.ignore is None else ~target.ignore
    labels = np.where(counted, labels, 0)
    ids, areas = np.unique(labels[labels > 0], return_counts=True)
    grey = luminance(pixels)
    size = int(counted.sum())
    median = float(np.median(areas)) if len(ids) else None
    return ImageStats(
        image=f"{sample.name}_{plane}" if plane else sample.name,
        sample=sample.name,
        field=sample.field,
        height=labels.shape[0],
        width=labels.shape[1],
        instances=target.labels is not None,
        positive_ratio=float(np.count_nonzero(target.foreground & counted)) / max(1, size),
        objects=len(ids),
        objects_per_mpx=1e6 * len(ids) / max(1, size),
        object_area_px=median,
        object_diameter_px=None if median is None else float(equivalent_diameter(np.array(median))),
        touching=None if median is None else _touching(labels, areas, median, target.labels is not None),
        brightness=float(grey.mean(dtype=np.float64)),
        brightness_sd=float(grey.std(dtype=np.float64)),
        contrast=_contrast(grey, target.foreground & counted, counted),
        partial=None,
    )


def _touching(labels: NDArray[np.integer], areas: NDArray[np.integer], median: float, instances: bool) -> float:
    if not instances:
        return float((areas > CLUMP * median).mean())
    height, width = labels.shape
    touching: set[int] = set()
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = labels[: height - down, max(0, -across) : width - max(0, across)]
        there = labels[down:, max(0, across) : width + min(0, across)]
        pairs = (here != there) & (here > 0) & (there > 0)
        touching.update(np.unique(here[pairs]).tolist(), np.unique(there[pairs]).tolist())
    return len(touching) / len(areas)


def _contrast(grey: NDArray[np.float32], beads: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float | None:
    if not beads.any():
        return None
    distance = ndimage.distance_transform_cdt(~beads, "chessboard")
    ring = (distance >= RING[0]) & (distance <= RING[1]) & counted
    around = float(grey[ring].mean(dtype=np.float64)) if ring.any() else 0.0
    return float(grey[beads].mean(dtype=np.float64)) / around - 1.0 if around > 0 else None
