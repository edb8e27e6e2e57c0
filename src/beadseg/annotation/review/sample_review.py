"""What a review says of one sample of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from beadseg import files

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.annotation.review.fold import Outcome
    from beadseg.annotation.review.step import State
    from beadseg.data.dataset import Sample

Origin = Literal["annotated", "draft"]
"""Whether people or a machine made the annotation that the sample began with."""


@dataclass(frozen=True)
class SampleReview:
    """State of one sample.

    Attributes
    ----------
    sample : Sample
        With the files that hold now: the corrected mask and the ignore mask of the review where there are some.
    state : {"pending", "accepted", "rejected", "corrected"}
        What was decided.
    origin : {"annotated", "draft"}
        Who made the annotation that it began with.
    by, when, why : str
        Who decided last, at what time (UTC), for what reason; empty where nothing was done.
    stale : bool
        The mask's file is not the one any more that was decided on.
    missing : tuple of pathlib.Path
        Files of the review that are needed and not there.
    conflicts : tuple of Outcome
        What others decided who did not know of this decision.
    heads : tuple of str
        Ids of its newest steps: what a decision about this state comes after.
    steps : int
        Length of its history.
    """

    sample: Sample
    state: State
    origin: Origin
    by: str = ""
    when: str = ""
    why: str = ""
    stale: bool = False
    missing: tuple[Path, ...] = ()
    conflicts: tuple[Outcome, ...] = ()
    heads: tuple[str, ...] = ()
    steps: int = 0

    @property
    def name(self) -> str:
        """Name of the sample."""
        return self.sample.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before trusting the state; empty when there is nothing."""
        notes = [f"{path.name} is missing from {path.parent}" for path in self.missing]
        if self.stale and not self.missing:
            notes.append("its mask changed since")
        notes += [f"in conflict: {other.state} by {other.by} at {other.when}" for other in self.conflicts]
        return tuple(notes)


def is_review_file(path: str) -> bool:
    """Tell whether a mask's path, relative to the dataset folder, lies in the review: a correction."""
    return path.startswith(f"{files.REVIEW}/")
