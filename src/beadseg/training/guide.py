"""What a model that counts already tells of annotations: beads inside fused masks, and the areas of points."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from beadseg.data.dataset import Decoded, Target
from beadseg.predict.bead_size import Size
from beadseg.predict.segmenter import Segmenter
from beadseg.predict.separation import needed_diameter
from beadseg.training.targets import foreground_of_points

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config import ObjectConfig, TrainConfig
    from beadseg.data.dataset import Sample
    from beadseg.predict.prediction import Maps

MEASURED = 3
"""Bead sizes are measured in so many images with points, and are those of all others too."""
SPACING = 0.8
"""Where no size is found: bead diameter, share of the median distance of neighbours."""


class Guide:
    """The model that training starts from, asked about annotated planes; the general one where it starts from none.

    Parameters
    ----------
    config : TrainConfig
        A mask is divided by its shape alone where training starts from no model.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.start_from = config.start_from

    @cached_property
    def model(self) -> Segmenter:
        """The model, in fp32, so that it says the same on every machine."""
        segmenter = Segmenter.load("general" if self.start_from == "none" else self.start_from)
        segmenter.options = segmenter.options.replace(precision="fp32")
        return segmenter

    def maps(self, pixels: NDArray[np.generic], diameter: float) -> Maps:
        """Return what the model says of a plane (C, Y, X) whose beads are `diameter` px large."""
        return self.model.maps(pixels, size=Size(diameter))

    def seeds(self, pixels: NDArray[np.generic], target: Target, objects: ObjectConfig) -> NDArray[np.float32] | None:
        """Return the bead centres (N, 2) that divide a mask without ids; None where they are known or not asked for."""
        if self.start_from == "none" or target.labels is not None or target.points is not None:
            return None
        if not target.foreground.any():
            return np.zeros((0, 2), np.float32)
        chosen = self.model.options.objects
        found = self.maps(pixels, needed_diameter(objects)).separated(chosen)
        sure = found.confidence >= max(chosen.min_confidence, chosen.seeds.threshold)
        return np.clip(found.positions[sure], 0, np.array(target.foreground.shape) - 1)

    def completed(self, pixels: NDArray[np.generic], target: Target, objects: ObjectConfig) -> Target:
        """Return an annotation by points with the areas of its beads; any other as it is."""
        if target.areas or target.points is None or target.unsure is not None:
            return target
        return with_areas(target, self.maps(pixels, needed_diameter(objects)), needed_diameter(objects))


def with_areas(target: Target, maps: Maps, diameter: float) -> Target:
    """Return an annotation by points with a foreground as far as `maps` tell it, see `foreground_of_points`."""
    points = np.zeros((0, 2)) if target.points is None else target.points
    foreground, unsure = foreground_of_points(points, maps.probability, diameter)
    return replace(target, foreground=foreground, unsure=unsure)


class Completed(Decoded):
    """Remembers what was read as `Decoded` does, the areas of points being filled in.

    The bead diameter is the median of what the model measures in the first images that have points.
    """

    def __init__(self, room: float, config: TrainConfig) -> None:
        super().__init__(room)
        self._guide, self._given = Guide(config), config.predict.size.diameter
        self._measured: list[float] = []

    def decode(self, sample: Sample) -> tuple[float | None, list[tuple[str, np.ndarray, Target]]]:
        """Read a sample; raises `ImageError`."""
        size, planes = super().decode(sample)
        return size, [(name, pixels, self._filled(pixels, target)) for name, pixels, target in planes]

    def _filled(self, pixels: np.ndarray, target: Target) -> Target:
        if target.areas or target.points is None:
            return target
        if not len(target.points):
            return replace(target, unsure=np.zeros(target.foreground.shape, bool))
        diameter = self._diameter(pixels, target.points)
        return with_areas(target, self._guide.maps(pixels, diameter), diameter)

    def _diameter(self, pixels: np.ndarray, points: np.ndarray) -> float:
        if self._given is not None:
            return self._given
        if len(self._measured) < MEASURED:
            found = self._guide.model.size(pixels).diameter
            self._measured += [spacing(points) if found is None else found]
        return float(median(self._measured))


def spacing(points: np.ndarray) -> float:
    """Return a bead diameter, px, that the distances of neighbours allow."""
    if len(points) < 2:
        return 8.0
    return max(3.0, SPACING * float(np.median(np.asarray(cKDTree(points).query(points, 2)[0])[:, 1])))
