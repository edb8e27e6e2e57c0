"""A training run watches itself: what goes wrong is named in plain words, with the likely cause and the remedy.

Every check is a pure function of the history rows so far (see `history.COLUMNS`) and returns at most one `Diagnosis`.
The limits come from the laboratory's document (no collapse, train-validation gap below 0.15, standard deviation of the
last ten epochs below 0.05).
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING, Literal

from beadseg.config.base import Config
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.training.history import Row

MIN_STEPS_PER_EPOCH = 10
GAP_LIMIT = 0.15
OSCILLATION_LIMIT = 0.05
OSCILLATION_EPOCHS = 10


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
        cause="the network learns the training images by heart, or the validation masks are worse than the others.",
        remedy="look at the validation masks first; then more augmentation, network.dropout=0.2, more fields of view.",
    )


def oscillation(rows: Sequence[Row], metric: str) -> Diagnosis | None:
    """Find a validation score that jumps up and down over the last ten epochs."""
    scores = [row[f"val_{metric}"] for row in rows[-OSCILLATION_EPOCHS:] if f"val_{metric}" in row]
    if len(scores) < OSCILLATION_EPOCHS or _scatter(scores) <= OSCILLATION_LIMIT:
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


def _scatter(scores: Sequence[float]) -> float:
    """Return the scatter from epoch to epoch, blind to a steady rise: root mean square second difference over sqrt(6).

    For independent noise this estimates its standard deviation.
    """
    second = [a - 2 * b + c for a, b, c in zip(scores, scores[1:], scores[2:], strict=False)]
    return math.sqrt(statistics.fmean(value**2 for value in second) / 6)
