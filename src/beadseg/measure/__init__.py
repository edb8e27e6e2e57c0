"""Measure: the bead table, pixel scores, one-to-one matching, evaluation of predictions, densities."""

from beadseg.measure.beads import bead_table
from beadseg.measure.concentration import DensityReport, density
from beadseg.measure.evaluation import Evaluation, evaluate
from beadseg.measure.matching import match_labels, match_points
from beadseg.measure.scores import aggregate, dice, jaccard
from beadseg.measure.spots import threshold_baseline

__all__ = [
    "DensityReport",
    "Evaluation",
    "aggregate",
    "bead_table",
    "density",
    "dice",
    "evaluate",
    "jaccard",
    "match_labels",
    "match_points",
    "threshold_baseline",
]
