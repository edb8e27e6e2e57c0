"""What is in a simulated image: where the beads lie, what a bead looks like, and things that are not beads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.special import expit, i0e

from beadseg.errors import InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.data.simulate.config import SceneConfig

ROUNDS = 400
"""Attempts to find room for the beads that are left."""

Floats = NDArray[np.float64]
Proposal = Callable[[NDArray[np.intp]], NDArray[np.float64]]

CHUNK = 1024
"""Beads drawn in one step: bounds the memory."""
BLURS: NDArray[np.float64] = np.geomspace(0.04, 8.0, 96)
"""Sigmas of the tabulated profiles, in radii of the bead."""
REACH = 4.0
"""Blur sigmas after which a bead has no more effect."""
RING_RADIUS, RING_WIDTH = 1.55, 0.25
"""Radius and sigma of the first diffraction ring, in radii of the bead."""
SAMPLES = 400
"""Radii in a tabulated profile."""


@dataclass(frozen=True, eq=False)
class Beads:
    """Bead centres and diameters, px, each (N,) float64; a later bead lies on top of an earlier one."""

    y: Floats
    x: Floats
    diameter: Floats

    def __len__(self) -> int:
        return len(self.y)


def place(config: SceneConfig, rng: np.random.Generator) -> Beads:
    """Draw the beads of one image by random sequential insertion.

    Beads to be placed alone are drawn uniformly; each of the others is set beside a random one that is already there. A
    bead that would overlap any by more than `SceneConfig.max_overlap` is drawn again.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    wanted = int(rng.poisson(config.beads)) if config.poisson else round(config.beads)
    diameter = _diameters(config, wanted, rng)
    if wanted > (most := _most(config, diameter)):
        raise _no_room(config, most, wanted)
    clustered = rng.random(wanted) < config.cluster_probability
    if wanted:
        clustered[0] = False
    order = np.argsort(clustered, kind="stable")
    beads = _Insertion(config, diameter[order], rng)
    alone = int(np.count_nonzero(~clustered))
    beads.fill(alone, beads.anywhere)
    beads.fill(wanted, beads.beside_another)
    shuffled = rng.permutation(wanted)
    centres = beads.centres[shuffled]
    return Beads(centres[:, 0], centres[:, 1], beads.diameter[shuffled])


def _diameters(config: SceneConfig, count: int, rng: np.random.Generator) -> Floats:
    mean = config.diameter_px
    drawn = rng.normal(mean, config.diameter_spread * mean, count)
    return np.clip(drawn, max(0.5 * mean, 1.5), 2.0 * mean)


def _most(config: SceneConfig, diameter: Floats) -> int:
    """Return how many beads fit at most, packed hexagonally: beyond that, trying takes memory for nothing."""
    spacing = (1.0 - config.max_overlap) * float(diameter.min(initial=config.diameter_px))
    if spacing <= 0:
        return len(diameter)
    return int((config.height + spacing) * (config.width + spacing) / (np.sqrt(3) / 2 * spacing**2)) + 1


def _no_room(config: SceneConfig, room: int, wanted: int) -> InputError:
    return InputError(
        f"There is room for {plural(room, 'bead')} only, not for {wanted}, "
        f"in an image of {config.height} x {config.width} px"
        f" with beads of {config.diameter_px:g} px.",
        remedy="Choose fewer or smaller beads, a larger image, or a larger max_overlap.",
    )


