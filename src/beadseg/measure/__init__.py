"""Measure: the bead table, pixel scores, one-to-one matching, and the evaluation of a prediction folder."""

from beadseg.measure.beads import bead_table
from beadseg.measure.evaluation import Evaluation, evaluate
from beadseg.measure.matching import match_labels, match_points
from beadseg.measure.metrics import aggregate, dice, jaccard
from beadseg.measure.threshold import threshold_baseline

__all__ = [
    "Evaluation",
    "aggregate",
    "bead_table",
    "dice",
    "evaluate",
    "jaccard",
    "match_labels",
    "match_points",
    "threshold_baseline",
]
