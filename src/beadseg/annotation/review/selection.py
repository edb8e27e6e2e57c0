"""Which samples of a reviewed dataset to train on, with the masks that hold: corrections, never unread drafts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from beadseg.annotation.review.store import Review
from beadseg.data.fields import listed
from beadseg.errors import InputError
from beadseg.events import Event, OnEvent, ignore
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.annotation.review.sample_review import SampleReview
    from beadseg.data.dataset import Dataset

Which = Literal["accepted", "not-rejected", "all"]
"""``accepted``: accepted or corrected; ``not-rejected``: also what nobody decided on yet; ``all``: also rejected."""
WHICH: tuple[Which, ...] = ("accepted", "not-rejected", "all")


@dataclass(frozen=True)
class Selection:
    """The samples to use, and why the others are not.

    Attributes
    ----------
    dataset : Dataset
        The samples to use, with the files that hold.
    used : dict of str to int
        Number of samples used, by state.
    left_out : dict of str to str
        Reason by name of sample.
    warnings : dict of str to tuple of str
        What is to be known about samples that are used, by name.
    """

    dataset: Dataset
    used: dict[str, int]
    left_out: dict[str, str]
    warnings: dict[str, tuple[str, ...]]

    def lines(self) -> list[str]:
        """Return in sentences how many samples are used and left out, and why."""
        states = ", ".join(f"{count} {state}" for state, count in self.used.items())
        total = len(self.dataset) + len(self.left_out)
        lines = [
            f"Review: {len(self.dataset)} of {plural(total, 'sample')} used ({states}), {len(self.left_out)} left out."
        ]
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            by_reason.setdefault(reason, []).append(name)
        return lines + [f"Left out, {reason}: {len(names)} ({listed(names)})." for reason, names in by_reason.items()]


def reviewed(dataset: Dataset, which: Which | str = "not-rejected", on_event: OnEvent = ignore) -> Dataset:
    """Return the samples of `dataset` to train on, with corrected masks and ignore regions in place of the originals.

    Drafts that nobody decided on are never among them. A dataset without a review is returned as it is, unless only
    accepted samples are asked for.

    Parameters
    ----------
    dataset : Dataset
        Open it with ``require_masks=False`` where a review may have given masks to images that had none.
    which : {"not-rejected", "accepted", "all"}
        See `Which`.
    on_event
        Told how many samples are used and left out, and why.

    Raises
    ------
    InputError
        No sample is left, or `which` is none of these.
    """
    if which not in WHICH:
        raise InputError(f"{which!r} is not a choice of samples.", "--samples", f"Choose one of {', '.join(WHICH)}.")
    if which != "accepted" and not Review.exists(dataset.root):
        return dataset
    selection = select(dataset, which)
    for line in selection.lines():
        on_event(Event("review", line, data={"used": selection.used, "left_out": selection.left_out}))
    for name, notes in selection.warnings.items():
        on_event(Event("review", f"{name}: {'; '.join(notes)}.", "warning", {"sample": name}))
    if not len(selection.dataset):
        reasons = ", ".join(f"{count} {reason}" for reason, count in Counter(selection.left_out.values()).items())
        remedy = "Accept samples with `beadseg-batch review`, or choose others with --samples."
        raise InputError(f"No sample is left ({reasons}).", dataset.root, remedy)
    return selection.dataset


def select(dataset: Dataset, which: Which) -> Selection:
    """Divide the samples of `dataset` into those to use and those to leave out."""
    used: list[SampleReview] = []
    left_out: dict[str, str] = {}
    for name, review in Review.open(dataset).states().items():
        reason = _reason(review, which)
        if reason:
            left_out[name] = reason
        else:
            used.append(review)
    return Selection(
        replace(dataset, samples=tuple(review.sample for review in used)),
        dict(Counter(review.state for review in used)),
        left_out,
        {review.name: review.notes for review in used if review.notes},
    )


def _reason(review: SampleReview, which: Which) -> str:
    """Return why a sample is left out; empty when it is used."""
    if not review.sample.annotated:
        return "without a mask"
    if review.missing:
        return "files of its review missing"
    if review.state == "pending" and review.origin == "draft":
        return "drafts that nobody accepted"
    if review.state == "rejected" and which != "all":
        return "rejected"
    if which != "accepted":
        return ""
    if review.state == "pending":
        return "pending"
    return "masks changed since they were accepted" if review.stale else ""
