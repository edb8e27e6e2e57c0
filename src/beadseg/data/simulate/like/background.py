"""The empty background of an image: a smooth surface, and its noise as power in every DCT function of 8-px blocks.

JPEG works on the same blocks, so what compression does to noise and grey level is computed there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, optimize
from scipy.special import ndtr

from beadseg.data.simulate.like.document import BLOCK, MOTTLE_PX, NOISE_TERMS, Array, Noise

if TYPE_CHECKING:
    from beadseg.data.simulate.like.document import Compression

ORDER = 3
"""Order of the polynomial in two coordinates."""
ROUNDS = 6
"""Fits, each without the pixels that the one before calls off the ground."""
FAR = 2.5
"""Pixels this many robust standard deviations off the ground are none of it."""
STRIDE = 3
"""Every third pixel along both axes is enough for a smooth surface."""
LEAST = 1e-3
"""Grey level that the ground has at least, so that a ratio to it exists."""
DARKEST = 0.03
"""Share of the ground that no pixel is thought to fall below, so that its logarithm exists."""
TO_SIGMA = 1.4826
"""Standard deviation over median absolute deviation of Gaussian noise."""

Floats = NDArray[np.float64]

_POWERS = [(row, column) for row in range(ORDER + 1) for column in range(ORDER + 1 - row)]

FREQUENCIES = 256
"""Samples of a spectrum along an axis when weights are fitted."""
LAGS = (1, 2, 3, 4, 6)
"""Distances, in blocks, at which means of blocks are compared."""
FIRST = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
"""Functions whose power tells how noisy a tile is."""
SURE = 3.0
"""Least sum of squares, in steps, of the coefficients of a function from which its power can be told."""
FALL = 0.6
"""Where a function's power cannot be told, it is at most this share of that of slower ones."""
RATIOS: NDArray[np.float64] = np.geomspace(0.05, 20.0, 600)
"""Standard deviations over steps at which the power after quantisation is tabulated."""

PLACE_PX = 4.0
"""Sigma of the places that unevenness means, px."""
BOUND = 0.15
"""Weight of a power that is a bound only."""
CORRECTION = 2.0
"""Largest factor on the power before compression that trials may put."""
NOISE_TRIALS = 6
"""Corrections of the power before compression."""
TRIAL_SIDE = 256
"""Side of the fields drawn for them, px."""

LEVEL_SIDE = 256
"""Side of the images that a level is tried in, px."""
LEVEL_TRIALS = 5
"""Corrections of the level …"""
LEVEL_STEP = 0.7
"""… and the share of the difference that each of them makes up for."""

GRID = 2 * BLOCK
"""Period of the block grid of subsampled colour differences, px."""
MIDDLE = 128.0
"""Grey level that JPEG counts brightness from."""

_TO = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
_FROM = np.linalg.inv(_TO)


