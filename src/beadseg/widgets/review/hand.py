"""What each key or button does with the sample in hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.errors import InputError
from beadseg.widgets.review.actions import ACTION
from beadseg.widgets.review.queue import before, next_after, plane_of
from beadseg.widgets.review.stage import Comparison

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.annotation.edit.patch import Labels
    from beadseg.annotation.review import Step
    from beadseg.widgets.review.desk import Desk
    from beadseg.widgets.review.page import Page


class Hand:
    """One method per action of `beadseg.widgets.review.actions`; each raises `BeadsegError` where it cannot be done.

    Parameters
    ----------
    desk : Desk
        Where the sample is shown.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._finding = -1
        self._asked = ("", "")
        """Decision and sample that were asked for while strokes were unsaved."""

    def accept(self) -> None:
        """Accept the mask as it is on the disk."""
        page = self._desk.shown()
        self._desk.refuse_hidden()
        self._ask_about_strokes("accept", page.name)
        self._decide(lambda why: self._desk.session.accept(page, why))

    def reject(self) -> None:
        """Reject the sample, also one that cannot be shown."""
        name = self._desk.current
        if name is None:
            raise InputError("No sample is chosen.", remedy="Click one in the queue.")
        self._ask_about_strokes("reject", name)
        self._decide(lambda why: self._desk.session.reject(name, why))

    def correct(self) -> None:
        """Save what is shown, strokes or proposal, as the corrected mask."""
        page = self._desk.shown()
        self._desk.refuse_hidden()
        labels = self._chosen(page)
        self._decide(lambda why: self._desk.session.correct(page, labels, why))

    def skip(self) -> None:
        """Go to the next pending sample of the queue, or to the next one where none is pending."""
        queue, current = self._desk.queue(), self._desk.current
        name = next_after(queue, current, only_pending=True) or next_after(queue, current, only_pending=False)
        self._go(name, "There is no other sample in the queue.")

    def back(self) -> None:
        """Go to the sample before this one in the queue."""
        self._go(before(self._desk.queue(), self._desk.current), "This is the first sample of the queue.")

    def undo(self) -> None:
        """Undo the last stroke; else drop recovered strokes; else take back the last decision."""
        if not self._undo_stroke():
            self._reversed(self._desk.session.undo(), "Taken back")

    def redo(self) -> None:
        """Put in force again what the last undo of a decision took back."""
        self._reversed(self._desk.session.redo(), "In force again")

    def comment(self) -> None:
        """Let the user write why."""
        self._desk.panel.comment.setFocus()

    def beads(self) -> None:
        """Turn the bead tool on or off; on a proposal that is shown it changes that."""
        desk = self._desk
        page = desk.shown()
        on = desk.pointer.on != "beads"
        if on and desk.stage.comparison is Comparison.PROPOSAL and page.proposal is not None:
            desk.stage.take(page.proposal)
            desk.save()
            desk.compare_as(Comparison.MASK)
            desk.messages.tell("You change the proposal now. C saves it.")
        desk.pointer.switch("beads" if on else "")

    def ignore(self) -> None:
        """Turn the tool that marks what is ignored on or off."""
        self._desk.shown()
        self._desk.pointer.switch("" if self._desk.pointer.on == "ignore" else "ignore")

    def outline(self) -> None:
        """Draw masks as outlines, or filled."""
        self._desk.stage.outline(not self._desk.stage.outlined)
        self._desk.panel.buttons["outline"].setChecked(self._desk.stage.outlined)

    def compare(self) -> None:
        """Show mask, proposal, both in turns, both side by side."""
        page = self._desk.shown()
        if page.proposal is None:
            raise InputError("No correction is proposed for this sample.", page.name)
        ways = list(Comparison)
        self._desk.compare_as(ways[(ways.index(self._desk.stage.comparison) + 1) % len(ways)])

    def place(self) -> None:
        """Go to the place of the next finding that has one, after the last to the whole image."""
        page = self._desk.shown()
        findings = self._desk.session.item(page.name).findings
        for number in range(self._finding + 1, len(findings)):
            finding = findings[number]
            if finding.box is not None or plane_of(finding):
                self._finding = number
                self._desk.stage.go_to(finding.box, page.plane_index(plane_of(finding)))
                return
        self._finding = -1
        self._desk.stage.go_to(None)

    def begin(self) -> None:
        """Go to the place of the worst finding of a sample that was just shown."""
        self._finding = -1
        self.place()

    def forget_question(self) -> None:
        """Ask again before a decision leaves strokes out: there are new ones."""
        self._asked = ("", "")

    def _ask_about_strokes(self, action: str, name: str) -> None:
        """Refuse a decision that would leave strokes out, unless it is asked for a second time."""
        asked, self._asked = self._asked, (action, name)
        if asked == self._asked or not self._desk.changed():
            self._asked = ("", "")
            return
        remedy = (
            f"C saves your strokes as a correction, U undoes them. {ACTION[action].key} again {action}s the sample "
            "without them; U brings them back."
        )
        raise InputError("The mask was changed.", name, remedy)

    def _go(self, name: str | None, otherwise: str) -> None:
        if name is None:
            raise InputError(otherwise, remedy="Choose another filter, or click a sample.")
        self._desk.messages.clear()
        self._desk.show(name)

    def _decide(self, decision: Callable[[str], tuple[Step, ...]]) -> None:
        """Decide, then go to the next sample that is pending, or tell the end."""
        desk = self._desk
        following = next_after(desk.queue(), desk.current, only_pending=True)
        steps = decision(str(desk.panel.comment.text()).strip())
        desk.messages.clear()
        desk.panel.comment.clear()
        desk.taken(steps)
        if following is not None:
            desk.show(following)
        else:
            desk.tell_end()

    def _reversed(self, steps: tuple[Step, ...], how: str) -> None:
        self._desk.taken(steps)
        names = list(dict.fromkeys(step.sample for step in steps))
        self._desk.messages.tell(f"{how}: {', '.join(names)}.")
        known = [name for name in names if name in self._desk.session.states]
        if known:
            self._desk.show(known[0])

    def _undo_stroke(self) -> bool:
        """Undo a stroke on the sample in hand; return whether there was one."""
        desk, page, mask = self._desk, self._desk.page, self._desk.stage.mask
        if page is None or mask is None:
            return False
        strokes = np.asarray(mask.data).copy()
        mask.undo()
        if (np.asarray(mask.data) == strokes).all():
            if not desk.changed():
                return False
            desk.stage.take(page.labels)  # what is left is older than this view of the sample
        self._asked = ("", "")
        if desk.changed():
            desk.save()
        else:
            desk.clear_banner()
            desk.session.autosave.drop(page.name)
            desk.session.autosave.begin(page.name, page.labels)
        desk.say("Stroke undone.")
        return True

    def _chosen(self, page: Page) -> Labels:
        """Return the labels that a correction would save: the strokes, or the proposal where it is shown."""
        way, changed, mask = self._desk.stage.comparison, self._desk.changed(), self._desk.stage.mask
        offered = way is Comparison.PROPOSAL or (way is not Comparison.MASK and not changed)
        if page.proposal is not None and offered:
            return page.proposal
        if not changed or mask is None:
            remedy = "Use the bead tool (D) or the brush (2), or show the proposal (T)."
            raise InputError("Nothing was changed.", page.name, remedy)
        return np.array(mask.data, np.uint32)
