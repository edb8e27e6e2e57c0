"""How beads look and how they differ: mean and principal components of aligned stamps, and what of it is noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MODES = 14
"""Patterns kept."""
PRIOR = 4.0
"""A tile's own mean counts like so many beads less than it has: the rest is its field's."""

LIGHTEST, DARKEST = 0.4, 1.5
"""Beads by themselves have a sum of density between these shares of the median of their image."""
BETWEEN = 0.35
"""Weight of a second sample in the drawn ones."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Shapes:
    """Mean (C, K, K) and orthonormal modes (M, C, K, K) of beads."""

    mean: Floats
    modes: Floats

    @classmethod
    def of(cls, stamps: Floats) -> Shapes:
        """Return the mean and the main modes of stamps (N, C, K, K)."""
        mean = stamps.mean(axis=0)
        flat = (stamps - mean).reshape(len(stamps), -1)
        _, _, patterns = np.linalg.svd(flat, full_matrices=False)
        return cls(mean, patterns[:MODES].reshape(-1, *mean.shape))

    def coefficients(self, stamps: Floats) -> Floats:
        """Return the coefficients (N, M) of stamps (N, C, K, K)."""
        return np.asarray(np.tensordot(stamps - self.mean, self.modes, ((1, 2, 3), (1, 2, 3))))

    def draw(self, mean: Floats, samples: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Draw stamps (N, C, K, K) whose coefficients lie around a mean (M,) as the samples (S, M) lie around 0.

        Between the samples: a smoothed bootstrap (Silverman and Young, Biometrika 74, 1987) that keeps the covariance.
        """
        chosen = samples[rng.integers(0, len(samples), count)]
        other = samples[rng.integers(0, len(samples), count)]
        drawn = mean + (chosen + BETWEEN * other) / np.hypot(1.0, BETWEEN)
        return np.asarray(self.mean + np.tensordot(drawn, self.modes, 1))


def usual(stamps: Floats) -> NDArray[np.bool_]:
    """Tell which stamps (N, C, K, K) of one image hold one bead: two that lie on each other are twice as dark."""
    mass = stamps.sum(axis=(1, 2, 3))
    middle = float(np.median(mass)) if len(mass) else 0.0
    return np.asarray((mass > LIGHTEST * middle) & (mass < DARKEST * middle))


def samples(coefficients: list[Floats], bare: Floats, most: int) -> Floats:
    """Return how beads of one image differ: centred coefficients (S, M), shrunk by the noise of `bare` ground (N, M).

    `coefficients` holds (N, M) for every image.
    """
    modes = bare.shape[1]
    centred = np.concatenate(
        [each - each.mean(axis=0) for each in coefficients if len(each) > 1] or [np.zeros((1, modes))]
    )
    if len(centred) <= modes:
        return np.zeros((1, modes))
    found = np.cov(centred, rowvar=False)
    signal = found - np.cov(bare, rowvar=False) if len(bare) > modes else found
    kept = centred @ _root(np.linalg.pinv(found, hermitian=True)) @ _root(signal)
    chosen = np.linspace(0, len(kept) - 1, min(most, len(kept))).astype(int)
    return np.asarray(kept[chosen])


def _root(matrix: Floats) -> Floats:
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return root


def tile_means(coefficients: list[Floats], fallback: Floats) -> list[Floats]:
    """Return the mean (M,) of every tile's beads, drawn towards the field's mean where they are few.

    `fallback` (M,) stands for a field without any.
    """
    everything = np.concatenate(coefficients)
    field = everything.mean(axis=0) if len(everything) else fallback
    return [(each.sum(axis=0) + PRIOR * field) / (len(each) + PRIOR) for each in coefficients]
