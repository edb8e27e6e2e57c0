"""Which steps an undo or redo is about: of one sample, or what a person did last anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.annotation.review.fold import in_force, redoable, undoable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beadseg.annotation.review.step import Step


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