def terms(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return the powers 0-3 of the coordinates -1 to 1 along rows (Y, 4) and columns (X, 4)."""
    rows, columns = (np.linspace(-1.0, 1.0, size)[:, None] ** np.arange(ORDER + 1) for size in shape)
    return rows, columns


def surface(coefficients: Floats, shape: tuple[int, int]) -> Floats:
    """Return the ground (C, Y, X), 8-bit grey levels, of its polynomial's coefficients (C, 10)."""
    rows, columns = terms(shape)
    grid = np.zeros((len(coefficients), ORDER + 1, ORDER + 1))
    for index, (row, column) in enumerate(_POWERS):
        grid[:, row, column] = coefficients[:, index]
    level = np.einsum("yi,cij,xj->cyx", rows, grid, columns, optimize=True)
    return np.asarray(np.maximum(level, LEAST))


def fit_background(image: Floats, sign: float) -> Floats:
    """Return the coefficients (C, 10) of the ground of an image (C, Y, X).

    Parameters
    ----------
    image : numpy.ndarray
        (C, Y, X) float64, 8-bit grey levels.
    sign : float
        -1 where beads are darker than the ground, 1 where they are brighter.
    """
    rows, columns = terms((image.shape[1], image.shape[2]))
    rows, columns = rows[::STRIDE], columns[::STRIDE]
    design = np.stack([np.outer(rows[:, row], columns[:, column]).ravel() for row, column in _POWERS], axis=1)
    values = image[:, ::STRIDE, ::STRIDE].reshape(len(image), -1)
    keep = np.ones(values.shape[1], dtype=bool)
    for _ in range(ROUNDS):
        coefficients, *_ = np.linalg.lstsq(design[keep], values[:, keep].T, rcond=None)
        off = (values - (design @ coefficients).T).mean(axis=0)
        ground = off[off * sign <= np.median(off[keep]) * sign]
        spread = TO_SIGMA * float(np.median(np.abs(ground - np.median(off[keep])))) + 1e-6
        keep = off * sign < np.median(off[keep]) * sign + FAR * spread
    return np.asarray(coefficients.T)


def density_of(image: Floats, ground: Floats, sign: float) -> Floats:
    """Return how far pixels lie off the ground: ``-ln(value / ground)``, or ``value / ground - 1`` for bright beads."""
    ratio = image / ground
    off: Floats = -np.log(np.maximum(ratio, DARKEST)) if sign < 0 else ratio - 1.0
    return off


def light_of(off: Floats, ground: Floats, sign: float) -> Floats:
    """Undo `density_of`: return the light."""
    seen: Floats = ground * (np.exp(-off) if sign < 0 else np.maximum(1.0 + off, 0.0))
    return seen


@dataclass(frozen=True, eq=False)
class Moments:
    """Power of bare blocks, as they are.

    Attributes
    ----------
    power : numpy.ndarray
        (C, 8, 8) mean square of every DCT coefficient.
    lags : numpy.ndarray
        (C, len(LAGS)) covariance of the coefficients of order 0 (8 times a block's mean) of blocks so far apart.
    correlation : numpy.ndarray
        (C, C) between channels.
    count : int
        Blocks.
    busy : float
        Standard deviation of the number of coefficients of brightness that compression left in a block.
    """

    power: Floats
    lags: Floats
    correlation: Floats
    count: int
    busy: float = 0.0


def measure_noise(
    image: Floats, residual: Floats, bare: NDArray[np.bool_], compression: Compression | None, offset: tuple[int, int]
) -> Moments | None:
    """Return the moments of one image, None when it has too little bare ground.

    Parameters
    ----------
    image, residual : numpy.ndarray
        (C, Y, X) brightness and colour differences, as they are and less the ground.
    bare : numpy.ndarray
        (Y, X) where there is nothing but ground.
    """
    step = chroma_step(compression)
    power, lags, low = [], [], []
    count, busy = 0, 0.0
    for channel, (plane, off) in enumerate(zip(image, residual, strict=True)):
        thinned, thinned_off = (_sampled(each, offset, step if channel else (1, 1)) for each in (plane, off))
        clear = _clear(_sampled(bare, offset, step if channel else (1, 1)))
        if np.count_nonzero(clear) < BLOCK:
            return None
        means = BLOCK * blocks_of(thinned_off, (0, 0)).mean(axis=(2, 3))
        means = np.where(clear, means - means[clear].mean(), 0.0)
        coefficients = dct(blocks_of(thinned, (0, 0))[clear])
        power.append(_power(coefficients, means[clear], _steps(compression, channel)))
        lags.append(_lagged(means, clear))
        low.append(_first(_sampled(plane, offset, step), _sampled(bare, offset, step)))
        if channel == 0:
            count, busy = int(np.count_nonzero(clear)), _busy(coefficients, _steps(compression, 0))
    correlation = np.corrcoef(np.stack(low)) if len(low) > 1 else np.ones((1, 1))
    return Moments(np.stack(power), np.stack(lags), np.asarray(np.nan_to_num(correlation)), count, busy)


def chroma_step(compression: Compression | None) -> tuple[int, int]:
    """Return how many pixels along rows and columns share a sample of the colour differences."""
    return (1, 1) if compression is None else compression.chroma_step


def _sampled(plane: Floats | NDArray[np.bool_], offset: tuple[int, int], step: tuple[int, int]) -> Floats:
    """Return a plane (Y, X) from the start of the block grid on, averaged over `step`."""
    every = tuple(BLOCK * each for each in step)
    plane = plane[offset[0] % every[0] :, offset[1] % every[1] :]
    rows, columns = (size // side * side for size, side in zip(plane.shape, every, strict=True))
    return averaged(plane[:rows, :columns].astype(np.float64), step)


def _busy(coefficients: Floats, steps: Floats) -> float:
    """Return the standard deviation of the number of coefficients (N, 8, 8) that are not 0 in a block."""
    left = np.abs(coefficients) > np.where(steps > 0, steps / 2, np.inf)
    left[:, 0, 0] = False
    return float(left.sum(axis=(1, 2)).std())


def _clear(bare: Floats) -> NDArray[np.bool_]:
    """Tell which blocks (rows, columns) hold bare ground (1) alone."""
    return np.asarray((blocks_of(bare, (0, 0)) > 0.999).all(axis=(2, 3)))


def _first(plane: Floats, bare: Floats) -> Floats:
    """Return the coefficients of the `FIRST` functions in bare blocks, one after the other."""
    coefficients = dct(blocks_of(plane, (0, 0))[_clear(bare)])
    return np.concatenate([coefficients[:, row, column] for row, column in FIRST])


def _steps(compression: Compression | None, channel: int) -> Floats:
    if compression is None:
        return np.zeros((BLOCK, BLOCK))
    return (compression.chroma if channel else compression.luma).numpy()


def _power(coefficients: Floats, means: Floats, steps: Floats) -> Floats:
    """Return the mean square (8, 8) of coefficients (N, 8, 8), those on a comb of steps put exactly on it."""
    on_comb = np.where(steps > 0, np.rint(coefficients / np.where(steps > 0, steps, 1.0)) * steps, coefficients)
    power: Floats = (on_comb**2).mean(axis=0)
    power[0, 0] = (means**2).mean()
    return power


def power_before(moments: Moments, compression: Compression | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the power (C, 8, 8) before compression, and where it is known rather than a bound."""
    power = moments.power.copy()
    sure = np.ones(power.shape, dtype=bool)
    for channel in range(len(power)):
        steps = _steps(compression, channel)
        for row, column in zip(*np.nonzero(steps), strict=True):
            unit = float(steps[row, column]) ** 2
            if row + column == 0:
                power[channel, 0, 0] = max(power[channel, 0, 0] - unit / 12, 0.01 * unit)
                continue
            left = power[channel, row, column] / unit
            sure[channel, row, column] = left * moments.count >= SURE
            power[channel, row, column] = unit * np.interp(max(left, 1.0 / moments.count), _AFTER, RATIOS) ** 2
        _bound(power[channel], ~sure[channel])
    return power, sure


def _bound(power: Floats, unsure: NDArray[np.bool_]) -> None:
    """Lower what is unsure (8, 8) below all that is known of slower functions: where nothing is left, that is all."""
    for row, column in zip(*np.nonzero(unsure), strict=True):
        known = np.where(unsure, np.inf, power)[: row + 1, : column + 1]
        power[row, column] = min(power[row, column], FALL * float(known.min()))


def _table() -> Floats:
    """Return the power, in squared steps, of a rounded Gaussian value whose standard deviation is RATIOS steps."""
    odd = 2.0 * np.arange(120) + 1.0
    # The mean of n squared is the sum over n of (2n - 1) times the chance of at least n.
    beyond = ndtr(-(odd[None, :] / 2) / RATIOS[:, None])
    power: Floats = 2.0 * (odd[None, :] * beyond).sum(axis=1)
    return power


_AFTER = _table()


def _lagged(means: Floats, clear: NDArray[np.bool_]) -> Floats:
    """Return the covariance of block means (rows, columns) at each distance, rows and columns together."""
    found = []
    for lag in LAGS:
        total, pairs = 0.0, 0
        for first, second in ((np.s_[lag:, :], np.s_[:-lag, :]), (np.s_[:, lag:], np.s_[:, :-lag])):
            both = clear[first] & clear[second]
            total += float((means[first] * means[second])[both].sum())
            pairs += int(np.count_nonzero(both))
        found.append(total / pairs if pairs else 0.0)
    return np.array(found)


def pooled_moments(moments: list[Moments]) -> Moments:
    """Return the moments of all blocks of several images together."""
    weight = np.array([each.count for each in moments], dtype=np.float64)
    return Moments(
        np.average([each.power for each in moments], axis=0, weights=weight),
        np.average([each.lags for each in moments], axis=0, weights=weight),
        np.average([each.correlation for each in moments], axis=0, weights=weight),
        int(weight.sum()),
        float(np.average([each.busy for each in moments], weights=weight)),
    )


def noise_gains(own: Floats, field: Floats) -> tuple[float, ...]:
    """Return the standard deviation of an image's noise over that of its field, per channel, by power (C, 8, 8)."""
    rows, columns = np.array(FIRST).T
    ratio = own[:, rows, columns].sum(axis=1) / np.maximum(field[:, rows, columns].sum(axis=1), 1e-9)
    return tuple(round(float(value), 4) for value in np.sqrt(ratio))


def fit_noise(power: Floats, sure: NDArray[np.bool_], moments: Moments) -> Noise:
    """Return the noise with this power (C, 8, 8) before compression, and the lags and correlation of the moments.

    What is not `sure` (C, 8, 8) counts little.
    """
    design, lagged = _design()
    weights = []
    for wanted, known, lags in zip(power, sure, moments.lags, strict=True):
        target = wanted.ravel()
        scale = np.where(known.ravel(), 1.0, BOUND) / np.maximum(target, 1e-4 * target.max() + 1e-9)
        lag_scale = 2.0 / max(float(target[0]), 1e-9)
        matrix = np.concatenate((design * scale[:, None], lagged * lag_scale))
        solution, _ = optimize.nnls(matrix, np.concatenate((target * scale, lags * lag_scale)))
        weights.append(solution)
    correlation = np.clip(moments.correlation, -0.95, 0.95)
    np.fill_diagonal(correlation, 1.0)
    return Noise(spectrum=Array.of(np.stack(weights)), correlation=Array.of(correlation))


def matched_noise(moments: Moments, gain: Floats, compression: Compression | None) -> Noise:
    """Return the noise that has the moments after compression.

    Power and unevenness are found by trial: fields are drawn with the gains (images, C) of the measured images,
    compressed, and measured again.
    """
    power, sure = power_before(moments, compression)
    found = fit_noise(power, sure, moments)
    if compression is None:
        return found
    uneven, factor = 0.0, np.ones_like(power)
    # Where hardly anything is left after compression, nothing can be learned from its power.
    floor = 1e-3 * moments.power.max(axis=(1, 2), keepdims=True)
    for _ in range(NOISE_TRIALS):
        seen = _compressed(found, gain, compression)
        factor *= ((moments.power + floor) / (seen.power + floor)) ** 0.7
        factor = np.clip(factor, 1 / CORRECTION, CORRECTION)
        more = (moments.busy / max(seen.busy, 1e-3)) ** 2 - 1.0
        uneven = float(np.sqrt(np.clip(uneven**2 + 0.25 * np.clip(more, -1.0, 1.0), 0.0, 0.6)))
        found = fit_noise(power * factor, sure, moments).replace(unevenness=round(uneven, 4))
    return found


def _compressed(noise: Noise, gain: Floats, compression: Compression) -> Moments:
    """Return the moments of drawn fields after compression."""
    rng = np.random.default_rng(0)
    step = compression.chroma_step
    shape = (TRIAL_SIDE, TRIAL_SIDE)
    seen = []
    for own in gain:
        field = draw_noise(noise, shape, step, (0, 0), rng) * own[:, None, None]
        ground = rng.uniform(-4.0, 4.0, len(field))[:, None, None]
        image = jpeg_round_trip(field + ground, compression, (0, 0))
        moments = measure_noise(image, image - ground, np.ones(shape, dtype=bool), compression, (0, 0))
        if moments is not None:
            seen.append(moments)
    return pooled_moments(seen)


def _waves(frequency: NDArray[np.floating]) -> Floats:
    """Return the squared spectra (8, F) of the DCT functions of a block, along one axis."""
    place = np.arange(BLOCK)
    order = np.arange(BLOCK)[:, None]
    functions = np.cos(np.pi * (place + 0.5) * order / BLOCK) * np.where(order == 0, np.sqrt(1 / BLOCK), 0.5)
    spectra: Floats = np.abs(functions @ np.exp(-2j * np.pi * np.outer(place, frequency))) ** 2
    return spectra


def _smooth(frequency: NDArray[np.floating], sigma: float) -> Floats:
    """Return the spectrum (F,) along one axis of white noise of variance 1 blurred to variance 1."""
    spectrum = np.exp(-((2 * np.pi * frequency * sigma) ** 2))
    normalised: Floats = spectrum / spectrum.mean()
    return normalised


def _design() -> tuple[Floats, Floats]:
    """Return the power (64, terms) and the covariance of means at every lag (lags, terms) that a weight of 1 gives."""
    frequency = np.fft.fftfreq(FREQUENCIES)
    waves = _waves(frequency)
    terms = np.concatenate((waves, [_smooth(frequency, sigma) for sigma in MOTTLE_PX]))
    seen = waves @ terms.T / FREQUENCIES
    own = [np.einsum("i,j->ij", seen[:, i], seen[:, j]).ravel() for i in range(BLOCK) for j in range(BLOCK)]
    mottle = [np.outer(seen[:, BLOCK + k], seen[:, BLOCK + k]).ravel() for k in range(len(MOTTLE_PX))]
    shifted = np.stack([(terms * waves[0] * np.cos(2 * np.pi * frequency * BLOCK * lag)).mean(axis=1) for lag in LAGS])
    pairs = [(i, j) for i in range(BLOCK) for j in range(BLOCK)] + [(BLOCK + k,) * 2 for k in range(len(MOTTLE_PX))]
    lagged = [(shifted[:, i] * seen[0, j] + seen[0, i] * shifted[:, j]) / 2 for i, j in pairs]
    return np.stack(own + mottle, axis=1), np.stack(lagged, axis=1)


def draw_noise(
    noise: Noise, shape: tuple[int, int], step: tuple[int, int], offset: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Draw a field (C, Y, X) of noise: brightness, and colour differences of which `step` pixels share a sample."""
    weights = noise.spectrum.numpy()
    size = tuple(GRID * (-(-side // GRID) + 1) for side in shape)
    white = rng.standard_normal(size)
    fields = [_coloured(white, weights[0])]
    if len(weights) > 1:
        mixing = np.linalg.cholesky(_positive(noise.correlation.numpy()))
        shared = averaged(white, step) * np.sqrt(step[0] * step[1])
        mixed = np.tensordot(mixing, [shared, *rng.standard_normal((len(weights) - 1, *shared.shape))], 1)
        coarse = (_coloured(plane, weight) for plane, weight in zip(mixed[1:], weights[1:], strict=True))
        fields += [plane.repeat(step[0], axis=0).repeat(step[1], axis=1) for plane in coarse]
    top, left = (-start % GRID for start in offset)
    drawn = np.stack(fields)[:, top : top + shape[0], left : left + shape[1]]
    return drawn if noise.unevenness == 0 else drawn * _strength(shape, noise.unevenness, rng)


def _strength(shape: tuple[int, int], uneven: float, rng: np.random.Generator) -> Floats:
    """Draw the strength (Y, X) of noise from place to place, its mean square 1."""
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), PLACE_PX, mode="wrap")
    smooth *= 2 * np.sqrt(np.pi) * PLACE_PX
    return np.asarray(np.exp(uneven * smooth - uneven**2))


def _coloured(white: Floats, weight: Floats) -> Floats:
    """Return white noise (Y, X) with the spectrum of the weights (terms,)."""
    down, across = np.fft.fftfreq(white.shape[0]), np.fft.rfftfreq(white.shape[1])
    spectrum = _waves(down).T @ weight[: BLOCK * BLOCK].reshape(BLOCK, BLOCK) @ _waves(across)
    for sigma, power in zip(MOTTLE_PX, weight[BLOCK * BLOCK : NOISE_TERMS], strict=True):
        smooth = (np.exp(-((2 * np.pi * axis * sigma) ** 2)) * 2 * np.sqrt(np.pi) * sigma for axis in (down, across))
        spectrum += power * np.outer(*smooth)
    coloured: Floats = np.fft.irfft2(np.fft.rfft2(white) * np.sqrt(spectrum), white.shape)
    return coloured


def _positive(correlation: Floats) -> Floats:
    """Return the nearest matrix that is a correlation, with a hair to spare."""
    values, vectors = np.linalg.eigh((correlation + correlation.T) / 2)
    raised: Floats = (vectors * np.maximum(values, 1e-6)) @ vectors.T
    spread = np.sqrt(np.diag(raised))
    return np.asarray(raised / np.outer(spread, spread))


def light_before(light: Floats, grain: Noise, gain: Floats, compression: Compression | None, sign: float) -> Floats:
    """Return the ground's polynomial (C, 10) to draw, so that after noise and compression `light` (C, 10) is seen.

    Parameters
    ----------
    light : numpy.ndarray
        (C, 10) polynomial that `fit_background` found in the image.
    grain, gain : Noise, numpy.ndarray
        Its noise, and the factor (C,) on it.
    sign : float
        As for `fit_background`.
    """
    if compression is None:
        return light
    drawn = light.copy()
    for trial in range(LEVEL_TRIALS):
        rng = np.random.default_rng(trial)
        level = to_ycc(surface(drawn, (LEVEL_SIDE, LEVEL_SIDE)))
        field = draw_noise(grain, (LEVEL_SIDE, LEVEL_SIDE), compression.chroma_step, (0, 0), rng)
        image = jpeg_round_trip(level + gain[:, None, None] * field, compression, (0, 0))
        seen = fit_background(np.rint(to_rgb(image)), sign)
        drawn += LEVEL_STEP * (light - seen)
    return drawn


def blocks_of(plane: Floats, offset: tuple[int, int]) -> Floats:
    """Return the whole blocks (rows, columns, 8, 8) of a plane (Y, X) whose grid begins at `offset`."""
    top, left = (start % BLOCK for start in offset)
    plane = plane[top:, left:]
    rows, columns = (size // BLOCK for size in plane.shape)
    plane = plane[: rows * BLOCK, : columns * BLOCK]
    return plane.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2)


def dct(blocks: Floats) -> Floats:
    """Return the orthonormal DCT of blocks (..., 8, 8)."""
    coefficients: Floats = fft.dctn(blocks, axes=(-2, -1), norm="ortho")
    return coefficients


def jpeg_round_trip(image: Floats, compression: Compression, offset: tuple[int, int]) -> Floats:
    """Quantise brightness and colour differences (C, Y, X) as JPEG does, its block grid beginning at `offset`."""
    shift = np.array(compression.shift)[:, None, None]
    _, height, width = image.shape
    image = image - shift
    pads = [(-start % GRID, -(size - start) % GRID) for start, size in zip(offset, (height, width), strict=True)]
    padded = np.pad(image, ((0, 0), *pads), mode="edge")
    luma = _quantise(padded[0] - MIDDLE, compression.luma.numpy()) + MIDDLE
    steps = compression.chroma.numpy()
    chroma = [_coarse(plane, steps, compression.chroma_step) for plane in padded[1:]]
    top, left = pads[0][0], pads[1][0]
    # Decoders round to whole levels before they mix the colours.
    whole = np.rint(np.stack([luma, *chroma])[:, top : top + height, left : left + width])
    return np.asarray(whole + shift)


def averaged(plane: Floats, step: tuple[int, int]) -> Floats:
    """Return the means (Y / rows, X / columns) over `step` of a plane whose sides are multiples of it."""
    rows, columns = (size // every for size, every in zip(plane.shape, step, strict=True))
    means: Floats = plane.reshape(rows, step[0], columns, step[1]).mean(axis=(1, 3))
    return means


def _coarse(plane: Floats, steps: Floats, every: tuple[int, int]) -> Floats:
    small = _quantise(averaged(plane, every), steps)
    return small.repeat(every[0], axis=0).repeat(every[1], axis=1)


def _quantise(plane: Floats, steps: Floats) -> Floats:
    coefficients = dct(blocks_of(plane, (0, 0)))
    safe = np.where(steps > 0, steps, 1.0)
    coefficients = np.where(steps > 0, np.rint(coefficients / safe) * safe, coefficients)
    blocks = fft.idctn(coefficients, axes=(-2, -1), norm="ortho")
    return np.asarray(blocks.swapaxes(1, 2).reshape(plane.shape))


def to_ycc(image: Floats) -> Floats:
    """Return brightness, blue and red difference (3, Y, X) of red, green, blue; a grey (1, Y, X) image as it is."""
    return image if len(image) == 1 else np.tensordot(_TO, image, 1)


def to_rgb(image: Floats) -> Floats:
    """Undo `to_ycc`."""
    return image if len(image) == 1 else np.tensordot(_FROM, image, 1)
