"""The order of the queue, its filters, and the way through it; no window."""

from __future__ import annotations

import pytest

from beadseg.annotation.audit import Audit, Finding
from beadseg.annotation.review import SampleReview
from beadseg.data.dataset import Sample
from beadseg.widgets.review.session import NO_FINDING, Filter, before, codes_in, items_of, next_after


def states(**of: str) -> dict[str, SampleReview]:
    return {name: SampleReview(Sample(name, None), state, "annotated") for name, state in of.items()}  # type: ignore[arg-type]


def audit(*found: tuple[str, str]) -> Audit:
    findings = [
        Finding(sample=sample, field="", code=code, severity="error", badness=0.5, value=1, unit="", message="m")  # type: ignore[arg-type]
        for sample, code in found
    ]
    return Audit(beadseg_version="0", dataset="", baseline=None, findings=tuple(findings), samples=())


ITEMS = items_of(
    states(a="pending", b="accepted", c="pending", d="pending"),
    audit(("d/z001", "shift"), ("b", "soft"), ("d/z000", "shift"), ("d", "extra")),
)


def test_worst_first_then_the_datasets_order() -> None:
    assert [item.name for item in ITEMS] == ["d", "b", "a", "c"]
    assert [item.headline for item in ITEMS] == ["shift, 2 more", "soft", "", ""]
    assert [item.name for item in items_of(states(x="pending", y="pending"), None)] == ["x", "y"]


def test_codes_are_counted_by_sample() -> None:
    assert codes_in(ITEMS) == {"shift": 1, "extra": 1, "soft": 1, NO_FINDING: 2}
    assert codes_in(items_of(states(a="pending"), None)) == {}


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Filter(), "dbac"),
        (Filter(state="pending"), "dac"),
        (Filter(finding="extra"), "d"),
        (Filter(state="pending", finding=NO_FINDING), "ac"),
        (Filter(state="rejected"), ""),
    ],
)
def test_filters(wanted: Filter, names: str) -> None:
    assert "".join(item.name for item in ITEMS if item.passes(wanted)) == names


def test_way_through_the_queue() -> None:
    assert next_after(ITEMS, None, only_pending=True) == "d"
    assert next_after(ITEMS, "d", only_pending=True) == "a"
    assert next_after(ITEMS, "d", only_pending=False) == "b"
    assert next_after(ITEMS, "c", only_pending=True) == "d"
    assert next_after(ITEMS[:1], "d", only_pending=True) is None
    assert next_after([], None, only_pending=True) is None
    assert before(ITEMS, "a") == "b"
    assert before(ITEMS, "d") is None
