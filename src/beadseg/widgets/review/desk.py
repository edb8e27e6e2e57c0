"""One open dataset at work: what a key or button does, between session, pages, layers and panel."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer

from beadseg.annotation.review import write_table
from beadseg.errors import BeadsegError, InputError
from beadseg.text import plural
from beadseg.widgets.common import MessageArea, guarded, plain_tip
from beadseg.widgets.review.bead_tool import BeadTool
from beadseg.widgets.review.hand import Hand
from beadseg.widgets.review.ignore_tool import IgnoreTool
from beadseg.widgets.review.keys import Keys
from beadseg.widgets.review.pointer import Pointer, Tool
from beadseg.widgets.review.preload import Preload
from beadseg.widgets.review.queue import codes_in, next_after
from beadseg.widgets.review.stage import Comparison, Stage
from beadseg.widgets.review.summary import finding_text, progress_text, state_text, summary

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.review import Step
    from beadseg.widgets.review.page import Page
    from beadseg.widgets.review.queue import Item
    from beadseg.widgets.review.session import Session
    from beadseg.widgets.review.work_panel import WorkPanel

AHEAD = 2
"""Samples that are read ahead."""
POLL_MS = 10
"""How often it is looked whether a page that is being read is there."""
OTHERS_MS = 5000
"""How often the decisions of others are looked for."""
UNREADABLE = "It cannot be shown, so it can only be rejected or skipped."


class Desk(QObject):
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
        self.hand = Hand(self)
        self.current: str | None = None
        self.page: Page | None = None
        self._way = Comparison.MASK
        self._banner = ""
        """The message about the sample in hand, which goes with it."""
        self.preload = Preload(session.read)
        self.stage = Stage(viewer, self)
        tools: dict[str, Tool] = {
            "beads": BeadTool(lambda: self.page, session.bead_size, self.say),
            "ignore": IgnoreTool(lambda: self.page, self.stage.aim, self.ignore, self.say),
        }
        self.pointer = Pointer(tools, panel.show_tool)
        self.keys = Keys(self.act)
        self._saving = self._timer(0, self.save, once=True)
        self.stage.painted.connect(self._saving.start)
        self.stage.painted.connect(self.hand.forget_question)
        self.stage.lost.connect(self._on_lost)
        self._waiting = self._timer(POLL_MS, self._look)
        self._others = self._timer(OTHERS_MS, self._meet_others)
        self._others.start()
        panel.acted.connect(self.act)
        panel.chosen.connect(self.show)
        panel.filtered.connect(self.filter)
        panel.compared.connect(self.compare_as)
        panel.seen.connect(self._seen)
        panel.dataset.setText(session.dataset.root.name)
        panel.dataset.setToolTip(plain_tip(str(session.dataset.root)))
        panel.buttons["outline"].setChecked(self.stage.outlined)

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
        """Do what a key or button stands for; see `beadseg.widgets.review.actions`."""
        getattr(self.hand, name)()

    @guarded
    def show(self, name: str) -> None:
        """Go to a sample, shown as soon as it is read; stay where strokes on the one in hand cannot be written."""
        self.write_strokes()
        self.clear_banner()
        self.current, self.page = name, None
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
            self.messages.tell("No sample is left by this filter. Choose another state or finding.")
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
        """Write the strokes on the sample in hand to the disk; say it where that fails."""
        self.write_strokes()

    def write_strokes(self) -> None:
        """Write the strokes on the sample in hand to the disk; raises `MachineError`."""
        if self.page is not None and self.stage.mask is not None:
            self.session.autosave.save(np.asarray(self.stage.mask.data))

    @guarded
    def ignore(self, box: Box, plane: tuple[int, ...]) -> None:
        """Mark a box of the sample in hand, px, as neither bead nor background; at once on the disk."""
        page = self.shown()
        self.page = self.session.ignore(page, page.region(box, plane))
        self.preload.forget([page.name])
        self.stage.show_ignored(self.page)
        self._bind_keys()
        self._tell_sample()
        self.say("This box is ignored. U takes it back.")

    @guarded
    def close(self) -> None:
        """Save, take the layers away and give the keys back."""
        self.save()
        for timer in (self._saving, self._waiting, self._others):
            timer.stop()
        for signal, slot in (
            (self.panel.acted, self.act), (self.panel.chosen, self.show), (self.panel.filtered, self.filter),
            (self.panel.compared, self.compare_as), (self.panel.seen, self._seen),
        ):  # fmt: skip
            signal.disconnect(slot)
        self.page = None
        self.keys.release()
        self.pointer.hold(None)
        self.stage.close()
        self.finish()

    # --- For the hand -------------------------------------------------------------------------------------------------

    def queue(self) -> list[Item]:
        """Return the samples that pass the panel's filter, worst finding first."""
        return self.session.queue(self.panel.filter())

    def shown(self) -> Page:
        """Return the page that is seen; raises `InputError` where none is."""
        if self.page is None:
            raise InputError(UNREADABLE if not self._waiting.isActive() else "It is still being read.", self.current)
        if self.stage.mask is None:
            raise InputError("Its layer was removed.", self.current, "Click the sample in the queue to show it again.")
        return self.page

    def refuse_hidden(self) -> None:
        """Raise `InputError` where image or mask are hidden in the layer list: nobody decides on what is not seen."""
        hidden = [name for name in self.stage.hidden if name]
        if hidden:
            remedy = "Show it with the eye in the layer list first."
            raise InputError(f"The layer {hidden[0]} is hidden.", self.current, remedy)

    def clear_banner(self) -> None:
        """Hide the message about the sample in hand, if it is the one that is shown."""
        if self._banner and self.messages.text == self._banner:
            self.messages.clear()
        self._banner = ""

    def changed(self) -> bool:
        """Tell whether the mask that is seen is another one than the page's."""
        mask = self.stage.mask
        return self.page is not None and mask is not None and bool((np.asarray(mask.data) != self.page.labels).any())

    def taken(self, steps: tuple[Step, ...]) -> None:
        """Show what steps changed: the queue now, their samples when they are looked at again."""
        self.preload.forget(step.sample for step in steps)
        self.page = None
        self._fill()

    def tell_end(self) -> None:
        """Tell that nothing is pending in the queue, or anywhere; the sample in hand stays."""
        if self.current is not None:
            self.show(self.current)
        left = self.session.counts["pending"]
        if left:
            self.messages.tell(f"Nothing pending is left with this filter; {left} are with another one.")
        else:
            self._finish()

    @guarded
    def compare_as(self, way: str) -> None:
        """Show mask and proposal in this way, from now on."""
        self._way = Comparison(way)
        self.stage.compare(self._way)
        self._bind_keys()
        self.panel.show_way(self.stage.comparison)

    def say(self, text: str) -> None:
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
            page = self.preload.page(self.current)
        except Exception:
            self.stage.clear()
            self._tell_sample()
            raise
        finally:
            self._read_ahead()
        self.page = page
        tool = self.pointer.on
        self.stage.show(page, self._way)
        self.pointer.hold(self.stage.mask, tool)
        self._bind_keys()
        self._recover(page)
        self._tell_sample()
        self.hand.begin()
        if page.problem:
            self._tell_about_sample(page.problem)

    def _read_ahead(self) -> None:
        queue = self.queue()
        name = self.current
        for _ in range(AHEAD):
            name = next_after(queue, name, only_pending=True)
            if name is None or name == self.current:
                return
            self.preload.ahead([name])

    def _recover(self, page: Page) -> None:
        found = self.session.autosave.begin(page.name, page.labels)
        if found is None:
            return
        self.stage.take(found.labels)
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

    def _tell_sample(self) -> None:
        if self.current is None:
            return
        item, state = self.session.item(self.current), self.session.states[self.current]
        findings = "\n".join(finding_text(finding) for finding in item.findings)
        if not findings:
            findings = "The audit found nothing here." if self.session.audit else "Not audited yet: press Audit."
        offer = self.page.why if self.page is not None and self.page.proposal is not None else ""
        self.panel.show_sample(self.current, state_text(state), findings, offer)
        self.panel.show_way(self.stage.comparison)

    def _finish(self) -> None:
        self.messages.tell(summary(self.session), "good")
        with suppress(BeadsegError):
            write_table(self.session.review)

    @guarded
    def _meet_others(self) -> None:
        if self.session.refresh():
            self.preload.forget([name for name in self.session.states if name != self.current])
            self._fill()
            self._tell_sample()

    @guarded
    def _on_lost(self) -> None:
        self.page = None
        self._tell_about_sample(
            f"The layer of {self.current} was removed. Click the sample in the queue to show it again; "
            "your strokes are kept."
        )

    def _tell_about_sample(self, text: str) -> None:
        self._banner = text
        self.messages.tell(text, "warning")

    def _bind_keys(self) -> None:
        """Bind the keys while the panel is seen: in a hidden dock they decide nothing."""
        if self.panel.isVisible():
            self.keys.bind([self._viewer, *self.stage.layers])

    def _seen(self, seen: bool) -> None:
        if seen:
            self._bind_keys()
        else:
            self.keys.release()
            self.pointer.switch("")

    def _timer(self, milliseconds: int, slot: Any, *, once: bool = False) -> QTimer:
        timer = QTimer(self)
        timer.setInterval(milliseconds)
        timer.setSingleShot(once)
        timer.timeout.connect(slot)
        return timer
