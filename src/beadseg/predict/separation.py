"""Beads of one plane, separated once: threshold, smallest area and confidence only choose among them afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.objects import label_objects
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig


@dataclass(frozen=True, eq=False)
class Separation:
    """The candidates for beads of one plane, and which pixels can be theirs. Only what can be bead is stored.

    Attributes
    ----------
    shape : (int, int)
        Y and X of the plane, px.
    lowest : float
        Lowest threshold that can be chosen.
    pixels : (P,) int64
        Flat indices, ascending, of the pixels with a probability of at least `lowest`.
    owner : (P,) uint32
        Candidate, from 1, that each of them belongs to.
    probability : (P,) float32
        Of being bead.
    positions : (N, 2) float32
        (y, x) of the seed of candidates 1 to N, px.
    confidence : (N,) float32
        Height of each one's peak in the centre map; without such a map its highest probability.
    touching : bool
        Touching beads are left joined: what is chosen is relabelled by connected components.
    diameter : float or None
        Of the beads in this plane, px; None where it is what a choice says.
    """

    shape: tuple[int, int]
    lowest: float
    pixels: NDArray[np.int64]
    owner: NDArray[np.uint32]
    probability: NDArray[np.float32]
    positions: NDArray[np.float32]
    confidence: NDArray[np.float32]
    touching: bool = False
    diameter: float | None = None

    def select(self, *, threshold: float, min_area: int = 1, min_confidence: float = 0.0) -> NDArray[np.uint32]:
        """Return the labels (Y, X) uint32 of the candidates that suffice, 1, 2, … in their order; 0 is background.

        Parameters
        ----------
        threshold : float
            A bead keeps its pixels of at least this probability.
        min_area : int
            A bead has at least this many of them.
        min_confidence : float
            And at least this confidence.

        Raises
        ------
        InputError
            `threshold` is below `lowest`.
        """
        if threshold < self.lowest:
            text = f"The threshold {threshold} is below {self.lowest}, the lowest that beads were separated for."
            raise InputError(text, remedy="Separate again with a lower objects.seeds.lowest.")
        sure = np.concatenate([[False], self.confidence >= min_confidence])
        kept = np.flatnonzero((self.probability >= np.float32(threshold)) & sure[self.owner])
        labels = np.zeros(self.shape, np.uint32)
        flat = labels.reshape(-1)
        if self.touching:
            flat[self.pixels[kept]] = 1
            found: NDArray[np.uint32] = label_objects(labels, min_area)
            return found
        owner = self.owner[kept]
        large = np.bincount(owner, minlength=len(sure)) >= max(1, min_area)
        numbers = np.where(large, np.cumsum(large), 0).astype(np.uint32)
        flat[self.pixels[kept]] = numbers[owner]
        return labels

    def chosen(self, config: ObjectConfig) -> NDArray[np.uint32]:
        """Return the labels (Y, X) uint32 of the candidates that `config` selects; its diameter must be known."""
        return self.select(
            threshold=config.threshold,
            min_area=smallest_area(config, self.diameter),
            min_confidence=config.min_confidence,
        )


def needed_diameter(config: ObjectConfig) -> float:
    """Return the bead diameter (px); a configuration without one cannot be used yet."""
    if config.diameter is None:
        raise ConfigError("The bead diameter is not known.", "predict.objects.diameter", "Give it in px.")
    return config.diameter


def smallest_area(config: ObjectConfig, diameter: float | None = None) -> int:
    """Return the smallest area of an object, px²: the given one, or a quarter of a bead's (of `config` by default)."""
    if config.min_area is not None:
        return config.min_area
    return max(1, round(math.pi * (needed_diameter(config) if diameter is None else diameter) ** 2 / 16))
