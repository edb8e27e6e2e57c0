"""How well centres and counts agree with the truth, per density class and over all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from counting_tiles import DIAMETER

from beadseg.measure.matching import Detection, match_points

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from counting_tiles import Tile
    from numpy.typing import NDArray

    Centres = NDArray[np.float64]
    Finder = Callable[[Tile], Centres]


@dataclass(frozen=True)
class TileScore:
    """One method on one tile."""

    expected: int
    detection: Detection
    predicted: int
    true: int


def score_tile(tile: Tile, found: Centres) -> TileScore:
    """Match centres one to one within half a bead diameter."""
    matched = match_points(found, tile.centres, DIAMETER / 2).counts
    return TileScore(tile.expected, matched, len(found), len(tile.centres))


def score_tiles(tiles: Sequence[Tile], finder: Finder) -> list[TileScore]:
    """Score a method on every tile."""
    return [score_tile(tile, finder(tile)) for tile in tiles]


def mean_f1(scores: Sequence[TileScore]) -> float:
    """Return F1 averaged over tiles: what the parameters of the peers are tuned for."""
    return float(np.mean([score.detection.f1 for score in scores]))


def summary(scores: Sequence[TileScore]) -> dict[str, float]:
    """Return the numbers of one group of tiles: F1 of all beads together, count bias and median absolute error, %."""
    pooled = sum((score.detection for score in scores), Detection(0, 0, 0))
    true = sum(score.true for score in scores)
    errors = [abs(score.predicted - score.true) / score.true for score in scores if score.true]
    return {
        "tiles": len(scores),
        "beads": true,
        "f1": pooled.f1,
        "precision": pooled.precision,
        "recall": pooled.recall,
        "bias_percent": 100 * (sum(score.predicted for score in scores) - true) / true,
        "median_error_percent": 100 * float(np.median(errors)),
    }


def summaries(scores: Sequence[TileScore]) -> dict[str, dict[str, float]]:
    """Return the summary of every density class, sparse ones first, and of ``all``."""
    classes = sorted({score.expected for score in scores})
    by_class = {str(size): summary([score for score in scores if score.expected == size]) for size in classes}
    return {**by_class, "all": summary(scores)}


def table(methods: dict[str, dict[str, dict[str, float]]], seconds: dict[str, float]) -> str:
    """Return the table in Markdown: one row per method and class."""
    head = "| method | beads per tile | F1 | precision | recall | count bias % | median error % | s per tile |"
    rows = [head, "|" + " --- |" * 8]
    for method, groups in methods.items():
        for name, group in groups.items():
            time = f"{seconds[method]:.2f}" if name == "all" and method in seconds else ""
            rows.append(
                f"| {method} | {name} | {group['f1']:.4f} | {group['precision']:.4f} | {group['recall']:.4f} "
                f"| {group['bias_percent']:+.2f} | {group['median_error_percent']:.2f} | {time} |"
            )
    return "\n".join(rows)


def verdicts(groups: dict[str, dict[str, float]]) -> list[str]:
    """Return one line per bar that beadseg is held to: met or not."""
    every, densest = groups["all"], groups[max((name for name in groups if name != "all"), key=int)]
    bars = [
        ("F1 of all beads >= 0.98", every["f1"], every["f1"] >= 0.98),
        ("|count bias| <= 1 %", every["bias_percent"], abs(every["bias_percent"]) <= 1),
        ("median absolute count error <= 2 %", every["median_error_percent"], every["median_error_percent"] <= 2),
        ("F1 at the highest density >= 0.95", densest["f1"], densest["f1"] >= 0.95),
    ]
    return [f"{'met    ' if met else 'NOT met'} {name}: {value:.4f}" for name, value, met in bars]
