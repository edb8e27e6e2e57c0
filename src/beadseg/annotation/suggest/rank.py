"""From how unsure a model is of each image to the order in which to annotate them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.suggest.uncertainty import Uncertainty


ENTROPY_SHARE = 0.05
"""What a bit of entropy per pixel adds to the score, whose first part is at most 1."""


@dataclass(frozen=True)
class Suggestion:
    """An image's place in the order.

    Attributes
    ----------
    index : int
        Of the image in the list that was ranked.
    score : float
        How unsure the model is of it: its disagreement, and a little of its entropy.
    novelty : float
        How far it is from all that come before it, 1 for the usual distance of two images or more; 0 for a copy.
    """

    index: int
    score: float
    novelty: float


def rank(images: Sequence[Uncertainty]) -> list[Suggestion]:
    """Order images by how much they would teach: unsure ones first, but none that is like one before it.

    The next one is always that of the largest score times novelty: a k-centre choice (Sener and Savarese 2018) weighed
    by uncertainty. Uncertainty is the disagreement with mirror images; entropy decides where the model agrees with
    itself. How closely each measure follows the model's true error, ``benchmarks/suggest.py`` prints.

    Returns
    -------
    list of Suggestion
        All images, best first.
    """
    if not images:
        return []
    scores = np.array([image.disagreement + ENTROPY_SHARE * min(image.entropy, 1.0) for image in images])
    places = _standardised(np.array([image.features for image in images]))
    usual = _usual_distance(places)
    novelty = np.ones(len(images))
    waiting = np.ones(len(images), bool)
    order: list[Suggestion] = []
    for _ in images:
        # Copies have no novelty: they come last, by their score.
        worth = np.where(waiting, scores * novelty + 1e-9 * scores, -1.0)
        best = int(np.argmax(worth))
        order.append(Suggestion(best, float(scores[best]), float(novelty[best])))
        waiting[best] = False
        novelty = np.minimum(novelty, np.linalg.norm(places - places[best], axis=1) / usual)
    return order


def _standardised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), np.float64)


def _usual_distance(places: NDArray[np.float64]) -> float:
    """Return the median distance of two different images, of at most 500 of them."""
    some = places[np.unique(np.linspace(0, len(places) - 1, 500).round().astype(int))]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)[np.triu_indices(len(some), 1)]
    distances = distances[distances > 1e-9]
    return float(np.median(distances)) if len(distances) else 1.0
