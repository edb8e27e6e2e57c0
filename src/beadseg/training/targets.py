"""What a network learns of one annotated plane: its beads one by one, and the map of their centres.

A model that counts already tells of beads inside fused masks, and of the areas of points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from beadseg.config.train import GaussianTargetConfig
from beadseg.data.dataset import Decoded, Target
from beadseg.data.masks import label_objects
from beadseg.measure.beads import bead_table
from beadseg.measure.scores import visible_objects
from beadseg.model.inputs import chosen_channel
from beadseg.predict.bead_size import Size, encoded
from beadseg.predict.instances import needed_diameter, separate
from beadseg.predict.segmenter import Segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config import ObjectConfig, TrainConfig
    from beadseg.config.train import CentreTargetConfig
    from beadseg.data.dataset import Sample
    from beadseg.data.simulate.looks import Look
    from beadseg.predict.prediction import Maps

_NARROWEST = 0.6
"""Least standard deviation of a centre's Gaussian, px: a narrower one would miss every pixel."""
_REACH = 3.5
"""Standard deviations after which a Gaussian is left out: 0.002 of its height."""

LEAST_AREA, MOST_AREA = 0.55, 1.4
"""Area of a clump per bead in it, single beads: less where beads overlap, more where masks are generous."""

SURELY_BEAD, SURELY_GROUND = 0.3, 0.8
"""Distance from the nearest point, bead diameters, up to which a pixel is bead, and from which it is background."""
LIKELY_BEAD, LIKELY_GROUND = 0.6, 0.25
"""Between the two, a model's probability from which it is bead, and up to which it is background."""

MEASURED = 3
"""Bead sizes are measured in so many images with points, and are those of all others too."""
SPACING = 0.8
"""Where no size is found: bead diameter, share of the median distance of neighbours."""


def instances(target: Target, objects: ObjectConfig) -> NDArray[np.integer]:
    """Return the beads (Y, X) of an annotation, one id each: its own labels, or its mask divided by its shape.

    A mask is divided as a foreground without a centre map would be (`beadseg.predict.instances.separate`), and pieces
    below the smallest area are left out.
    """
    if target.labels is not None:
        return target.labels
    return separate(target.foreground.astype(np.float32), objects).chosen(objects.replace(min_confidence=0.0))


@dataclass(frozen=True, eq=False)
class KnownBeads:
    """The beads of an annotated plane as far as they are known.

    Attributes
    ----------
    labels : (Y, X) integer
        One id per bead, 0 elsewhere.
    centres : (N, 2) float32
        (y, x), px, of the ids in ascending order.
    certain : (Y, X) bool or None
        False where it is not clear how many beads there are; None where all is clear.
    """

    labels: NDArray[np.integer]
    centres: NDArray[np.float32]
    certain: NDArray[np.bool_] | None = None


def known_beads(target: Target, objects: ObjectConfig, seeds: NDArray[np.float32] | None = None) -> KnownBeads:
    """Return the beads of an annotation: its labels, its points, or its mask divided.

    Parameters
    ----------
    target : Target
        The annotation.
    objects : ObjectConfig
        With the bead diameter.
    seeds : (N, 2) float32, optional
        Centres that a model finds in the image. A mask without ids is then divided by them, see `_divided`; by its
        shape alone when not given.
    """
    if target.labels is not None or (target.points is None and seeds is None):
        labels = instances(target, objects)
        return KnownBeads(labels, centres(visible_objects(labels > 0, labels, target.ignore)))
    if target.points is not None:
        return KnownBeads(_nearest(target.foreground, target.points), target.points.astype(np.float32))
    return _divided(target, objects, np.zeros((0, 2), np.float32) if seeds is None else seeds)


