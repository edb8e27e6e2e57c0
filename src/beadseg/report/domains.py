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
from beadseg.report.lab_rule import ALIKE, Setting, settings
from beadseg.report.settings import SPLIT, settings_of
from beadseg.report.text_table import TIMES, pipe_table
from beadseg.training.plan import plan

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.data.dataset import Dataset
    from beadseg.measure.analysis import Analysis, Spread, Summary

NO_PLAN = "none: no bead is marked"
"""Stands for the plan of a dataset without beads."""
OUR_PRESET = "dense"
"""The preset whose plan is shown."""


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
        "Object density (per megapixel)": (_with_sd(summary.objects_per_mpx, ".0f"), summary.objects_per_mpx.mean),
        "Positive pixel ratio": (f"{summary.positive_ratio.mean:.2%}", summary.positive_ratio.mean),
        "Object size (px²)": ("-", 0.0) if size is None else (_with_sd(size, ".0f"), size.mean),
        "Training samples": (str(summary.dataset_size), float(summary.dataset_size)),
    }


def _with_sd(spread: Spread, form: str) -> str:
    return f"{spread.mean:{form}} (sd {spread.sd:{form}})"


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
