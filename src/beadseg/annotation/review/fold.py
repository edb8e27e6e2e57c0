"""From the steps of one sample to what holds now: the same for everybody, whatever the order they were read in.

Steps are ordered by what their writers knew (a step comes behind those it was made after), and only steps that did
not know of each other by the clock: a wrong clock cannot put a decision before the one that it replaces. Of two that
did not know of each other the later holds, and the other is named as a conflict until somebody who saw both decides.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beadseg.annotation.review.step import Kind, State, Step


@dataclass(frozen=True)
class Outcome:
    """What steps amount to.

    Attributes
    ----------
    state : {"pending", "accepted", "rejected", "corrected"}
        Of the sample.
    draft : bool
        The annotation was first made by a machine.
    by, when, why : str
        Who decided last, at what time (UTC), for what reason.
    mask, kind, mask_sha256 : str
        The mask that was decided on, as in `Step`; empty where nothing was decided.
    ignore, ignore_sha256 : str
        The ignore mask marked in the review, as in `Step`.
    """

    state: State = "pending"
    draft: bool = False
    by: str = ""
    when: str = ""
    why: str = ""
    mask: str = ""
    kind: Kind = ""
    mask_sha256: str = ""
    ignore: str = ""
    ignore_sha256: str = ""


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Return the steps of one sample, each behind those it was made after, else by time (Kahn 1962)."""
    by_id = {step.step: step for step in steps}
    waiting = {name: {other for other in step.after if other in by_id} for name, step in by_id.items()}
    followers: dict[str, list[str]] = {}
    for name, others in waiting.items():
        for other in others:
            followers.setdefault(other, []).append(name)
    ready = [(by_id[name].time, name) for name, others in waiting.items() if not others]
    heapq.heapify(ready)
    ordered: list[Step] = []
    while ready:
        _, name = heapq.heappop(ready)
        ordered.append(by_id.pop(name))
        for follower in followers.get(name, ()):
            waiting[follower].discard(name)
            if not waiting[follower]:
                heapq.heappush(ready, (by_id[follower].time, follower))
    # Only rows edited by hand can be behind each other in a circle.
    return ordered + sorted(by_id.values(), key=lambda step: (step.time, step.step))


def heads(ordered: Sequence[Step]) -> tuple[str, ...]:
    """Return the ids of the steps that no other was made after."""
    followed = {name for step in ordered for name in step.after}
    return tuple(step.step for step in ordered if step.step not in followed)


def in_force(ordered: Sequence[Step]) -> list[Step]:
    """Return the steps that were not undone, without the undoing itself."""
    undone: set[str] = set()
    for step in ordered:
        if step.action == "undo":
            undone.add(step.target)
        elif step.action == "redo":
            undone.discard(step.target)
    return [step for step in ordered if step.action not in ("undo", "redo") and step.step not in undone]


def outcome(ordered: Sequence[Step]) -> Outcome:
    """Return what the steps of one sample amount to."""
    active = in_force(ordered)
    decisions = [step for step in active if step.state]
    ignores = [step for step in active if step.action == "ignore"]
    draft = any(step.action == "draft" for step in ordered)
    if not active:
        return Outcome(draft=draft)
    last = decisions[-1] if decisions else active[-1]
    ignored = (ignores[-1].ignore, ignores[-1].ignore_sha256) if ignores else ("", "")
    state: State = last.state or "pending"
    return Outcome(state, draft, last.by, last.time, last.why, last.mask, last.kind, last.mask_sha256, *ignored)


def conflicts(ordered: Sequence[Step]) -> tuple[Outcome, ...]:
    """Return what others decided, not knowing of what holds now; empty where everybody agrees."""
    known = {end: _known_to(end, ordered) for end in heads(ordered)}
    if len(known) < 2:
        return ()
    holds = outcome(ordered)
    found = []
    for end, ids in known.items():
        others = set().union(*(ids_there for there, ids_there in known.items() if there != end))
        about = _about([step for step in ordered if step.step in ids - others], ordered)
        theirs = outcome([step for step in ordered if step.step in ids])
        if ("mask" in about and (theirs.state, theirs.mask) != (holds.state, holds.mask)) or (
            "ignore" in about and theirs.ignore != holds.ignore
        ):
            found.append(theirs)
    return tuple(found)


def undoable(ordered: Sequence[Step]) -> Step | None:
    """Return the step that an undo of this sample takes back. That something is a draft cannot be undone."""
    return next((step for step in reversed(in_force(ordered)) if step.action != "draft"), None)


def redoable(ordered: Sequence[Step]) -> tuple[Step, Step] | None:
    """Return the undo that a redo of this sample takes back, and the step that it had undone; none after new steps."""
    by_id = {step.step: step for step in ordered}
    stack: list[Step] = []
    for step in ordered:
        if step.action == "undo":
            stack.append(step)
        elif step.action == "redo":
            stack = [undo for undo in stack if undo.target != step.target]
        else:
            stack = []
    known = [(undo, by_id[undo.target]) for undo in stack if undo.target in by_id]
    return known[-1] if known else None


def _known_to(end: str, ordered: Sequence[Step]) -> set[str]:
    """Return the ids of the step `end` and of all that it was made after, directly or not."""
    by_id = {step.step: step for step in ordered}
    known: set[str] = set()
    todo = [end]
    while todo:
        name = todo.pop()
        if name in by_id and name not in known:
            known.add(name)
            todo += by_id[name].after
    return known


def _about(steps: Sequence[Step], ordered: Sequence[Step]) -> set[str]:
    """Return what the steps decide on: the mask, the ignore mask; of an undo or redo what it takes back."""
    by_id = {step.step: step for step in ordered}
    meant = [by_id.get(step.target, step) for step in steps]
    return {"ignore" if step.action == "ignore" else "mask" for step in meant}