class _Insertion:
    """Beads placed so far: the first `placed` rows of `centres`."""

    def __init__(self, config: SceneConfig, diameter: Floats, rng: np.random.Generator) -> None:
        self.config = config
        self.rng = rng
        self.diameter = diameter
        self.centres: Floats = np.empty((len(diameter), 2))
        self.placed = 0

    def anywhere(self, pending: NDArray[np.intp]) -> Floats:
        """Propose uniform centres (N, 2) for the `pending` beads."""
        return self.rng.uniform((-0.5, -0.5), (self.config.height - 0.5, self.config.width - 0.5), (len(pending), 2))

    def beside_another(self, pending: NDArray[np.intp]) -> Floats:
        """Propose centres (N, 2) in contact with random beads that are already placed."""
        partner = self.rng.integers(0, self.placed, len(pending))
        overlap = self.rng.uniform(0.0, self.config.max_overlap, len(pending))
        reach = (1.0 - overlap) * (self.diameter[pending] + self.diameter[partner]) / 2
        angle = self.rng.uniform(0.0, 2.0 * np.pi, len(pending))
        # A hair farther, so that rounding does not break the bound on the overlap.
        offset = (reach * (1.0 + 1e-9))[:, None] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
        proposed: Floats = self.centres[partner] + offset
        return proposed

    def fill(self, until: int, propose: Proposal) -> None:
        """Place beads until `until` are there; raise `InputError` when there is no room."""
        for _ in range(ROUNDS):
            pending = np.arange(self.placed, until)
            if not len(pending):
                return
            self._accept(pending, propose(pending))
        if self.placed < until:
            raise _no_room(self.config, self.placed, len(self.diameter))

    def _accept(self, pending: NDArray[np.intp], proposed: Floats) -> None:
        """Keep the proposals that lie in the image and break no bound; of two that exclude each other, the earlier."""
        limits = (self.config.height - 0.5, self.config.width - 0.5)
        inside = ((proposed >= -0.5) & (proposed < limits)).all(axis=1)
        centres = np.concatenate((self.centres[: self.placed], proposed[inside]))
        diameter = np.concatenate((self.diameter[: self.placed], self.diameter[pending][inside]))
        keep = np.ones(len(centres), dtype=bool)
        for first, second in self._conflicts(centres, diameter):
            if keep[first]:
                keep[second] = False
        new = np.flatnonzero(keep[self.placed :]) + self.placed
        # The diameters of the pending beads are put into the order of acceptance, so that none is drawn again.
        accepted = np.flatnonzero(inside)[new - self.placed]
        refused = np.setdiff1d(np.arange(len(pending)), accepted)
        self.diameter[pending] = self.diameter[pending][np.concatenate((accepted, refused))]
        stop = self.placed + len(new)
        self.centres[self.placed : stop] = centres[new]
        self.placed = stop

    def _conflicts(self, centres: Floats, diameter: Floats) -> NDArray[np.intp]:
        """Return pairs (M, 2) of indices, sorted, that are too close and of which the second is a proposal."""
        if len(centres) < 2:
            return np.empty((0, 2), dtype=np.intp)
        allowed = 1.0 - self.config.max_overlap
        pairs = cKDTree(centres).query_pairs(allowed * float(diameter.max()), output_type="ndarray")
        first, second = pairs.min(axis=1), pairs.max(axis=1)
        distance = np.hypot(*(centres[first] - centres[second]).T)
        close = (distance < allowed * (diameter[first] + diameter[second]) / 2) & (second >= self.placed)
        pairs = np.stack((first, second), axis=1)[close]
        sorted_pairs: NDArray[np.intp] = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
        return sorted_pairs


@dataclass(frozen=True, eq=False)
class Stamps:
    """Beads on a grid of pixels: centres, radii, blurs in its pixels and amplitudes, each (N,) float64."""

    y: Floats
    x: Floats
    radius: Floats
    sigma: Floats
    amplitude: Floats


def draw_beads(shape: tuple[int, int], stamps: Stamps, halo: float) -> Floats:
    """Return the sum (Y, X) of all stamps; a sharp bead has its amplitude inside and 0 outside.

    The blur includes the pixel's own aperture, so a bead between pixels is drawn without steps.
    """
    total = np.zeros(shape)
    sigma = np.sqrt(stamps.sigma**2 + 1.0 / 12.0)
    extent = _extent(stamps.radius, sigma)
    for chunk in _chunks(extent):
        rows, columns, index, inside = _window(shape, stamps.y[chunk], stamps.x[chunk], float(extent[chunk].max()))
        distance = np.sqrt((rows - stamps.y[chunk, None, None]) ** 2 + (columns - stamps.x[chunk, None, None]) ** 2)
        value = _profile(distance, stamps.radius[chunk], sigma[chunk], halo) * stamps.amplitude[chunk, None, None]
        np.add.at(total.reshape(-1), index[inside], value[inside])
    return total


