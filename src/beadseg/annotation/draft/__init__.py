"""First annotations by a machine, which enter a dataset as pending drafts; nothing trains on them before a person."""

from beadseg.annotation.draft.annotators import Annotator, ModelAnnotator
from beadseg.annotation.draft.write import DraftResult, draft_dataset

__all__ = ["Annotator", "DraftResult", "ModelAnnotator", "draft_dataset"]
