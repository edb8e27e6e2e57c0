"""What makes a draft: the general model, or a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from beadseg.config import GENERAL
from beadseg.model.background import relative_to_background
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.events import StopFlag
    from beadseg.predict.segmenter import Segmenter

Polarity = Literal["dark", "bright"]

WINDOW_DIAMETERS = 12
"""Side of the blocks whose median is the background that a bead is darker or brighter than, in bead diameters."""


class Annotator(Protocol):
    """Makes instance labels of an image."""

    @property
    def description(self) -> str:
        """What makes the labels, for the review's history."""

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""


@dataclass(frozen=True)
class ModelAnnotator:
    """A network: the general model's, or a run's.

    Attributes
    ----------
    segmenter : Segmenter
        The model.
    source : str
        What it is called: ``general``, or its run folder.
    polarity : {"dark", "bright"} or None
        Only objects that are darker, or brighter, than the background are beads; None: both.
    """

    segmenter: Segmenter
    source: str
    polarity: Polarity | None = None

    @property
    def description(self) -> str:
        """What makes the labels."""
        model = "the general model" if self.source == GENERAL else f"the run {self.source}"
        only = f", {self.polarity} beads only" if self.polarity else ""
        return f"draft by {model}{only}"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""
        found = self.segmenter.predict(plane, stop=stop)
        if self.polarity is None or not found.count:
            return found.labels
        window = max(16, round(WINDOW_DIAMETERS * found.diameter))
        contrast = relative_to_background(luminance(plane), window, 1.0)
        return _of_polarity(found.labels, contrast, self.polarity)


def _of_polarity(labels: NDArray[np.uint32], contrast: NDArray[np.float32], polarity: Polarity) -> NDArray[np.uint32]:
    """Return the labels whose mean contrast to the background has the sign of `polarity`, renumbered."""
    sums = np.bincount(labels.reshape(-1), weights=contrast.reshape(-1))
    kept = sums < 0 if polarity == "dark" else sums > 0
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[labels]
