"""First annotations by a machine, which enter a dataset as pending drafts; nothing trains on them before a person."""

from beadseg.annotation.draft.annotators import Annotator, ClassicalAnnotator, RunAnnotator
from beadseg.annotation.draft.look import BeadLook, measure_look
from beadseg.annotation.draft.write import DraftResult, draft_dataset

__all__ = [
    "Annotator",
    "BeadLook",
    "ClassicalAnnotator",
    "DraftResult",
    "RunAnnotator",
    "draft_dataset",
    "measure_look",
]
