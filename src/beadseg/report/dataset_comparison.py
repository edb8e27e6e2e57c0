"""Two datasets side by side: the laboratory's domain comparison, and below it the settings that should differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.data.fingerprint import fingerprint
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.report.compare import BATCH, DROPOUT, LEARNING_RATE, LOSS, SPLIT, number, preset_settings, settings_of
from beadseg.text import TIMES, pipe_table
from beadseg.training.prepare import plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from beadseg.data.dataset import Dataset
    from beadseg.measure.analysis import Analysis, Spread, Summary

NO_PLAN = "none: no bead is marked"
"""Stands for the plan of a dataset without beads."""
OUR_PRESET = "dense"
"""The preset whose plan is shown."""

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


@dataclass(frozen=True)
class Domain:
    """One of the datasets compared.

    Attributes
    ----------
    name : str
        What it is called in the tables.
    dataset : Dataset
        Its samples.
    analysis : Analysis
        What was measured of them.
    """

    name: str
    dataset: Dataset
    analysis: Analysis


class Metric(Config):
    """One line of the domain comparison."""

    name: str
    """What is compared."""
    first: str
    """In the first dataset: mean over images, and range or standard deviation."""
    second: str
    """In the second dataset."""
    ratio: float | None
    """Second over first, of the means; None where there is none."""


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


class DomainComparison(Config):
    """Two datasets side by side."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    first: str
    """Name of the first dataset."""
    second: str
    """Name of the second dataset."""
    density_ratio: float | None
    """Objects per image of the second over those of the first; None when the first has none."""
    conclusion: str
    """What the density ratio means by the laboratory's rule."""
    metrics: tuple[Metric, ...]
    """The domain comparison."""
    settings: tuple[Setting, ...]
    """The settings that the rule changes, our plan, and our measurements."""

    def text(self, align: bool = True) -> str:
        """Return the tables as text: padded for a terminal or log, or plain Markdown."""
        domains = [
            (metric.name, metric.first, metric.second, "-" if metric.ratio is None else times(metric.ratio))
            for metric in self.metrics
        ]
        rule = [(s.name, s.first, s.second, s.change) for s in self.settings]
        planned = [(s.name, s.planned_first, s.planned_second) for s in self.settings]
        return "\n".join(
            [
                pipe_table(("Metric", self.first, self.second, "Ratio"), domains, align=align),
                "",
                self.conclusion,
                "",
                "The laboratory's rule:",
                "",
                pipe_table(("Setting", self.first, self.second, "Change"), rule, align=align),
                "",
                "Its reasons:",
                "",
                *(f"- {s.name}: {s.reason}." for s in self.settings),
                "",
                f"What beadseg plans (preset {OUR_PRESET}):",
                "",
                pipe_table(("Setting", self.first, self.second), planned, align=align),
                "",
                "Where our measurements on one laboratory's dense tiles differ from the rule (docs/accuracy.md):",
                "",
                *(f"- {s.name}: {s.evidence}" for s in self.settings),
            ]
        )

    def write(self, out: Path) -> None:
        """Write ``comparison.json`` and ``comparison.md``; raises `MachineError`."""
        files.ensure_folder(out)
        files.write_atomically(out / files.COMPARISON, self.model_dump_json(indent=2) + "\n")
        files.write_atomically(out / files.COMPARISON_TEXT, f"# Two datasets\n\n{self.text(align=False)}\n")


def compare_domains(
    first: Domain, second: Domain, *, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> DomainComparison:
    """Compare two analysed datasets; their readable samples are read once more for the plan.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    a, b = first.analysis.summary, second.analysis.summary
    ratio = _over(b.objects_per_image.mean, a.objects_per_image.mean)
    plans = [_planned(domain, on_event, stop) for domain in (first, second)]
    return DomainComparison(
        first=first.name,
        second=second.name,
        density_ratio=ratio,
        conclusion=_conclusion(first.name, second.name, ratio),
        metrics=_metrics(first, second),
        settings=settings(a, b, *plans),
    )


def times(ratio: float) -> str:
    """Return a ratio as the laboratory writes it: one digit after the point, and the multiplication sign."""
    return f"{ratio:.1f}{TIMES}" if ratio >= 0.1 else f"{ratio:.2g}{TIMES}"


def _metrics(first: Domain, second: Domain) -> tuple[Metric, ...]:
    a, b = _texts(first.analysis.summary), _texts(second.analysis.summary)
    measured = tuple(
        Metric(name=name, first=text, second=b[name][0], ratio=_over(b[name][1], value))
        for name, (text, value) in a.items()
    )
    return (*measured, Metric(name="Domain", first=first.name, second=second.name, ratio=None))


def _texts(summary: Summary) -> dict[str, tuple[str, float]]:
    """Return each metric of the document: text and value."""
    per_image, size = summary.objects_per_image, summary.object_size
    return {
        "Objects per image": (f"{per_image.mean:.1f} ({per_image.min:.0f}-{per_image.max:.0f})", per_image.mean),
        "Object density (per megapixel)": (_with_sd(summary.objects_per_mpx), summary.objects_per_mpx.mean),
        "Positive pixel ratio": (f"{summary.positive_ratio.mean:.2%}", summary.positive_ratio.mean),
        "Object size (px²)": ("-", 0.0) if size is None else (_with_sd(size), size.mean),
        "Training samples": (str(summary.dataset_size), float(summary.dataset_size)),
    }


def _with_sd(spread: Spread) -> str:
    return f"{spread.mean:.0f} (sd {spread.sd:.0f})"


def _over(second: float, first: float) -> float | None:
    return second / first if first > 0 else None


def _conclusion(first: str, second: str, ratio: float | None) -> str:
    if ratio is None:
        return f"{first} has no marked object: there is no density ratio."
    if 1 / ALIKE < ratio < ALIKE:
        return f"The densities are alike ({times(ratio)}): the laboratory's rule asks for the same settings."
    denser, sparser = (second, first) if ratio > 1 else (first, second)
    factor = max(ratio, 1 / ratio) if ratio > 0 else None
    much = (
        "objects, the other has none" if factor is None else f"{times(factor)} as many objects per image as {sparser}"
    )
    return f"{denser} has {much}: by the laboratory's rule its settings should differ."


def _planned(domain: Domain, on_event: OnEvent, stop: StopFlag | None) -> dict[str, str]:
    """Return the settings that our preset plans for a dataset."""
    config = TrainConfig.preset(OUR_PRESET)
    failed = set(domain.analysis.summary.failed)
    readable = domain.dataset.subset(name for name in domain.dataset.names if name not in failed)
    try:
        planned, _ = plan(config, fingerprint(readable, on_event, stop))
    except InputError:
        return dict.fromkeys(settings_of(config), NO_PLAN)
    described = settings_of(planned)
    if len(readable.fields) < 2:
        described[SPLIT] = "choose block or random: one field of view"
    return described


def presets_for(first: Summary, second: Summary) -> tuple[str, str]:
    """Return the document's column for each of two datasets, chosen by which is denser.

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
        DROPOUT: "many beads of one shape are easily overfitted",
        LOSS: f"{positive:.1%} positive pixels are extreme imbalance: by its own logic focal loss may stay"
        if positive < RARE
        else f"{positive:.1%} positive pixels are not an extreme imbalance: overlap is optimised directly",
        SPLIT: f"{counts.min:.0f} to {counts.max:.0f} objects per image must be on both sides",
    }
