"""What holds follows from what people knew of each other, then from the clock."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from beadseg.annotation.review.steps import Step, conflicts, heads, in_order, outcome, redoable, undoable

STATE = {"accept": "accepted", "reject": "rejected", "correct": "corrected", "pending": "pending", "draft": "pending"}


def step(name: str, second: int, action: str, *after: str, **values: Any) -> Step:
    time = f"2026-03-01T10:00:{second:02d}.000000Z"
    mask = {"correct": f"review/masks/{name}.png", "ignore": ""}.get(action, "masks/a.png")
    ignore = f"review/ignore/{name}.png" if action == "ignore" else ""
    known = {"state": STATE.get(action, ""), "mask": "" if action in ("undo", "redo") else mask, "ignore": ignore}
    base = {"time": time, "by": name, "sample": "a", "action": action, "step": name, "after": after}
    return Step.parse({**base, **known, **values})


def test_a_wrong_clock_cannot_put_a_decision_before_the_one_it_replaces() -> None:
    steps = [step("ada", 50, "accept"), step("ben", 10, "reject", "ada")]
    assert outcome(in_order(steps)).state == "rejected"
    assert conflicts(in_order(steps)) == ()


def test_the_later_of_two_that_did_not_know_of_each_other_holds_and_the_other_is_shown() -> None:
    ordered = in_order([step("ada", 20, "accept"), step("ben", 10, "reject")])
    assert outcome(ordered).state == "accepted"
    assert [(other.state, other.by) for other in conflicts(ordered)] == [("rejected", "ben")]


def test_a_decision_that_saw_both_ends_the_conflict() -> None:
    steps = [step("ada", 20, "accept"), step("ben", 10, "reject"), step("cleo", 5, "reject", "ada", "ben")]
    assert outcome(in_order(steps)).by == "cleo"
    assert conflicts(in_order(steps)) == ()


def test_two_who_decide_the_same_are_in_no_conflict() -> None:
    assert conflicts(in_order([step("ada", 20, "accept"), step("ben", 10, "accept")])) == ()


def test_an_ignored_region_and_a_decision_go_together() -> None:
    ordered = in_order([step("ada", 1, "draft"), step("ben", 3, "ignore", "ada"), step("cleo", 2, "accept", "ada")])
    holds = outcome(ordered)
    assert (holds.state, holds.ignore) == ("accepted", "review/ignore/ben.png")
    assert conflicts(ordered) == ()


def test_accepting_a_mask_means_that_mask_and_not_a_correction_that_was_not_seen() -> None:
    ordered = in_order([step("ada", 1, "correct"), step("ben", 2, "accept")])
    assert outcome(ordered).mask == "masks/a.png"
    assert [other.mask for other in conflicts(ordered)] == ["review/masks/ada.png"]


def test_undo_and_redo_walk_through_the_history() -> None:
    steps = [step("s1", 1, "accept"), step("s2", 2, "correct", "s1")]
    assert undoable(in_order(steps)) == steps[1]
    assert redoable(in_order(steps)) is None
    steps.append(step("u1", 3, "undo", "s2", target="s2"))
    assert outcome(in_order(steps)).state == "accepted"
    steps.append(step("u2", 4, "undo", "u1", target="s1"))
    assert outcome(in_order(steps)).state == "pending"
    assert undoable(in_order(steps)) is None
    found = redoable(in_order(steps))
    assert found is not None
    assert found[1].step == "s1"
    steps.append(step("r1", 5, "redo", "u2", target="s1"))
    assert outcome(in_order(steps)).state == "accepted"
    found = redoable(in_order(steps))
    assert found is not None
    assert found[1].step == "s2"
    steps.append(step("s3", 6, "reject", "r1"))
    assert redoable(in_order(steps)) is None


def test_two_who_press_undo_at_once_take_back_one_step() -> None:
    steps = [step("s1", 1, "accept"), step("s2", 2, "reject", "s1")]
    steps += [step("u1", 3, "undo", "s2", target="s2"), step("u2", 4, "undo", "s2", target="s2")]
    assert outcome(in_order(steps)).state == "accepted"


def test_that_something_is_a_draft_cannot_be_undone() -> None:
    ordered = in_order([step("d", 1, "draft")])
    assert undoable(ordered) is None
    assert outcome(ordered).draft


def test_the_order_is_the_same_however_the_steps_are_read() -> None:
    rng = random.Random(0)
    steps: list[Step] = []
    for number in range(40):
        after = [other.step for other in rng.sample(steps, min(len(steps), rng.randint(0, 2)))]
        steps.append(step(f"s{number}", rng.randint(0, 5), rng.choice(["accept", "reject", "correct"]), *after))
    expected = in_order(steps)
    for _ in range(20):
        rng.shuffle(steps)
        assert in_order(steps) == expected
    position = {one.step: at for at, one in enumerate(expected)}
    assert all(position[before] < position[one.step] for one in steps for before in one.after)


@pytest.mark.parametrize("seconds", list(itertools.permutations((1, 2, 3))))
def test_steps_that_stand_behind_each_other_in_a_circle_are_still_ordered(seconds: tuple[int, int, int]) -> None:
    one, two, three = seconds
    steps = [step("s1", one, "accept", "s3"), step("s2", two, "reject", "s1"), step("s3", three, "accept", "s2")]
    assert sorted(other.step for other in in_order(steps)) == ["s1", "s2", "s3"]
    assert heads(in_order(steps)) == ()
