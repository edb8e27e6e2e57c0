"""What a run notices about itself, with likely cause and remedy, and how far it meets the laboratory's criteria."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from beadseg.config.base import Config
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.training.records import Row

MIN_STEPS_PER_EPOCH = 10
GAP_LIMIT = 0.15
OSCILLATION_LIMIT = 0.05
OSCILLATION_EPOCHS = 10

EXPECTED = {1: (0.30, 0.35), 5: (0.40, 0.45), 10: (0.48, 0.52), 20: (0.55, 0.62), 30: (0.58, 0.68), 40: (0.60, 0.70)}
"""The document's expected validation Jaccard: epoch to (low, high)."""

PREVIOUS = 0.14
"""The laboratory's validation Jaccard before, which the document wants improved 3.5 to 5 times."""

LEARNED = 0.05
"""A run whose best score is below this has learned nothing; that it is steady or close to its training says nothing."""

Verdict = Literal["met", "not met", "not applicable"]
SCORE = "val_jaccard_images"


class Diagnosis(Config):
    """One thing that is wrong with a run."""

    code: Literal["collapse", "few-steps", "divergence", "gap", "oscillation", "not-finite", "not-learning"]
    """Which check spoke."""
    epoch: int
    """Epoch at which it was first seen; 0 before training."""
    message: str
    """What is seen, with numbers."""
    cause: str
    """The likely cause."""
    remedy: str
    """What to change."""

    def __str__(self) -> str:
        return f"{self.message} Likely cause: {self.cause} Remedy: {self.remedy}"


def few_steps(steps_per_epoch: int, epochs: int) -> Diagnosis | None:
    """Too few optimizer steps per epoch to train anything."""
    if steps_per_epoch >= MIN_STEPS_PER_EPOCH:
        return None
    each = plural(steps_per_epoch, "optimizer step")
    whole = plural(epochs, "epoch")
    return Diagnosis(
        code="few-steps",
        epoch=0,
        message=f"Only {each} per epoch, {steps_per_epoch * epochs} in {whole}.",
        cause="an epoch is one pass over few images with a large batch; batch norm needs some hundred steps to settle.",
        remedy="set epoch.kind=patches (a fixed number of steps), or a smaller batch.",
    )


def collapse(rows: Sequence[Row], metric: str) -> Diagnosis | None:
    """Find a validation score that was there and is gone."""
    scores = [row[f"val_{metric}"] for row in rows if f"val_{metric}" in row]
    if len(scores) < 2 or max(scores) < 0.05 or scores[-1] > 0.2 * max(scores):
        return None
    best = scores.index(max(scores)) + 1
    return Diagnosis(
        code="collapse",
        epoch=rows[-1]["epoch"],
        message=f"Validation {metric} collapsed from {max(scores):.3f} (epoch {best}) to {scores[-1]:.3g}.",
        cause="the learning rate is too high, or pure Dice loss has settled on one answer for every pixel.",
        remedy="use loss.kind=dice-ce with schedule.warmup=0.05, a lower optimizer.lr, and optimizer.clip=1.",
    )


def divergence(rows: Sequence[Row]) -> Diagnosis | None:
    """Find a training loss far above its minimum."""
    losses = [row["train_loss"] for row in rows]
    if len(losses) < 3 or losses[-1] < 1.5 * min(losses) + 0.1:
        return None
    return Diagnosis(
        code="divergence",
        epoch=rows[-1]["epoch"],
        message=f"The training loss rose from {min(losses):.3f} to {losses[-1]:.3f}.",
        cause="the learning rate is too high.",
        remedy="divide optimizer.lr by 3, and set optimizer.clip=1.",
    )


def gap(rows: Sequence[Row], metric: str) -> Diagnosis | None:
    """Training images score much better than validation images."""
    last = rows[-1]
    if f"train_{metric}" not in last or f"val_{metric}" not in last or len(rows) < 5:
        return None
    train, val = last[f"train_{metric}"], last[f"val_{metric}"]
    if train - val <= GAP_LIMIT:
        return None
    return Diagnosis(
        code="gap",
        epoch=last["epoch"],
        message=f"{metric} is {train:.3f} on training and {val:.3f} on validation images, {train - val:.3f} apart.",
        cause="overfitting, or validation masks that are worse than the others.",
        remedy="look at the validation masks first; then more augmentation, network.dropout=0.2, more fields of view.",
    )