def label_beads(shape: tuple[int, int], y: Floats, x: Floats, diameter: Floats) -> NDArray[np.uint32]:
    """Return the true instances (Y, X) uint32: bead ``i`` is ``i + 1``; a pixel belongs to the last bead over it.

    A bead that others hide, or that covers no pixel's centre, has none.
    """
    labels = np.zeros(shape, dtype=np.uint32)
    for chunk in _chunks(diameter / 2):
        rows, columns, index, inside = _window(shape, y[chunk], x[chunk], float(diameter[chunk].max() / 2))
        distance = (rows - y[chunk, None, None]) ** 2 + (columns - x[chunk, None, None]) ** 2
        inside &= distance <= (diameter[chunk, None, None] / 2) ** 2
        names = np.broadcast_to((chunk + 1).astype(np.uint32)[:, None, None], inside.shape)
        np.maximum.at(labels.reshape(-1), index[inside], names[inside])
    return labels


def _extent(radius: Floats, sigma: Floats) -> Floats:
    ring = RING_RADIUS * radius + REACH * np.sqrt((RING_WIDTH * radius) ** 2 + sigma**2)
    farthest: Floats = np.maximum(radius + REACH * sigma, ring)
    return farthest


def _chunks(extent: Floats) -> Iterator[NDArray[np.intp]]:
    """Yield the beads in groups of similar size, so that a large one does not widen the window of all."""
    order = np.argsort(extent, kind="stable")
    start = 0
    while start < len(order):
        # Fewer of the large ones, for the same memory.
        side = 2.0 * float(extent[order[min(start + CHUNK, len(order)) - 1]]) + 2.0
        step = int(np.clip(CHUNK * 576 / side**2, 1, CHUNK))
        yield order[start : start + step]
        start += step


