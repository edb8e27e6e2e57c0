"""Small images of single beads: cut out with their centre in the middle, and laid down anywhere between pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FADE = (1.4, 2.0)
"""Radii between which a bead's stamp fades to nothing, in bead diameters."""
ROUNDS = 3
"""Times a centre is corrected to the centre of darkness around it."""
WITHIN = 0.6
"""Radius in which the centre of darkness is taken, in bead diameters."""

Floats = NDArray[np.float64]


def radius(diameter: float) -> int:
    """Return how far a stamp reaches from its middle pixel, px."""
    return int(np.ceil(FADE[1] * diameter))


def fading(diameter: float) -> Floats:
    """Return the weight (K, K) of a stamp's pixels, 1 around its middle and 0 from its rim on."""
    reach = np.arange(-radius(diameter), radius(diameter) + 1)
    distance = np.hypot(reach[:, None], reach[None, :]) / diameter
    ramp = np.clip((FADE[1] - distance) / (FADE[1] - FADE[0]), 0.0, 1.0)
    weight: Floats = 0.5 - 0.5 * np.cos(np.pi * ramp)
    return weight


def cut(off: Floats, centres: Floats, diameter: float, rounds: int = ROUNDS) -> tuple[Floats, Floats]:
    """Return stamps (N, C, K, K) of a density (C, Y, X) around beads, and their corrected centres (N, 2).

    A stamp is taken relative to its own rim, where a bead by itself has ended, and fades out towards it. Centres
    are corrected `rounds` times.
    """
    reach = np.arange(-radius(diameter), radius(diameter) + 1, dtype=np.float64)
    curves = [ndimage.spline_filter(plane, order=3) for plane in off]
    near = np.hypot(reach[:, None], reach[None, :]) <= WITHIN * diameter
    centres = centres.copy()
    for _ in range(rounds):
        mean = _sample(curves, centres, reach).mean(axis=1)
        weight = np.clip(mean - _rim(mean, diameter), 0.0, None) * near
        mass = np.maximum(weight.sum(axis=(1, 2)), 1e-9)
        centres[:, 0] += np.clip((weight * reach[:, None]).sum(axis=(1, 2)) / mass, -1, 1)
        centres[:, 1] += np.clip((weight * reach[None, :]).sum(axis=(1, 2)) / mass, -1, 1)
    stamps = _sample(curves, centres, reach)
    return (stamps - _rim(stamps, diameter)) * fading(diameter), centres


def _sample(curves: list[Floats], centres: Floats, reach: Floats) -> Floats:
    """Return the values (N, C, K, K) of cubic splines around centres."""
    rows = np.broadcast_to((centres[:, 0, None] + reach)[:, :, None], (len(centres), len(reach), len(reach)))
    columns = np.broadcast_to((centres[:, 1, None] + reach)[:, None, :], rows.shape)
    planes = [
        ndimage.map_coordinates(curve, (rows, columns), order=3, mode="nearest", prefilter=False) for curve in curves
    ]
    return np.stack(planes, axis=1)


def _rim(stamps: Floats, diameter: float) -> Floats:
    """Return the median of the stamps' rims, (..., 1, 1)."""
    reach = np.arange(-radius(diameter), radius(diameter) + 1)
    distance = np.hypot(reach[:, None], reach[None, :])
    rim = (distance >= FADE[0] * diameter) & (distance <= FADE[1] * diameter)
    middle: Floats = np.median(stamps[..., rim], axis=-1)[..., None, None]
    return middle


def lay(shape: tuple[int, int], stamps: Floats, y: Floats, x: Floats) -> Floats:
    """Return the sum (C, Y, X) of stamps (N, C, K, K) with their middles at `y`, `x` (N,), px."""
    count, channels, side, _ = stamps.shape
    reach = side // 2
    total = np.zeros((channels, shape[0] + 2 * side, shape[1] + 2 * side))
    rows, columns = np.rint(y).astype(int), np.rint(x).astype(int)
    stamps = _moved(stamps, y - rows, x - columns)
    for index in range(count):
        top, left = rows[index] - reach + side, columns[index] - reach + side
        if 0 <= top <= shape[0] + side and 0 <= left <= shape[1] + side:
            total[:, top : top + side, left : left + side] += stamps[index]
    return total[:, side:-side, side:-side]


def _moved(stamps: Floats, dy: Floats, dx: Floats) -> Floats:
    """Return stamps (N, C, K, K) moved by less than a pixel, through their Fourier transform."""
    if not len(stamps):
        return stamps
    side = stamps.shape[-1]
    down, across = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    turn = np.exp(-2j * np.pi * (down[None, :, None] * dy[:, None, None] + across[None, None, :] * dx[:, None, None]))
    moved: Floats = np.fft.irfft2(np.fft.rfft2(stamps) * turn[:, None], (side, side))
    return moved


def width_at_half(stamp: Floats) -> float:
    """Return the diameter of the disc that is as large as the part of a stamp (K, K) above half of its height."""
    reach = np.arange(stamp.shape[0]) - stamp.shape[0] // 2
    fine = ndimage.zoom(stamp, 4, order=3)
    area = float(np.count_nonzero(fine >= 0.5 * fine.max())) / 16 * (len(reach) / (fine.shape[0] / 4)) ** 2
    return 2.0 * float(np.sqrt(area / np.pi))
