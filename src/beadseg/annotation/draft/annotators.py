"""What can make a draft: the classical detector, or a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from beadseg.annotation.draft.classical import find_beads

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from beadseg.annotation.draft.look import BeadLook
    from beadseg.events import StopFlag
    from beadseg.predict.segmenter import Segmenter


class Annotator(Protocol):
    """Makes instance labels of an image."""

    @property
    def description(self) -> str:
        """What makes the labels, for the review's history."""

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""


@dataclass(frozen=True)
class ClassicalAnnotator:
    """The classical detector.

    Attributes
    ----------
    look : BeadLook
        What the beads look like, from `measure_look`.
    """

    look: BeadLook

    @property
    def description(self) -> str:
        """What makes the labels."""
        return f"draft by the classical detector: {self.look.polarity} beads of {self.look.diameter_px:.1f} px"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""
        return find_beads(plane, self.look)


@dataclass(frozen=True)
class RunAnnotator:
    """A trained network.

    Attributes
    ----------
    segmenter : Segmenter
        The model.
    source : str
        What it is called: its run folder.
    """

    segmenter: Segmenter
    source: str

    @property
    def description(self) -> str:
        """What makes the labels."""
        return f"draft by the run {self.source}"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""
        return self.segmenter.predict(plane, stop=stop).labels
