"""One open dataset at work: what each key or button does, between session, samples, layers and panel."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from beadseg.annotation.corrections import count_of
from beadseg.annotation.review import write_table
from beadseg.errors import BeadsegError, InputError
from beadseg.text import plural
from beadseg.widgets.common import MessageArea, guarded, plain_tip
from beadseg.widgets.mouse_tools import BeadTool, IgnoreTool, MouseTools, Tool
from beadseg.widgets.review.keys import ACTION, Keys
from beadseg.widgets.review.sample import Preload
from beadseg.widgets.review.session import (
    before,
    codes_in,
    finding_text,
    next_after,
    plane_of,
    progress_text,
    state_text,
    summary,
)
from beadseg.widgets.review.view import Comparison, MaskBeads, View

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.edit import Labels
    from beadseg.annotation.review import Step
    from beadseg.widgets.review.sample import ReviewSample
    from beadseg.widgets.review.session import Item, Session
    from beadseg.widgets.review.work_panel import WorkPanel

AHEAD = 2
"""Samples that are read ahead."""
COMMENT_MS = 300
"""A comment at rest for so long is written to the disk."""
POLL_MS = 10
"""How often it is looked whether a page that is being read is there."""
OTHERS_MS = 5000
"""How often the decisions of others are looked for."""
UNREADABLE = "It cannot be shown, so it can only be rejected or skipped."


class Controller(QObject):
    """Leads through the samples of one session.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the samples are shown.
    panel : WorkPanel
        Shows the queue and says what the user wants.
    messages : MessageArea
        For what happened and what went wrong.
    session : Session
        What is decided goes there.
    """

    def __init__(
        self, viewer: Viewer, panel: WorkPanel, messages: MessageArea, session: Session, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self.session, self.messages, self.panel, self._viewer = session, messages, panel, viewer
        self.edits = Edits(self)
        self.current: str | None = None
        self.sample: ReviewSample | None = None
        self._way = Comparison.MASK
        self._counted: tuple[ReviewSample, int] | None = None
        """A sample with the beads of its mask, which need not be counted with every stroke."""
        self._banner = ""
        """The message about the current sample, which goes with it."""
        self.preload = Preload(session.read)
        self.view = View(viewer, self)
        tools: dict[str, Tool] = {
            "beads": BeadTool(MaskBeads(self.view, session.bead_size), self.show_status),
            "ignore": IgnoreTool(self._image_size, self.view.aim, self.ignore, self.show_status),
        }
        self.mouse = MouseTools(tools, panel.show_tool)
        self.keys = Keys(self.act)
        self._saving = self._timer(0, self.save, once=True)
        self.view.painted.connect(self._saving.start)
        self.view.painted.connect(self.edits.forget_question)
        self.view.lost.connect(self._on_lost)
        self._waiting = self._timer(POLL_MS, self._look)
        self._others = self._timer(OTHERS_MS, self._meet_others)
        self._others.start()
        self.commenting = self._timer(COMMENT_MS, self._keep_comment, once=True)
        panel.comment.textEdited.connect(self.commenting.start)
        panel.acted.connect(self.act)
        panel.chosen.connect(self.show)
        panel.filtered.connect(self.filter)
        panel.compared.connect(self.compare_as)
        panel.seen.connect(self._seen)
        panel.dataset.setText(session.dataset.root.name)
        panel.dataset.setToolTip(plain_tip(str(session.dataset.root)))
        panel.buttons["outline"].setChecked(self.view.outlined)

    def begin(self) -> None:
        """Show the first sample: one with strokes that were left, else the worst that is pending."""
        self._fill()
        left = [name for name in self.session.autosave.left if name in self.session.states]
        queue = self.queue()
        first = left[0] if left else next_after(queue, None, only_pending=True)
        if first is None and queue:
            first = queue[0].name
        if first is not None:
            self.show(first)
        if self.session.counts["pending"] == 0:
            self._finish()

    @guarded
    def act(self, name: str) -> None:
        """Do what a key or button stands for; see `beadseg.widgets.review.keys`."""
        getattr(self.edits, name)()

    @guarded
    def show(self, name: str) -> None:
        """Go to a sample, shown as soon as it is read; stay where strokes on the current one cannot be written."""
        self.write_strokes()
        self._keep_comment()
        self.clear_banner()
        self.current, self.sample = name, None
        self.panel.comment.setText(self.session.comment(name))
        self.panel.table.setValue(name)
        self.preload.ahead([name])
        if self.preload.ready(name):
            self._display()
        else:
            self.panel.show_sample(name, "reading …", "", "")
            self._waiting.start()

    @guarded
    def filter(self) -> None:
        """Show the samples that pass the panel's filter."""
        self._fill()
        queue = self.queue()
        if not queue:
            self.messages.show_text("No sample is left by this filter. Choose another state or finding.")
        elif self.current not in [item.name for item in queue]:
            self.show(next_after(queue, None, only_pending=True) or queue[0].name)

    def audited(self) -> None:
        """Put the queue into the order of a new audit, and go to the worst sample, unless strokes are in hand."""
        self.preload.forget(list(self.session.states))
        self._fill()
        worst = next_after(self.queue(), None, only_pending=True)
        goal = self.current if self.changed() else worst or self.current
        if goal is not None:
            self.show(goal)

    @guarded
    def save(self) -> None:
        """Write the strokes on the current sample to the disk; say it where that fails."""
        self.write_strokes()

    def write_strokes(self) -> None:
        """Write the strokes on the current sample to the disk; raises `MachineError`."""
        if self.sample is not None and self.view.mask is not None:
            self.session.autosave.save(np.asarray(self.view.mask.data))
            self._show_count()

    @guarded
    def _keep_comment(self) -> None:
        """Write a comment that is not decided with yet to the disk."""
        text = str(self.panel.comment.text())
        if self.current is not None and text != self.session.comment(self.current):
            self.session.keep_comment(self.current, text)

    @guarded
    def ignore(self, box: Box, plane: tuple[int, ...]) -> None:
        """Mark a box of the current sample, px, as neither bead nor background; at once on the disk."""
        sample = self.shown()
        self.sample = self.session.ignore(sample, sample.region(box, plane))
        self.preload.forget([sample.name])
        self.view.show_ignored(self.sample)
        self._bind_keys()
        self._show_sample()
        self.show_status("This box is ignored. U takes it back.")

    @guarded
    def close(self) -> None:
        """Save, take the layers away and give the keys back."""
        self.save()
        self._keep_comment()
        self.panel.comment.textEdited.disconnect(self.commenting.start)
        self.panel.comment.clear()
        for timer in (self._saving, self._waiting, self._others, self.commenting):
            timer.stop()
        for signal, slot in (
            (self.panel.acted, self.act), (self.panel.chosen, self.show), (self.panel.filtered, self.filter),
            (self.panel.compared, self.compare_as), (self.panel.seen, self._seen),
        ):  # fmt: skip
            signal.disconnect(slot)
        self.sample = None
        self.keys.release()
        self.mouse.hold(None)
        self.view.close()
        self.finish()

    def _image_size(self) -> tuple[int, int] | None:
        return None if self.sample is None else self.sample.labels.shape[-2:]

    # --- For `Edits` -------------------------------------------------------------------------------------------------

    def queue(self) -> list[Item]:
        """Return the samples that pass the panel's filter, worst finding first."""
        return self.session.queue(self.panel.filter())

    def shown(self) -> ReviewSample:
        """Return the page that is seen; raises `InputError` where none is."""
        if self.sample is None:
            raise InputError(UNREADABLE if not self._waiting.isActive() else "It is still being read.", self.current)
        if self.view.mask is None:
            raise InputError("Its layer was removed.", self.current, "Click the sample in the queue to show it again.")
        return self.sample

    def refuse_hidden(self) -> None:
        """Raise `InputError` where image or mask are hidden in the layer list: nobody decides on what is not seen."""
        hidden = [name for name in self.view.hidden if name]
        if hidden:
            remedy = "Show it with the eye in the layer list first."
            raise InputError(f"The layer {hidden[0]} is hidden.", self.current, remedy)

    def clear_banner(self) -> None:
        """Hide the message about the current sample, if it is the one that is shown."""
        if self._banner and self.messages.text == self._banner:
            self.messages.clear()
        self._banner = ""

    def changed(self) -> bool:
        """Tell whether the mask that is seen is another one than the page's."""
        mask = self.view.mask
        return (
            self.sample is not None and mask is not None and bool((np.asarray(mask.data) != self.sample.labels).any())
        )

    def taken(self, steps: tuple[Step, ...]) -> None:
        """Show what steps changed: the queue now, their samples when they are looked at again."""
        self.preload.forget(step.sample for step in steps)
        self.sample = None
        self._fill()

    def show_end(self) -> None:
        """Tell that nothing is pending in the queue, or anywhere; the current sample stays."""
        if self.current is not None:
            self.show(self.current)
        left = self.session.counts["pending"]
        if left:
            self.messages.show_text(f"Nothing pending is left with this filter; {left} are with another one.")
        else:
            self._finish()

    @guarded
    def compare_as(self, way: str) -> None:
        """Show mask and proposal in this way, from now on."""
        self._way = Comparison(way)
        self.view.compare(self._way)
        self._bind_keys()
        self.panel.show_way(self.view.comparison)

    def show_status(self, text: str) -> None:
        """Show a sentence in the viewer's status bar."""
        self._viewer.status = text

    def finish(self) -> None:
        """End the reading ahead, and write the table for spreadsheets."""
        self.preload.close()
        if any(state.steps for state in self.session.states.values()):
            with suppress(BeadsegError):  # it is rebuilt from the journal whenever it is needed
                write_table(self.session.review)

    # --- Showing ------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self.current is None or self.preload.ready(self.current):
            self._waiting.stop()
            self._display()

    @guarded
    def _display(self) -> None:
        """Show the current sample, which has been read."""
        self._waiting.stop()
        if self.current is None:
            return
        try:
            sample = self.preload.sample(self.current)
        except Exception:
            self.view.clear()
            self._show_sample()
            raise
        finally:
            self._read_ahead()
        self.sample = sample
        tool = self.mouse.on
        self.view.show(sample, self._way)
        self.mouse.hold(self.view.mask, tool)
        self._bind_keys()
        self._recover(sample)
        self._show_sample()
        self.edits.begin()
        if sample.problem:
            self._tell_about_sample(sample.problem)
        elif self.view.mostly_marked:
            share = float((sample.labels > 0).mean())
            self._tell_about_sample(f"{share:.0%} of this image is marked as bead: the mask may be inverted.")

    def _read_ahead(self) -> None:
        queue = self.queue()
        name = self.current
        for _ in range(AHEAD):
            name = next_after(queue, name, only_pending=True)
            if name is None or name == self.current:
                return
            self.preload.ahead([name])

    def _recover(self, sample: ReviewSample) -> None:
        found = self.session.autosave.begin(sample.name, sample.labels)
        if found is None:
            return
        self.view.take(found.labels)
        when = found.when[:16].replace("T", " ")
        strokes = plural(found.strokes, "unsaved stroke")
        they, them = ("is", "it") if found.strokes == 1 else ("are", "them")
        self._tell_about_sample(f"{strokes} of {when} UTC {they} shown again. C saves {them}, U drops {them}.")

    def _fill(self) -> None:
        panel, session = self.panel, self.session
        panel.show_codes(codes_in(session.items))
        panel.table.set_items(session.queue(panel.filter()))
        panel.table.setValue(self.current)
        panel.progress.setRange(0, max(1, len(session.items)))
        panel.progress.setValue(len(session.items) - session.counts["pending"])
        panel.progress.setFormat(progress_text(session))

    def _show_sample(self) -> None:
        if self.current is None:
            return
        item, state = self.session.item(self.current), self.session.states[self.current]
        findings = "\n".join(finding_text(finding) for finding in item.findings)
        if not findings:
            findings = "The audit found nothing here." if self.session.audit else "Not audited yet: press Audit."
        offer = self.sample.why if self.sample is not None and self.sample.proposal is not None else ""
        self.panel.show_sample(self.current, state_text(state), findings, offer)
        self._show_count()
        self.panel.show_way(self.view.comparison)

    def _show_count(self) -> None:
        """Show the beads of the mask as it is seen; of a stack, of all planes."""
        if self.sample is None or self.view.mask is None:
            return
        if self._counted is None or self._counted[0] is not self.sample:
            self._counted = self.sample, count_of(self.sample.labels)
        before, now = self._counted[1], count_of(np.asarray(self.view.mask.data))
        self.panel.show_count(before, now)

    def _finish(self) -> None:
        self.messages.show_text(summary(self.session), "good")
        with suppress(BeadsegError):
            write_table(self.session.review)

    @guarded
    def _meet_others(self) -> None:
        if self.session.refresh():
            self.preload.forget([name for name in self.session.states if name != self.current])
            self._fill()
            self._show_sample()

    @guarded
    def _on_lost(self) -> None:
        self.sample = None
        self._tell_about_sample(
            f"The layer of {self.current} was removed. Click the sample in the queue to show it again; "
            "your strokes are kept."
        )

    def _tell_about_sample(self, text: str) -> None:
        self._banner = text
        self.messages.show_text(text, "warning")

    def _bind_keys(self) -> None:
        """Bind the keys while the panel is seen: in a hidden dock they decide nothing."""
        if self.panel.isVisible():
            self.keys.bind([self._viewer, *self.view.layers])

    def _seen(self, seen: bool) -> None:
        if seen:
            self._bind_keys()
        else:
            self.keys.release()
            self.mouse.switch("")

    def _timer(self, milliseconds: int, slot: Any, *, once: bool = False) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(milliseconds)
        timer.setSingleShot(once)
        timer.timeout.connect(slot)
        return timer


