"""In which order samples are looked at: worst finding first; and which of them: by state or finding. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beadseg.annotation.audit import Audit, Finding
    from beadseg.annotation.review import SampleReview, State

ANY = ""
"""Filter by state or finding: all of them."""
NO_FINDING = "no finding"
"""Filter by finding: samples of which the audit has nothing to say."""


@dataclass(frozen=True)
class Filter:
    """Which samples are in the queue.

    Attributes
    ----------
    state : str
        One of the states, or `ANY`.
    finding : str
        A code of a finding, `NO_FINDING`, or `ANY`.
    """

    state: State | str = ANY
    finding: str = ANY


@dataclass(frozen=True)
class Item:
    """A sample in the queue.

    Attributes
    ----------
    name : str
        Of the sample.
    state : str
        What was decided.
    findings : tuple of Finding
        Worst first.
    """

    name: str
    state: State
    findings: tuple[Finding, ...] = ()

    @property
    def headline(self) -> str:
        """Code of the worst finding, and how many more there are."""
        if not self.findings:
            return ""
        more = len(self.findings) - 1
        return self.findings[0].code + (f", {more} more" if more else "")

    def passes(self, wanted: Filter) -> bool:
        """Tell whether the sample belongs to the queue."""
        codes: set[str] = {finding.code for finding in self.findings}
        codes = codes or {NO_FINDING}
        return wanted.state in (ANY, self.state) and (wanted.finding == ANY or wanted.finding in codes)


def items_of(states: Mapping[str, SampleReview], audit: Audit | None) -> list[Item]:
    """Return every sample, those with the worst findings first, those without any last, in the dataset's order."""
    found: dict[str, list[Finding]] = {}
    for finding in () if audit is None else audit.findings:
        found.setdefault(sample_of(finding), []).append(finding)
    order = {name: place for place, name in enumerate(found)}
    names = sorted(states, key=lambda name: order.get(name, len(order)))
    return [Item(name, states[name].state, tuple(found.get(name, ()))) for name in names]


def sample_of(finding: Finding) -> str:
    """Return the name of the sample that a finding, perhaps about one plane of it, belongs to."""
    return finding.sample.rsplit("/", 1)[0]


def plane_of(finding: Finding) -> str:
    """Return the name of the plane of a stack that a finding is about; empty for a single image."""
    return finding.sample.rsplit("/", 1)[1] if "/" in finding.sample else ""


def codes_in(items: list[Item]) -> dict[str, int]:
    """Return how many samples have each code, in the order of the queue; those without any at the end."""
    counts: dict[str, int] = {}
    for item in items:
        for code in dict.fromkeys(finding.code for finding in item.findings):
            counts[code] = counts.get(code, 0) + 1
    without = sum(not item.findings for item in items)
    return counts | ({NO_FINDING: without} if counts and without else {})


def next_after(items: list[Item], current: str | None, *, only_pending: bool) -> str | None:
    """Return the sample after the current one, from the beginning again after the last; None where none is left."""
    names = [item.name for item in items]
    start = names.index(current) + 1 if current in names else 0
    for item in items[start:] + items[:start]:
        if item.name != current and (item.state == "pending" or not only_pending):
            return item.name
    return None


def before(items: list[Item], current: str | None) -> str | None:
    """Return the sample before the current one; None at the beginning."""
    names = [item.name for item in items]
    place = names.index(current) if current in names else 0
    return names[place - 1] if place > 0 else None