def _window(
    shape: tuple[int, int], y: Floats, x: Floats, extent: float
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return rows (N, K, 1), columns (N, 1, K) and flat index (N, K, K) around each centre, and what is inside."""
    reach = np.arange(-int(np.ceil(extent)), int(np.ceil(extent)) + 1)
    rows = (np.rint(y).astype(np.intp)[:, None] + reach)[:, :, None]
    columns = (np.rint(x).astype(np.intp)[:, None] + reach)[:, None, :]
    inside = ((rows >= 0) & (rows < shape[0])) & ((columns >= 0) & (columns < shape[1]))
    return rows, columns, rows * shape[1] + columns, inside


def _profile(distance: Floats, radius: Floats, sigma: Floats, halo: float) -> Floats:
    """Look the profile up, (N, K, K), bilinear in the radius and in the logarithm of the blur."""
    table, reaches = _table(halo)
    step = np.log(BLURS[1] / BLURS[0])
    level = np.clip(np.log(sigma / radius / BLURS[0]) / step, 0, len(BLURS) - 1.001)
    low = level.astype(np.intp)
    weight = (level - low)[:, None]
    # One profile per bead on one common set of radii, then one look-up per pixel.
    reach = reaches[low + 1]
    radii = np.linspace(0.0, 1.0, SAMPLES)[None, :] * reach[:, None]
    lower = _rows_at(table[low], radii / reaches[low][:, None])
    own = (1.0 - weight) * lower + weight * table[low + 1]
    return _rows_at(own, distance / (radius * reach)[:, None, None])


def _rows_at(rows: Floats, position: Floats) -> Floats:
    """Interpolate each row (N, S) linearly at its relative positions 0-1 (N, ...); 0 beyond the end."""
    scaled = np.minimum(position * (rows.shape[1] - 1), rows.shape[1] - 1.001)
    low = scaled.astype(np.intp)
    scaled -= low
    offset = (np.arange(len(rows)) * rows.shape[1]).reshape(-1, *([1] * (position.ndim - 1)))
    flat = rows.reshape(-1)
    low += offset
    left = flat[low]
    value: Floats = left + scaled * (flat[low + 1] - left)
    value[position > 1.0] = 0.0
    return value


@lru_cache(maxsize=8)
def _table(halo: float) -> tuple[Floats, Floats]:
    """Return profiles (blur, radius) of a bead of radius 1 and the last radius of each."""
    reaches = np.maximum(_extent(np.ones_like(BLURS), BLURS), 1.0)
    radii = np.linspace(0.0, 1.0, SAMPLES)[None, :] * reaches[:, None]
    sigma = BLURS[:, None]
    ring_sigma = np.sqrt(RING_WIDTH**2 + sigma**2)
    ring = RING_WIDTH / ring_sigma * np.exp(-0.5 * ((radii - RING_RADIUS) / ring_sigma) ** 2)
    return _blurred_disc(radii, sigma) - halo * ring, reaches


def _blurred_disc(radii: Floats, sigma: Floats) -> Floats:
    """Return the unit disc convolved with a Gaussian, by quadrature of its radial form.

    ``P(r) = int_0^1 s / sigma^2 exp(-(s - r)^2 / 2 sigma^2) I0e(s r / sigma^2) ds``: the distribution function of Rice.
    """
    nodes, weights = np.polynomial.legendre.leggauss(96)
    total = np.zeros(np.broadcast_shapes(radii.shape, sigma.shape))
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        kernel = np.exp(-0.5 * ((node - radii) / sigma) ** 2) * i0e(node * radii / sigma**2)
        total += weight * node / sigma**2 * kernel
    return total


def draw_debris(config: SceneConfig, shape: tuple[int, int], scale: float, rng: np.random.Generator) -> Floats:
    """Return the contrast (Y, X) of all debris, 0 where there is none, on a grid of `scale` image px per pixel."""
    layer = np.zeros(shape)
    for _ in range(int(rng.poisson(config.debris))):
        centre = rng.uniform((0.0, 0.0), shape)
        contrast = config.debris_contrast * rng.uniform(0.5, 1.3)
        size = config.debris_size_px / scale * rng.uniform(0.5, 1.6)
        outline = _fibre if rng.random() < config.fibre_share else _speck
        _paste(layer, outline(size, rng) * min(contrast, 0.95), centre)
    return layer


def _grid(half: float) -> tuple[Floats, Floats]:
    axis = np.arange(-int(np.ceil(half)), int(np.ceil(half)) + 1, dtype=np.float64)
    return axis[:, None], axis[None, :]


def _speck(size: float, rng: np.random.Generator) -> Floats:
    """Return an irregular blot, 0-1: a radius that varies with the angle, and a mottled inside."""
    y, x = _grid(1.5 * size + 3)
    angle = np.arctan2(y, x)
    radius = np.full(angle.shape, size / 2)
    for order in (2, 3, 4, 5):
        radius += size / 2 * rng.normal(0.0, 0.25 / order**0.5) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    inside = expit((np.maximum(radius, 0.1 * size) - np.hypot(y, x)) / 0.6)
    mottle = gaussian_filter(rng.standard_normal(inside.shape), max(size / 8, 0.5))
    blot: Floats = inside * np.clip(0.8 + 0.25 * mottle / max(float(mottle.std()), 1e-9), 0.2, 1.2)
    return blot


def _fibre(size: float, rng: np.random.Generator) -> Floats:
    """Return a thin curved thread, 0-1."""
    length = 4.0 * size
    width = max(size / 10, 0.7)
    points = max(int(2 * length), 8)
    bends = rng.normal(0.0, 0.6 / np.sqrt(points), points) + rng.normal(0.0, 0.015)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
    path = np.cumsum(np.stack((np.sin(heading), np.cos(heading))), axis=1) * (length / points)
    path -= path.mean(axis=1, keepdims=True)
    y, x = _grid(float(np.abs(path).max()) + 4 * width)
    nearest = np.full((y.size, x.size), np.inf)
    for row, column in path.T:
        np.minimum(nearest, (y - row) ** 2 + (x - column) ** 2, out=nearest)
    thread: Floats = np.exp(-0.5 * nearest / width**2)
    return thread


def _paste(layer: Floats, patch: Floats, centre: Floats) -> None:
    """Lay `patch` over `layer`, the stronger of the two at each pixel; what lies outside is cut off."""
    top, left = (round(float(at)) - side // 2 for at, side in zip(centre, patch.shape, strict=True))
    rows = slice(max(top, 0), min(top + patch.shape[0], layer.shape[0]))
    columns = slice(max(left, 0), min(left + patch.shape[1], layer.shape[1]))
    part = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    layer[rows, columns] = np.maximum(layer[rows, columns], part)
