"""Which images to annotate next: those that a trained model is least sure of, and that differ from each other."""

from beadseg.annotation.suggest.rank import Suggestion, rank
from beadseg.annotation.suggest.suggest import SuggestResult, suggest
from beadseg.annotation.suggest.uncertainty import Uncertainty, uncertainty

__all__ = ["SuggestResult", "Suggestion", "Uncertainty", "rank", "suggest", "uncertainty"]
