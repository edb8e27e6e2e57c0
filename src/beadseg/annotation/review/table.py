"""The review as one table for a spreadsheet: rebuilt from the journal, never read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.annotation.review.journal import BYTE_ORDER_MARK
from beadseg.text import to_line

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from beadseg.annotation.review.sample_review import SampleReview
    from beadseg.annotation.review.store import Review

COLUMNS = ("sample", "field", "state", "origin", "by", "when", "why", "notes", "mask", "ignore", "steps")
"""Columns of ``review.csv``. ``when``: UTC. ``notes``: what to know before trusting the state. ``steps``: how many."""
_ROUNDS = 10


def table_text(states: Iterable[SampleReview]) -> str:
    """Return the table as CSV text that a spreadsheet reads as UTF-8 and takes no cell of for a formula."""
    return BYTE_ORDER_MARK + to_line(COLUMNS) + "".join(to_line(_row(state)) for state in states)


def write_table(review: Review) -> Path:
    """Write ``review.csv`` where it is not as it should be, and return its path.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    path = files.ensure_folder(review.root / files.REVIEW) / files.REVIEW_TABLE
    for _ in range(_ROUNDS):
        text = table_text(review.states().values())
        if not path.is_file() or path.read_bytes() != text.encode():
            files.write_atomically(path, text)
        if not review.refresh():  # else somebody decided meanwhile, and may have written their table before this one
            break
    return path


def _row(review: SampleReview) -> tuple[str, ...]:
    sample = review.sample
    return (
        sample.name,
        sample.field,
        review.state,
        review.origin,
        review.by,
        review.when,
        review.why,
        "; ".join(review.notes),
        "" if sample.mask_path is None else sample.mask_path.name,
        "" if sample.ignore_path is None else sample.ignore_path.name,
        str(review.steps),
    )
