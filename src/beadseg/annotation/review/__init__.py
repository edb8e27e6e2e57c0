"""Decisions of people about annotations: kept in the dataset's folder, undoable, honoured by training."""

from beadseg.annotation.review.selection import WHICH, Which, reviewed
from beadseg.annotation.review.steps import State, Step, new_id, who
from beadseg.annotation.review.store import Review, SampleReview, write_table

__all__ = ["WHICH", "Review", "SampleReview", "State", "Step", "Which", "new_id", "reviewed", "who", "write_table"]
