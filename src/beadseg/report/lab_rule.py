"""What the laboratory's rule changes between a sparse and a dense dataset, beside our plan and our measurements.

Source: the laboratory's "Hyperparameter Comparison" document. Its two columns are the presets `mitochondria` (sparse,
2 to 3 objects per image) and `microbeads` (dense, 109.4); the values here are read from those presets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.report.settings import BATCH, DROPOUT, LEARNING_RATE, LOSS, SPLIT, number, preset_settings
from beadseg.report.text_table import TIMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beadseg.measure.analysis import Summary

SPARSE, DENSE = "mitochondria", "microbeads"
"""The presets that are the document's columns."""
SPARSE_OBJECTS, DENSE_OBJECTS = 2.5, 109.4
"""Objects per image of the document's two datasets."""
ALIKE = 3.0
"""Densities that differ by less than this factor ask for the same settings."""
RARE = 0.02
"""Below this share of positive pixels the imbalance is extreme by the document's logic (its example is 1 %)."""

EVIDENCE = {
    LEARNING_RATE: "a lower rate did not help. On the same dense tiles 1e-4 (preset microbeads) reached a validation "
    "Jaccard of 0.27, 1e-3 (mitochondria) 0.67, and 2e-3 with warm-up and decay (dense) 0.72 to 0.74; the presets "
    "differ in loss and dropout too.",
    BATCH: "with 41 training images a batch of 32 leaves 2 optimizer steps per epoch, which trains next to nothing; "
    "our plan takes small batches and a fixed number of steps per epoch.",
    DROPOUT: "not measured alone. The preset dense has none, and none of its runs collapsed.",
    LOSS: "Dice alone came last (0.27). Cross-entropy relative to each patch's bead area reached 0.713, together with "
    "Dice per patch 0.72 to 0.73.",
    SPLIT: "balancing densities leaves tiles of one field of view on both sides, which flatters: 0.72 on such a split, "
    "0.67 with whole fields left out.",
}
"""What we measured, in docs/accuracy.md."""


class Setting(Config):
    """One setting by the laboratory's rule, beside what beadseg plans."""

    name: str
    """The setting."""
    first: str
    """By the rule, for the first dataset."""
    second: str
    """By the rule, for the second dataset."""
    change: str
    """From the first to the second."""
    reason: str
    """The laboratory's reason."""
    planned_first: str
    """What the preset `dense` plans for the first dataset."""
    planned_second: str
    """For the second dataset."""
    evidence: str
    """What our measurements say of the rule."""


def presets_for(first: Summary, second: Summary) -> tuple[str, str]:
    """Return the document's column for each of two datasets, told by which is denser.

    Where they are alike, or nothing is marked in one of them, both get the column that is nearer.
    """
    sparse, dense = sorted((first.objects_per_image.mean, second.objects_per_image.mean))
    if sparse > 0 and dense >= ALIKE * sparse:
        return (SPARSE, DENSE) if first.objects_per_image.mean == sparse else (DENSE, SPARSE)
    typical = (sparse * dense) ** 0.5 if sparse > 0 else dense
    both = DENSE if typical >= (SPARSE_OBJECTS * DENSE_OBJECTS) ** 0.5 else SPARSE
    return both, both


def settings(
    first: Summary, second: Summary, planned_first: Mapping[str, str], planned_second: Mapping[str, str]
) -> tuple[Setting, ...]:
    """Return the settings that the document changes, for two datasets.

    Parameters
    ----------
    first, second : Summary
        The analysed datasets.
    planned_first, planned_second : mapping of str to str
        Our plan for each by setting, e.g. of `settings_of`.
    """
    presets = presets_for(first, second)
    columns = [preset_settings(preset) for preset in presets]
    reasons = _reasons(first, second, presets)
    return tuple(
        Setting(
            name=name,
            first=columns[0][name],
            second=columns[1][name],
            change=_change(name, *presets),
            reason=reasons[name],
            planned_first=planned_first[name],
            planned_second=planned_second[name],
            evidence=evidence,
        )
        for name, evidence in EVIDENCE.items()
    )


def _change(name: str, first: str, second: str) -> str:
    if first == second:
        return "same"
    one, two = TrainConfig.preset(first), TrainConfig.preset(second)
    if name == LEARNING_RATE:
        return f"{_factor(one.optimizer.lr, two.optimizer.lr)} (unet)"
    if name == BATCH and one.batch and two.batch:
        return _factor(one.batch, two.batch)
    if name == DROPOUT:
        return f"{two.network.dropout - one.network.dropout:+g}"
    return "changed"


def _factor(first: float, second: float) -> str:
    return f"{TIMES}{second / first:g}" if second >= first else f"÷{first / second:g}"


def _reasons(first: Summary, second: Summary, presets: tuple[str, str]) -> dict[str, str]:
    """Return the document's reasons with the numbers of these datasets in place of its own."""
    sparse, dense = sorted((first, second), key=lambda summary: summary.objects_per_image.mean)
    few, many = sparse.objects_per_image.mean, dense.objects_per_image.mean
    if few == 0:
        return dict.fromkeys(EVIDENCE, f"nothing is marked in {sparse.dataset}: the rule says nothing")
    if presets[0] == presets[1]:
        return dict.fromkeys(EVIDENCE, "the densities are alike")
    rate = TrainConfig.preset(SPARSE).optimizer.lr
    more = f"{many / few:.0f}{TIMES}"
    effect = f"{more} more objects, {more} stronger gradients: {number(rate)} acts like {rate * many / few:.2g}"
    positive = dense.positive_ratio.mean
    counts = dense.objects_per_image
    return {
        LEARNING_RATE: effect,
        BATCH: "averages out the variance of dense images",
        DROPOUT: "many beads of one shape are learnt by heart",
        LOSS: f"{positive:.1%} positive pixels are extreme imbalance: by its own logic focal loss may stay"
        if positive < RARE
        else f"{positive:.1%} positive pixels are not an extreme imbalance: overlap is optimised directly",
        SPLIT: f"{counts.min:.0f} to {counts.max:.0f} objects per image must be on both sides",
    }
