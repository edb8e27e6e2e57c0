"""The review in sentences: progress, the sample in hand, and what came of it all. No Qt."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beadseg.annotation.audit import Finding
    from beadseg.annotation.review import SampleReview
    from beadseg.widgets.review.session import Session


def progress_text(session: Session) -> str:
    """Return how many samples are decided on and how many are left."""
    left, total = session.counts["pending"], len(session.items)
    return f"{total - left} of {total} decided, {left} left"


def summary(session: Session) -> str:
    """Return what came of a review that has nothing left to decide."""
    counts = session.counts
    parts = [f"{counts[state]} {state}" for state in ("accepted", "corrected", "rejected")]
    people = Counter(state.by for state in session.states.values() if state.by)
    by = ", ".join(f"{name} {count}" for name, count in people.most_common())
    lines = [f"All {len(session.items)} samples are decided on: {', '.join(parts)}.", f"By whom: {by}."]
    conflicts = sum(bool(state.conflicts) for state in session.states.values())
    if conflicts:
        lines.append(f"{conflicts} in conflict with somebody else's decision: look at them again.")
    lines.append("Training uses the accepted and corrected ones; every decision can still be undone (U).")
    return "\n".join(lines)


def state_text(state: SampleReview) -> str:
    """Return who decided what on a sample and when."""
    by = f" by {state.by}, {state.when[:16].replace('T', ' ')} UTC" if state.by else ""
    text = f"pending, last change{by}" if state.state == "pending" and by else f"{state.state}{by}"
    if state.why:
        text += f": {state.why}"
    if state.origin == "draft":
        text += " (draft made by a machine)"
    ignored = ["part of it is ignored"] if state.sample.ignore_path is not None else []
    return "; ".join([text, *ignored, *state.notes])


def finding_text(finding: Finding) -> str:
    """Return a finding in words."""
    plane = f" ({finding.sample.rsplit('/', 1)[1]})" if "/" in finding.sample else ""
    return f"{finding.severity}, {finding.code}{plane}: {finding.message}"
