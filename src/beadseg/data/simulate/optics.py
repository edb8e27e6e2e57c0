"""How a bead looks: a disc seen through a Gaussian blur with a faint ring, drawn by stamping, and its true pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0e

if TYPE_CHECKING:
    from collections.abc import Iterator

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

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stamps:
    """Beads on a grid of pixels: centres, radii, blurs in its pixels and amplitudes, each (N,) float64."""

    y: Floats
    x: Floats
    radius: Floats
    sigma: Floats
    amplitude: Floats


def draw(shape: tuple[int, int], stamps: Stamps, halo: float) -> Floats:
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


def label(shape: tuple[int, int], y: Floats, x: Floats, diameter: Floats) -> NDArray[np.uint32]:
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
