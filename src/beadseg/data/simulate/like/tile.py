"""One image, prepared for measuring: its ground, how far its pixels lie off it, and the beads found in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from beadseg.data.simulate.like import colour, detect, ground
from beadseg.data.simulate.like.stamps import FADE, radius

BARE = 1.8
"""Ground is bare from this distance to beads on, in their diameters."""
BLOB = 6.0
"""A place off the ground by this many robust standard deviations that is not a bead is debris …"""
BLOB_CONTRAST = 0.03
"""… when it differs from the ground by this share at least …"""
BLOB_AREA = 0.6
"""… and is this large at least, in areas of a bead."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tile:
    """One image to measure on.

    Attributes
    ----------
    name : str
        Sample's name.
    image : numpy.ndarray
        (C, Y, X) float64, 8-bit grey levels.
    light : numpy.ndarray
        (C, 10) the ground's polynomial.
    off : numpy.ndarray
        (C, Y, X) density.
    found : detect.Peaks
        All maxima above the noise.
    annotated : numpy.ndarray
        (N,) heights of the maxima that the annotation names.
    """

    name: str
    image: Floats
    light: Floats
    off: Floats
    found: detect.Peaks
    annotated: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px."""
        return int(self.image.shape[1]), int(self.image.shape[2])

    def beads(self, usual: float) -> detect.Peaks:
        """Return the maxima that are beads, where beads usually have this height."""
        return self.found.at_least(detect.WEAK * usual)

    def residual(self) -> Floats:
        """Return brightness and colour differences (C, Y, X) less those of the ground."""
        return colour.to_ycc(self.image - ground.surface(self.light, self.shape))


def prepare(name: str, image: Floats, foreground: NDArray[np.bool_], sign: float, diameter: float) -> Tile:
    """Return an image (C, Y, X) and its annotation (Y, X) as a `Tile`."""
    light = ground.fit(image, sign)
    off = ground.density(image, ground.surface(light, (image.shape[1], image.shape[2])), sign)
    found = detect.peaks(off, diameter)
    return Tile(name, image, light, off, found, detect.usual_height(found, foreground, diameter))


def alone(tile: Tile, beads: detect.Peaks, diameter: float) -> Floats:
    """Return the centres (N, 2) of beads whose stamp holds nothing else and lies within the image."""
    weak = tile.found.height < beads.height.min(initial=np.inf)
    everything = np.concatenate((beads.centres, tile.found.centres[weak]))
    far = detect.neighbour_distance(everything)[: len(beads.centres)] > (FADE[0] + 1.0) * diameter
    reach = radius(diameter) + 1
    inside = ((beads.centres >= reach) & (beads.centres < np.array(tile.shape) - reach)).all(axis=1)
    return beads.centres[inside & far]


def bare(tile: Tile, beads: detect.Peaks, diameter: float) -> NDArray[np.bool_]:
    """Return where (Y, X) there is nothing but ground: no bead near, and no other maximum."""
    free = np.ones(tile.shape, dtype=bool)
    place = np.clip(np.rint(beads.centres).astype(int), 0, np.array(tile.shape) - 1)
    free[tuple(place.T)] = False
    clear = ndimage.distance_transform_edt(free) > BARE * diameter if len(place) else free
    return np.asarray(clear & ~ndimage.binary_dilation(_dark(tile, diameter), iterations=round(diameter)))


def _dark(tile: Tile, diameter: float) -> NDArray[np.bool_]:
    """Return where (Y, X) something clearly lies off the ground."""
    smooth = ndimage.gaussian_filter(tile.off.mean(axis=0), 0.4 * diameter)
    spread = float(np.subtract(*np.quantile(smooth, (0.25, 0.05)))) / 0.970
    return np.asarray(smooth - np.median(smooth) > max(BLOB * spread, BLOB_CONTRAST))


def debris(tile: Tile, beads: detect.Peaks, diameter: float) -> tuple[Floats, Floats]:
    """Return sizes, px, and contrasts, shares of the ground, of blobs that are not beads, each (N,)."""
    free = np.ones(tile.shape, dtype=bool)
    place = np.clip(np.rint(beads.centres).astype(int), 0, np.array(tile.shape) - 1)
    free[tuple(place.T)] = False
    near = ndimage.distance_transform_edt(free) < diameter if len(place) else ~free
    blobs, count = ndimage.label(_dark(tile, diameter))
    with_beads = np.unique(blobs[near])
    names = np.arange(1, count + 1)
    area = np.bincount(blobs.ravel(), minlength=count + 1)[1:]
    contrast = np.asarray(ndimage.mean(tile.off.mean(axis=0), blobs, names), dtype=np.float64).reshape(-1)
    large = (area >= BLOB_AREA * np.pi / 4 * diameter**2) & ~np.isin(names, with_beads)
    return 2.0 * np.sqrt(area[large] / np.pi), contrast[large]
