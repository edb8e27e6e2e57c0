"""Measure: the bead table, pixel scores, one-to-one matching, evaluation of predictions, densities.

What is imported is loaded when it is first used: a command pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.measure.beads import bead_table
    from beadseg.measure.concentration.densities import density
    from beadseg.measure.concentration.document import DensityReport
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

_HOMES = {
    "DensityReport": "beadseg.measure.concentration.document",
    "Evaluation": "beadseg.measure.evaluation",
    "aggregate": "beadseg.measure.scores",
    "bead_table": "beadseg.measure.beads",
    "density": "beadseg.measure.concentration.densities",
    "dice": "beadseg.measure.scores",
    "evaluate": "beadseg.measure.evaluation",
    "jaccard": "beadseg.measure.scores",
    "match_labels": "beadseg.measure.matching",
    "match_points": "beadseg.measure.matching",
    "threshold_baseline": "beadseg.measure.spots",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg.measure' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
