"""Which samples of a reviewed dataset to train on, with the masks that hold; and those with findings of an audit."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from beadseg.annotation.review.store import Review
from beadseg.data.fields import listed
from beadseg.errors import InputError
from beadseg.events import Event, OnEvent, ignore
from beadseg.text import from_cell, plural

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from beadseg.annotation.review.store import SampleReview
    from beadseg.data.dataset import Dataset

Which = Literal["accepted", "not-rejected", "all"]
"""``accepted``: accepted or corrected; ``not-rejected``: also what nobody decided on yet; ``all``: also rejected."""
WHICH: tuple[Which, ...] = ("accepted", "not-rejected", "all")

SAMPLE_COLUMN = "sample"
PARTNER_COLUMN = "partner"
"""The other sample concerned, where the table has the column: a duplicate, or the one that a mask belongs to."""


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


def samples_with_findings(path: Path, known: Collection[str]) -> set[str]:
    """Return the names of the samples that a row of an audit's table is about, of whatever severity.

    Parameters
    ----------
    path : pathlib.Path
        A CSV with the column ``sample``, one row per finding.
    known : collection of str
        Names of the dataset's samples.

    Raises
    ------
    InputError
        The file is missing, no such table, or has rows of none of the dataset's samples (another dataset's audit).
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            cells = {row.get(column) or "" for row in reader for column in (SAMPLE_COLUMN, PARTNER_COLUMN)} - {""}
    except FileNotFoundError:
        raise InputError("No such file.", path, "Give the audit.csv that `beadseg-batch audit` wrote.") from None
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"Cannot be read as CSV: {error}.", path, "Give the audit.csv of this dataset.") from None
    if SAMPLE_COLUMN not in columns:
        raise InputError(f"Has no column {SAMPLE_COLUMN!r}.", path, "Give the audit.csv of this dataset.")
    # A name that looks like a formula may be written with an apostrophe before it; a plane's has its sample's first.
    names = {name for cell in cells for name in (cell, from_cell(cell))}
    found = {name for whole in names for name in (whole, whole.rsplit("/", 1)[0])} & set(known)
    if cells and not found:
        raise InputError("Has no row of any sample of this dataset.", path, "Give the audit.csv of this dataset.")
    return found
