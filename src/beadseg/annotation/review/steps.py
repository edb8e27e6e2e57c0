"""The steps of a review: who did what to which sample, when and why; and what holds now, the same for everybody.

Steps are added, never changed. An undo or redo is a step too.
"""

from __future__ import annotations

import getpass
import heapq
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field

from beadseg.config.base import Config
from beadseg.text import from_line, to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

State = Literal["pending", "accepted", "rejected", "corrected"]
"""What was decided about a sample's annotation; ``pending``: nothing yet."""
STATES: tuple[State, ...] = ("pending", "accepted", "rejected", "corrected")

Action = Literal["draft", "accept", "reject", "pending", "correct", "ignore", "undo", "redo"]
"""What a step does. ``draft``: the annotation was made by a machine. ``pending``: takes a decision back to none."""

ACTION_OF: dict[State, Action] = {
    "pending": "pending",
    "accepted": "accept",
    "rejected": "reject",
    "corrected": "correct",
}
"""The action that brings a sample into a state."""

Kind = Literal["", "mask", "labels"]
"""How a mask file is to be read: foreground only, or one id per bead; empty where there is none."""

BY_VARIABLE = "BEADSEG_BY"
"""Environment variable with the name to sign decisions with."""


class Step(Config):
    """A row of the journal."""

    time: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
    """UTC by the writer's clock."""
    by: str
    """Who."""
    sample: str
    """Name of the sample."""
    action: Action
    """What was done."""
    state: Literal["", "pending", "accepted", "rejected", "corrected"] = ""
    """State of the sample from this step on; empty for ``ignore``, ``undo`` and ``redo``."""
    why: str = ""
    """Reason in the person's words."""
    mask: str = ""
    """The mask decided on, relative to the dataset folder; empty where there is none."""
    kind: Kind = ""
    """How `mask` is to be read."""
    mask_sha256: str = ""
    """Of the file's bytes when it was decided on."""
    ignore: str = ""
    """``ignore``: the new ignore mask, relative to the dataset folder."""
    ignore_sha256: str = ""
    """Of that file's bytes."""
    step: str
    """Unique id."""
    after: tuple[str, ...] = ()
    """Ids of the newest steps of this sample that the writer knew of."""
    target: str = ""
    """``undo``, ``redo``: id of the step that is taken back or put into force again."""
    group: str = ""
    """Id shared by the steps that one command made together; they are undone together."""
    version: Literal["1"] = "1"
    """Version of this table."""

    def to_line(self) -> str:
        """Return the step as a row of the journal, its line feed included."""
        values = self.model_dump()
        return to_line([" ".join(value) if isinstance(value, tuple) else value for value in values.values()])

    @classmethod
    def from_line(cls, line: str, columns: list[str]) -> Self:
        """Read a row; raises `ConfigError`, or `ValueError` for a row that has not as many cells as `columns`."""
        values = dict(zip(columns, from_line(line), strict=True))
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        return cls.parse({**known, "after": tuple(known.get("after", "").split())})


STEP_COLUMNS = tuple(Step.model_fields)
"""Columns of a journal."""


def new_id() -> str:
    """Return an id that no other step has, on whatever machine: the time, for people, and 48 random bits."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(6)}"


def now() -> str:
    """Return the time in the form of `Step.time`."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def who() -> str:
    """Return the name that decisions are signed with: ``BEADSEG_BY``, else that of the user of this computer."""
    given = os.environ.get(BY_VARIABLE, "").strip()
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without an entry for this user
        return "unknown"


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


def undo_of_sample(ordered: Sequence[Step]) -> list[Step]:
    """Return the last step of a sample, whoever made it; nothing where there is none."""
    last = undoable(ordered)
    return [last] if last else []


def redo_of_sample(ordered: Sequence[Step]) -> list[Step]:
    """Return the step that the last undo of a sample took back."""
    found = redoable(ordered)
    return [found[1]] if found else []


def undo_of_person(samples: Iterable[Sequence[Step]], by: str) -> list[Step]:
    """Return what `by` did last: all steps of that call. `samples`: the ordered steps of each sample."""
    own = [step for ordered in samples for step in in_force(ordered) if step.by == by and step.action != "draft"]
    newest = max(own, key=_age, default=None)
    return [step for step in own if newest and step.group == newest.group]


def redo_of_person(samples: Iterable[Sequence[Step]], by: str) -> list[Step]:
    """Return all steps that the last undo by `by` took back, where nothing was decided since."""
    found = [pair for ordered in samples if (pair := redoable(ordered)) and pair[0].by == by]
    newest = max((undo for undo, _ in found), key=_age, default=None)
    return [target for undo, target in found if newest and undo.group == newest.group]


def _age(step: Step) -> tuple[str, str]:
    return step.time, step.step