def oscillation(rows: Sequence[Row], metric: str) -> Diagnosis | None:
    """Find a validation score that jumps up and down over the last ten epochs."""
    scores = [row[f"val_{metric}"] for row in rows[-OSCILLATION_EPOCHS:] if f"val_{metric}" in row]
    if len(scores) < OSCILLATION_EPOCHS or not oscillates(_scatter(scores)):
        return None
    return Diagnosis(
        code="oscillation",
        epoch=rows[-1]["epoch"],
        message=f"Validation {metric} scatters by {_scatter(scores):.3f} over the last {plural(len(scores), 'epoch')}.",
        cause="the learning rate is too high for the batch, or the validation set is very small.",
        remedy="set schedule.decay=cosine, ema=0.98, or a lower optimizer.lr.",
    )


def not_finite(rows: Sequence[Row]) -> Diagnosis | None:
    """Find a loss that became NaN or infinite."""
    if math.isfinite(rows[-1]["train_loss"]):
        return None
    return Diagnosis(
        code="not-finite",
        epoch=rows[-1]["epoch"],
        message=f"The training loss is {rows[-1]['train_loss']}.",
        cause="the learning rate is far too high, or the arithmetic overflowed.",
        remedy="divide optimizer.lr by 10, set optimizer.clip=1, or precision=fp32.",
    )


def not_learning(rows: Sequence[Row], metric: str) -> Diagnosis | None:
    """After several epochs the validation score still is near zero."""
    scores = [row[f"val_{metric}"] for row in rows if f"val_{metric}" in row]
    if len(scores) < 5 or max(scores) >= 0.05:
        return None
    return Diagnosis(
        code="not-learning",
        epoch=rows[-1]["epoch"],
        message=f"Validation {metric} is {max(scores):.3g} at best after {plural(len(scores), 'epoch')}.",
        cause="too few optimizer steps, or masks that do not belong to their images.",
        remedy="look at the overlays of images and masks; then more steps per epoch (epoch.kind=patches).",
    )


class Watch:
    """Runs every check after each epoch and reports each trouble once, when it begins.

    The checks are made for scores between 0 and 1: where a count error decides what is best, they look at F1.
    """

    def __init__(self, metric: str) -> None:
        metric = "f1" if metric in ("count_bias", "count_mae") else metric
        self.checks: tuple[Callable[[Sequence[Row]], Diagnosis | None], ...] = (
            not_finite,
            lambda rows: collapse(rows, metric),
            divergence,
            lambda rows: gap(rows, metric),
            lambda rows: oscillation(rows, metric),
            lambda rows: not_learning(rows, metric),
        )

    def new(self, rows: Sequence[Row]) -> list[Diagnosis]:
        """Return what is wrong after the last row and was not yet after the row before."""
        return [found for check in self.checks if (found := check(rows)) and (len(rows) < 2 or not check(rows[:-1]))]

    def all(self, rows: Sequence[Row]) -> list[Diagnosis]:
        """Return everything that went wrong in a whole history, in order."""
        return [found for end in range(1, len(rows) + 1) for found in self.new(rows[:end])]


def oscillates(scatter: float) -> bool:
    """Tell whether a score that scatters so from epoch to epoch jumps up and down."""
    return scatter > OSCILLATION_LIMIT


def _scatter(scores: Sequence[float]) -> float:
    """Return the scatter from epoch to epoch, blind to a steady rise: root mean square second difference over sqrt(6).

    For independent noise this estimates its standard deviation.
    """
    second = [a - 2 * b + c for a, b, c in zip(scores, scores[1:], scores[2:], strict=False)]
    return math.sqrt(statistics.fmean(value**2 for value in second) / 6)


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
    if len(scores) < OSCILLATION_EPOCHS:
        return _short(group, name, f"the run has {plural(len(scores), 'epoch')}")
    if why := _unlearned(scores):
        return _short(group, name, why)
    sigma = _scatter(list(scores.values())[-OSCILLATION_EPOCHS:])
    return _judge(group, name, sigma, not oscillates(sigma), "standard deviation, a steady rise not counted")


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