def _divided(target: Target, objects: ObjectConfig, seeds: NDArray[np.float32]) -> KnownBeads:
    """Divide a mask by the centres that a model finds inside it, and say where it stays unclear how many there are.

    Each 8-connected component is clear where model and shape find the same number, where the model finds more and the
    area allows them (a compact clump has no waist that its shape could tell), and where the shape is that of one bead
    which the model does not see. All others are not.
    """
    components = label_objects(target.foreground)
    count = int(components.max(initial=0))
    rows, columns = np.rint(seeds).astype(np.int64).T
    owner = components[rows, columns]
    by_model = np.bincount(owner, minlength=count + 1)
    shapes = instances(target, objects)
    ids, first = np.unique(shapes, return_index=True)
    shape_owner = components.reshape(-1)[first[ids > 0]]
    by_shape = np.bincount(shape_owner, minlength=count + 1)
    area = np.bincount(components.reshape(-1), minlength=count + 1) / (math.pi / 4 * needed_diameter(objects) ** 2)
    possible = (LEAST_AREA * by_model <= area) & (area <= MOST_AREA * by_model)
    single = (by_shape == 1) & (by_model <= 1) & ((by_model == 1) | ((area >= LEAST_AREA) & (area <= MOST_AREA)))
    more = ((by_model == by_shape) | ((by_model > by_shape) & possible)) & ~single
    clear = single | more
    clear[0] = True
    found = np.concatenate([centres(shapes)[single[shape_owner]], seeds[(owner > 0) & more[owner]]])
    unclear = ndimage.binary_dilation(~clear[components], iterations=max(1, round(needed_diameter(objects) / 4)))
    certain = ~unclear | (clear[components] & (components > 0))
    labels = _nearest(target.foreground & certain, found)
    if target.ignore is not None:
        found = found[~target.ignore[tuple(np.rint(found).astype(np.int64).T)]]
    return KnownBeads(labels, found.astype(np.float32), certain)


def _nearest(foreground: NDArray[np.bool_], points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return a label image: every pixel of the foreground belongs to the nearest of `points` (N, 2)."""
    labels = np.zeros(foreground.shape, np.int32)
    if len(points):
        labels[foreground] = cKDTree(points).query(np.argwhere(foreground))[1] + 1
    return labels


def foreground_of_points(
    points: NDArray[np.floating], probability: NDArray[np.float32], diameter: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pixels (Y, X) are bead, and of which it is not known, from bead centres and what a model says.

    Parameters
    ----------
    points : (N, 2)
        All beads of the image, (y, x) in px.
    probability : (Y, X) float32
        Of being bead, by a model that has not seen the points.
    diameter : float
        Of the beads, px.
    """
    if not len(points):
        return np.zeros(probability.shape, bool), np.zeros(probability.shape, bool)
    elsewhere = np.ones(probability.shape, bool)
    elsewhere[tuple(np.rint(points).astype(np.int64).T)] = False
    away = ndimage.distance_transform_edt(elsewhere) / diameter
    between = (away > SURELY_BEAD) & (away < SURELY_GROUND)
    bead = (away <= SURELY_BEAD) | (between & (probability >= LIKELY_BEAD))
    return bead, between & ~bead & (probability > LIKELY_GROUND)


def centres(labels: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return the centroids (N, 2) of the ids of a label image (Y, X), px, ascending by id."""
    return bead_table(labels)[["y", "x"]].to_numpy(np.float32)


def centre_map(
    labels: NDArray[np.integer],
    config: CentreTargetConfig,
    objects: ObjectConfig,
    points: NDArray[np.float32] | None = None,
) -> NDArray[np.float16]:
    """Return the centre map (Y, X), 0 to 1, of a label image; its peaks are at `points` (N, 2) or the centroids."""
    if isinstance(config, GaussianTargetConfig):
        peaks = centres(labels) if points is None else points
        return _gaussians(labels.shape, peaks, config.sigma * needed_diameter(objects))
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


class Guide:
    """The model that training starts from, asked about annotated planes; the general one where it starts from none.

    Parameters
    ----------
    config : TrainConfig
        A mask is divided by its shape alone where training starts from no model.
    """

    def __init__(self, config: TrainConfig) -> None:
        self.start_from = config.start_from
        self._channels = config.image.channels

    @cached_property
    def model(self) -> Segmenter:
        """The model, in fp32, so that it says the same on every machine."""
        segmenter = Segmenter.load("general" if self.start_from == "none" else self.start_from)
        segmenter.options = segmenter.options.replace(backend="torch", precision="fp32")
        return segmenter

    def maps(self, pixels: NDArray[np.generic], diameter: float) -> Maps:
        """Return what the model says of a plane (C, Y, X) whose beads are `diameter` px large."""
        return self.model.maps(self.seen(pixels), size=Size(diameter))

    def seen(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the channel that is trained on as a grey plane (1, Y, X) where the training chooses one of several."""
        grey = self.model.config.image.channels.kind == "grey"
        return chosen_channel(pixels, self._channels.index) if grey and self._channels.kind == "single" else pixels

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
            found = self._guide.model.size(self._guide.seen(pixels)).diameter
            self._measured += [spacing(points) if found is None else found]
        return float(median(self._measured))


def spacing(points: np.ndarray) -> float:
    """Return a bead diameter, px, that the distances of neighbours allow."""
    if len(points) < 2:
        return 8.0
    return max(3.0, SPACING * float(np.median(np.asarray(cKDTree(points).query(points, 2)[0])[:, 1])))
