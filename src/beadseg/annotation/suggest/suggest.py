"""Look at many unlabelled images and order them by what they would teach a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.annotation.suggest.rank import Suggestion, rank
from beadseg.annotation.suggest.uncertainty import Uncertainty, uncertainty
from beadseg.data.image_io import read_image
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.text import to_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.predict.segmenter import Segmenter

COLUMNS = ("rank", "image", "score", "novelty", "disagreement", "entropy", "count_spread", "beads")
"""Columns of the table; see `Suggestion` and `Uncertainty`."""


@dataclass(frozen=True)
class SuggestResult:
    """Images in the order in which to annotate them.

    Attributes
    ----------
    images : tuple of path
        Best first.
    suggestions : tuple of Suggestion
        Of each of these.
    measures : tuple of Uncertainty
        Of each of these.
    failures : dict of str to str
        Reason by path of the images that could not be looked at.
    """

    images: tuple[Path, ...]
    suggestions: tuple[Suggestion, ...]
    measures: tuple[Uncertainty, ...]
    failures: dict[str, str]

    def to_csv(self) -> str:
        """Return the table as CSV, best first, columns as in `COLUMNS`."""
        return to_line(COLUMNS) + "".join(to_line(row) for row in self.rows())

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as text."""
        return [
            (
                str(place),
                files.printable(path),
                f"{one.score:.4f}",
                f"{one.novelty:.4f}",
                f"{measured.disagreement:.4f}",
                f"{measured.entropy:.4f}",
                f"{measured.count_spread:.4f}",
                f"{measured.beads:g}",
            )
            for place, (path, one, measured) in enumerate(
                zip(self.images, self.suggestions, self.measures, strict=True), start=1
            )
        ]


def suggest(
    segmenter: Segmenter, images: Sequence[Path], on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> SuggestResult:
    """Order images by what annotating them would teach the model.

    Parameters
    ----------
    segmenter : Segmenter
        The model as it is.
    images : sequence of path
        Image files without annotation.
    on_event, stop
        Progress, and the flag that ends the work between images.

    Raises
    ------
    InputError
        No image could be looked at.
    Cancelled
        `stop` was set.
    """
    looked: list[tuple[Path, Uncertainty]] = []
    failures: dict[str, str] = {}
    for path in track(images, "images", len(images), on_event, stop):
        try:
            looked.append((path, uncertainty(segmenter, read_image(path), stop)))
        except (Cancelled, MachineError):
            raise
        except BeadsegError as error:  # one bad image never stops the rest
            failures[files.printable(path)] = str(error)
            on_event(Event("failure", f"Failed: {error}", "error", {"image": str(path)}))
    if not looked:
        raise InputError("None of the images could be looked at.", next(iter(failures), "suggest"), "See above.")
    order = rank([measured for _, measured in looked])
    return SuggestResult(
        tuple(looked[one.index][0] for one in order),
        tuple(order),
        tuple(looked[one.index][1] for one in order),
        failures,
    )