class Edits:
    """One method per action of `beadseg.widgets.review.keys`; each raises `BeadsegError` where it cannot be done.

    Parameters
    ----------
    desk : Desk
        Where the sample is shown.
    """

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._finding = -1
        self._asked = ("", "")
        """Decision and sample that were asked for while strokes were unsaved."""

    def accept(self) -> None:
        """Accept the mask as it is on the disk."""
        sample = self._controller.shown()
        self._controller.refuse_hidden()
        self._ask_about_strokes("accept", sample.name)
        self._decide(lambda why: self._controller.session.accept(sample, why))

    def reject(self) -> None:
        """Reject the sample, also one that cannot be shown."""
        name = self._controller.current
        if name is None:
            raise InputError("No sample is chosen.", remedy="Click one in the queue.")
        self._ask_about_strokes("reject", name)
        self._decide(lambda why: self._controller.session.reject(name, why))

    def correct(self) -> None:
        """Save what is shown, strokes or proposal, as the corrected mask."""
        sample = self._controller.shown()
        self._controller.refuse_hidden()
        labels = self._chosen(sample)
        self._decide(lambda why: self._controller.session.correct(sample, labels, why))

    def skip(self) -> None:
        """Go to the next pending sample of the queue, or to the next one where none is pending."""
        queue, current = self._controller.queue(), self._controller.current
        name = next_after(queue, current, only_pending=True) or next_after(queue, current, only_pending=False)
        self._go(name, "There is no other sample in the queue.")

    def back(self) -> None:
        """Go to the sample before this one in the queue."""
        self._go(before(self._controller.queue(), self._controller.current), "This is the first sample of the queue.")

    def undo(self) -> None:
        """Undo the last stroke; else drop recovered strokes; else take back the last decision."""
        if not self._undo_stroke():
            self._reversed(self._controller.session.undo(), "Taken back")

    def redo(self) -> None:
        """Put in force again what the last undo of a decision took back."""
        self._reversed(self._controller.session.redo(), "In force again")

    def comment(self) -> None:
        """Let the user write why."""
        self._controller.panel.comment.setFocus()

    def beads(self) -> None:
        """Turn the bead tool on or off; on a proposal that is shown it changes that."""
        controller = self._controller
        sample = controller.shown()
        on = controller.mouse.on != "beads"
        if on and controller.view.comparison is Comparison.PROPOSAL and sample.proposal is not None:
            controller.view.take(sample.proposal)
            controller.save()
            controller.compare_as(Comparison.MASK)
            controller.messages.show_text("You change the proposal now. C saves it.")
        controller.mouse.switch("beads" if on else "")

    def ignore(self) -> None:
        """Turn the tool that marks what is ignored on or off."""
        self._controller.shown()
        self._controller.mouse.switch("" if self._controller.mouse.on == "ignore" else "ignore")

    def outline(self) -> None:
        """Draw masks as outlines, or filled."""
        self._controller.view.outline(not self._controller.view.outlined)
        self._controller.panel.buttons["outline"].setChecked(self._controller.view.outlined)

    def compare(self) -> None:
        """Show mask, proposal, both in turns, both side by side."""
        sample = self._controller.shown()
        if sample.proposal is None:
            raise InputError("No correction is proposed for this sample.", sample.name)
        ways = list(Comparison)
        self._controller.compare_as(ways[(ways.index(self._controller.view.comparison) + 1) % len(ways)])

    def place(self) -> None:
        """Go to the place of the next finding that has one, after the last to the whole image."""
        sample = self._controller.shown()
        findings = self._controller.session.item(sample.name).findings
        for number in range(self._finding + 1, len(findings)):
            finding = findings[number]
            if finding.box is not None or plane_of(finding):
                self._finding = number
                self._controller.view.go_to(finding.box, sample.plane_index(plane_of(finding)))
                return
        self._finding = -1
        self._controller.view.go_to(None)

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
        if asked == self._asked or not self._controller.changed():
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
        self._controller.messages.clear()
        self._controller.show(name)

    def _decide(self, decision: Callable[[str], tuple[Step, ...]]) -> None:
        """Decide, then go to the next sample that is pending, or tell the end."""
        controller = self._controller
        following = next_after(controller.queue(), controller.current, only_pending=True)
        steps = decision(str(controller.panel.comment.text()).strip())
        controller.messages.clear()
        controller.panel.comment.clear()
        controller.commenting.stop()
        controller.taken(steps)
        if following is not None:
            controller.show(following)
        else:
            controller.show_end()

    def _reversed(self, steps: tuple[Step, ...], how: str) -> None:
        self._controller.taken(steps)
        names = list(dict.fromkeys(step.sample for step in steps))
        self._controller.messages.show_text(f"{how}: {', '.join(names)}.")
        known = [name for name in names if name in self._controller.session.states]
        if known:
            self._controller.show(known[0])

    def _undo_stroke(self) -> bool:
        """Undo a stroke on the current sample; return whether there was one."""
        controller, sample, mask = self._controller, self._controller.sample, self._controller.view.mask
        if sample is None or mask is None:
            return False
        strokes = np.asarray(mask.data).copy()
        mask.undo()
        if (np.asarray(mask.data) == strokes).all():
            if not controller.changed():
                return False
            controller.view.take(sample.labels)  # what is left is older than this view of the sample
        self._asked = ("", "")
        if controller.changed():
            controller.save()
        else:
            controller.clear_banner()
            controller.session.autosave.drop(sample.name)
            controller.session.autosave.begin(sample.name, sample.labels)
        controller.show_status("Stroke undone.")
        return True

    def _chosen(self, sample: ReviewSample) -> Labels:
        """Return the labels that a correction would save: the strokes, or the proposal where it is shown."""
        way, changed, mask = self._controller.view.comparison, self._controller.changed(), self._controller.view.mask
        offered = way is Comparison.PROPOSAL or (way is not Comparison.MASK and not changed)
        if sample.proposal is not None and offered:
            return sample.proposal
        if not changed or mask is None:
            remedy = "Use the bead tool (D) or the brush (2), or show the proposal (T)."
            raise InputError("Nothing was changed.", sample.name, remedy)
        return np.array(mask.data, np.uint32)
