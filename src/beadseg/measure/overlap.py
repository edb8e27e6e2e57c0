"""How many pixels a prediction and the truth share: the counts that every pixel score is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one image, or the sum over several.

    Attributes
    ----------
    intersection : int
        Pixels that are foreground in both.
    prediction : int
        Foreground pixels of the prediction.
    truth : int
        Foreground pixels of the truth.
    """

    intersection: int
    prediction: int
    truth: int

    def __add__(self, other: Overlap) -> Overlap:
        """Return the pooled counts of two images."""
        return Overlap(
            self.intersection + other.intersection, self.prediction + other.prediction, self.truth + other.truth
        )

    @property
    def union(self) -> int:
        """Pixels that are foreground in at least one."""
        return self.prediction + self.truth - self.intersection

    @property
    def jaccard(self) -> float:
        """Intersection over union; 1.0 where both are empty."""
        return self.intersection / self.union if self.union else 1.0

    @property
    def dice(self) -> float:
        """Twice the intersection over the sum of both areas; 1.0 where both are empty."""
        total = self.prediction + self.truth
        return 2 * self.intersection / total if total else 1.0


EMPTY = Overlap(0, 0, 0)
"""The counts of no pixels: the start of a sum."""


def count_overlap(
    prediction: NDArray[np.generic], truth: NDArray[np.generic], ignore: NDArray[np.generic] | None = None
) -> Overlap:
    """Count the foreground pixels of a prediction, of the truth, and of both.

    Parameters
    ----------
    prediction, truth : (Y, X) bool, or any dtype in which non-zero is foreground
        Hard masks. Apply the threshold to a probability first.
    ignore : (Y, X) bool, optional
        Pixels that are left out of all counts.

    Raises
    ------
    InputError
        The shapes differ.
    """
    shapes = {array.shape for array in (prediction, truth, ignore) if array is not None}
    if len(shapes) > 1:
        raise InputError(
            f"Prediction and truth differ in shape: {prediction.shape} and {truth.shape}"
            + (f", ignore mask {ignore.shape}." if ignore is not None else "."),
            remedy="Compare a prediction with the mask of the same image.",
        )
    predicted = prediction.astype(bool, copy=False)
    true = truth.astype(bool, copy=False)
    if ignore is not None:
        kept = ~ignore.astype(bool, copy=False)
        predicted, true = predicted & kept, true & kept
    both = np.count_nonzero(predicted & true)
    return Overlap(int(both), int(np.count_nonzero(predicted)), int(np.count_nonzero(true)))
