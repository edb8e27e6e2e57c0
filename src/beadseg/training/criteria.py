"""The laboratory's success criteria, computed from a run's history: met, not met, or not applicable and why.

Source: the laboratory's "Hyperparameter Comparison" document, sections "Must Achieve", "Target Performance" and
"Expected Training Behavior". Its score is the validation Jaccard, here the mean over images.
"""

from __future__ import annotations

import statistics
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from beadseg.config.base import Config
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.training.history import Row

EXPECTED = {1: (0.30, 0.35), 5: (0.40, 0.45), 10: (0.48, 0.52), 20: (0.55, 0.62), 30: (0.58, 0.68), 40: (0.60, 0.70)}
"""The document's expected validation Jaccard: epoch to (low, high)."""

PREVIOUS = 0.14
"""The laboratory's validation Jaccard before, which the document wants improved 3.5 to 5 times."""

LEARNED = 0.05
"""A run whose best score is below this has learned nothing; that it is steady or close to its training says nothing."""

Verdict = Literal["met", "not met", "not applicable"]
SCORE = "val_jaccard_images"


class Criterion(Config):
    """One criterion with what was measured."""

    group: Literal["must achieve", "target", "expected curve"]
    """Which list of the document it stands in."""
    name: str
    """The criterion, in the document's words."""
    verdict: Verdict
    """Met, not met, or not applicable."""
    measured: float | None
    """The measured value; None where there is none."""
    note: str = ""
    """What was measured, or why it does not apply."""


def criteria(rows: Sequence[Row], max_epochs: int, *, stopped_early: bool) -> list[Criterion]:
    """Return every criterion for the history `rows` of a run of at most `max_epochs` epochs."""
    scores = {int(row["epoch"]): float(row[SCORE]) for row in rows if SCORE in row}
    if not scores:
        return [Criterion(group="must achieve", name="all criteria", verdict="not applicable", measured=None,
                          note="the run has no validation images")]  # fmt: skip
    return [*_must(scores, rows), *_target(scores, rows, max_epochs, stopped_early), *_curve(scores)]


def _must(scores: dict[int, float], rows: Sequence[Row]) -> list[Criterion]:
    group: Literal["must achieve"] = "must achieve"
    final, best = list(scores.values())[-1], max(scores.values())
    held = _judge(
        group, "no validation collapse", final, final >= 0.05 and final >= 0.2 * best, f"final; best {best:.4f}"
    )
    kept = "maintains or improves after epoch 10"
    late = {epoch: score for epoch, score in scores.items() if epoch > 10}
    if late and 10 in scores:
        change = final - scores[10]
        later = _judge(group, kept, change, change >= -0.05, "final minus epoch 10; a loss of up to 0.05 is maintained")
    else:
        later = _short(group, kept, "the run has no epoch after the tenth")
    return [
        held,
        later,
        _reached(group, scores, 0.30, 10),
        _reached(group, scores, 0.50, 40),
        _steady(group, scores),
        _gap(group, "train-validation gap below 0.15", scores, rows, 0.15),
    ]


def _target(scores: dict[int, float], rows: Sequence[Row], max_epochs: int, stopped_early: bool) -> list[Criterion]:
    group: Literal["target"] = "target"
    best = max(scores.values())
    early_name = "early stopping before epoch 100"
    if max_epochs < 100:
        early = _short(group, early_name, f"the run was planned for {plural(max_epochs, 'epoch')}")
    else:
        early = _judge(group, early_name, float(max(scores)), stopped_early and max(scores) < 100, "last epoch")
    return [
        _judge(group, "validation Jaccard 0.50-0.70 or better", best, best >= 0.50, "best"),
        _judge(
            group, f"3.5-5x improvement over {PREVIOUS}", best / PREVIOUS, best >= 3.5 * PREVIOUS, "best, times that"
        ),
        _smooth(group, scores),
        early,
        _gap(group, "validation within 0.10 of training", scores, rows, 0.10),
    ]


def _curve(scores: dict[int, float]) -> list[Criterion]:
    group: Literal["expected curve"] = "expected curve"
    rows = []
    for epoch, (low, high) in EXPECTED.items():
        name = f"epoch {epoch}: {low:.2f}-{high:.2f}"
        if epoch in scores:
            note = "above the band" if scores[epoch] > high else "below the band" if scores[epoch] < low else "inside"
            rows.append(_judge(group, name, scores[epoch], scores[epoch] >= low, note))
        else:
            rows.append(_short(group, name, f"the run ended at epoch {max(scores)}"))
    return rows


def _reached(group: Literal["must achieve"], scores: dict[int, float], least: float, by: int) -> Criterion:
    name = f"validation Jaccard above {least:.2f} by epoch {by}"
    within = [score for epoch, score in scores.items() if epoch <= by]
    reached = max(within)
    if reached <= least and max(scores) < by:
        return _short(group, name, f"the run ended at epoch {max(scores)} with {reached:.4f} at best")
    return _judge(group, name, reached, reached > least, f"best of the first {plural(len(within), 'epoch')}")


def _steady(group: Literal["must achieve"], scores: dict[int, float]) -> Criterion:
    name = "no wild oscillations (sigma below 0.05 over the last 10 epochs)"
    if len(scores) < 10:
        return _short(group, name, f"the run has {plural(len(scores), 'epoch')}")
    if why := _unlearned(scores):
        return _short(group, name, why)
    sigma = statistics.pstdev(list(scores.values())[-10:])
    return _judge(group, name, sigma, sigma < 0.05, "standard deviation")


def _smooth(group: Literal["target"], scores: dict[int, float]) -> Criterion:
    name = "stable convergence, smooth curve"
    if len(scores) < 2:
        return _short(group, name, "one epoch only")
    if why := _unlearned(scores):
        return _short(group, name, why)
    fall = max(a - b for a, b in pairwise(scores.values()))
    return _judge(group, name, fall, fall <= 0.10, "largest fall between two epochs; up to 0.10 counts as smooth")


def _gap(group: Literal["must achieve", "target"], name: str, scores: dict[int, float], rows: Sequence[Row],
         limit: float) -> Criterion:  # fmt: skip
    last = rows[-1]
    train = last.get("train_jaccard_images")
    if train is None or SCORE not in last:
        return _short(group, name, "no training images were scored")
    if why := _unlearned(scores):
        return _short(group, name, why)
    distance = train - last[SCORE]
    return _judge(group, name, distance, distance < limit, "final training minus final validation Jaccard")


def _unlearned(scores: dict[int, float]) -> str:
    """Return why steadiness and gap say nothing: the run has not learned; empty when it has."""
    best = max(scores.values())
    return "" if best >= LEARNED else f"the run has not learned: its best score is {best:.4f}"


def _judge(group: Literal["must achieve", "target", "expected curve"], name: str, value: float, good: bool,
           note: str) -> Criterion:  # fmt: skip
    return Criterion(group=group, name=name, verdict="met" if good else "not met", measured=value, note=note)


def _short(group: Literal["must achieve", "target", "expected curve"], name: str, why: str) -> Criterion:
    return Criterion(group=group, name=name, verdict="not applicable", measured=None, note=why)
