"""The Review widget: open a dataset, audit it, decide on one sample after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import napari.viewer  # noqa: TC002 (napari looks at the annotation to hand over its viewer)
from qtpy.QtWidgets import QGridLayout, QStackedWidget, QVBoxLayout, QWidget

from beadseg import files
from beadseg.files import user_path
from beadseg.text import plural
from beadseg.widgets.common import Background, MessageArea, ProgressRow, guarded
from beadseg.widgets.common.collector import collect_all_again, keep_collections_short
from beadseg.widgets.layers.drawing_context import free_in_canvas
from beadseg.widgets.layers.events import PluginWidget, connect_while_alive, scrolling
from beadseg.widgets.review.desk import Desk
from beadseg.widgets.review.opening import Opened, run_audit, session_of
from beadseg.widgets.review.start_panel import StartPanel
from beadseg.widgets.review.work_panel import WorkPanel

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.annotation.audit import Audit


class ReviewWidget(PluginWidget):
    """Review of a dataset's annotations.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Where the samples are shown.
    """

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        free_in_canvas(viewer, self)
        self.desk: Desk | None = None
        self._audit_next = False
        self.messages = MessageArea()
        self.opening = Background("Opening the dataset", self)
        self.auditing = Background("Audit", self)
        self.start, self.work = StartPanel(), WorkPanel()
        self._pages = QStackedWidget()
        self._areas = [scrolling(self.start), scrolling(self.work)]
        for area in self._areas:
            self._pages.addWidget(area)
        progress = QGridLayout()
        for background in (self.opening, self.auditing):  # never both at once
            progress.addWidget(ProgressRow(background), 0, 0)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 6)
        column.addWidget(self._pages, 1)
        column.addLayout(progress)
        column.addWidget(self.messages)
        self.setMinimumWidth(300)
        self.start.opened.connect(self._open_typed)
        self.start.practised.connect(self.practise)
        self.work.audited.connect(self.audit)
        self.work.closed.connect(self.close_dataset)
        self.opening.started.connect(lambda: self.start.setEnabled(False))
        self.opening.ended.connect(lambda: self.start.setEnabled(True))
        self.opening.returned.connect(self._opened)
        self.opening.failed.connect(self.messages.show_error)
        self.auditing.started.connect(lambda: self.work.audit.setEnabled(False))
        self.auditing.ended.connect(lambda: self.work.audit.setEnabled(True))
        self.auditing.returned.connect(self._audited)
        self.auditing.failed.connect(self.messages.show_error)
        self.destroyed.connect(_Finisher(self))
        connect_while_alive(self, viewer.layers.events.inserted, self._offer_open_dataset)
        self._offer_open_dataset()

    @guarded
    def open(self, dataset: Path, audit: Path | None = None, by: str = "") -> None:
        """Open a dataset in the background, in place of the one before; `audit`: the folder of its audit."""
        self.messages.clear()
        self._leave()
        self._audit_next = False
        self.start.dataset.setValue(dataset)
        self.start.audit.setValue(audit)
        name = by or self.start.by.text().strip()
        self.opening.start(lambda on_event, stop: session_of(dataset, audit, name, on_event, stop))

    @guarded
    def practise(self) -> None:
        """Open a new simulated dataset whose annotations have known faults, and audit it."""
        from beadseg.widgets.io.practice import write_practice

        self.open(write_practice())
        self._audit_next = True

    @guarded
    def audit(self) -> None:
        """Look for wrong annotations in a child process; the review can go on meanwhile."""
        if self.desk is None:
            return
        root = self.desk.session.dataset.root
        self.auditing.start(lambda on_event, stop: run_audit(root, on_event, stop))

    @guarded
    def close_dataset(self) -> None:
        """Leave the dataset; strokes are kept on the disk. It stays open where they cannot be written."""
        self._leave()

    def _leave(self) -> None:
        if self.desk is not None:
            self.desk.write_strokes()
        self._put_away()

    def _put_away(self) -> None:
        self.auditing.cancel()
        self.opening.cancel()
        if self.desk is not None:
            desk, self.desk = self.desk, None
            desk.close()
        collect_all_again(id(self))
        self._pages.setCurrentIndex(0)

    def end(self) -> None:
        """Leave the dataset; strokes are on the disk."""
        self._put_away()

    @guarded
    def _offer_open_dataset(self) -> None:
        """Put the dataset whose layers are in the viewer into the empty field, such as the practice data."""
        if self.desk is not None or self.start.dataset.value() is not None:
            return
        for layer in reversed(self._viewer.layers):
            folder = layer.metadata.get("beadseg", {}).get("folder", "")
            if folder and (user_path(str(folder)) / files.IMAGES).is_dir():
                self.start.dataset.setValue(user_path(str(folder)))
                return

    @guarded
    def _open_typed(self) -> None:
        dataset = self.start.dataset.value()
        if dataset is None:
            self.messages.tell("Choose a dataset folder first: one that holds images/ with masks/ or labels/.")
            return
        self.open(dataset, self.start.audit.value())

    @guarded
    def _opened(self, opened: Opened) -> None:
        self._pages.setCurrentIndex(1)
        if opened.problem:
            self.messages.tell(opened.problem, "warning")
        self.desk = Desk(self._viewer, self.work, self.messages, opened.session, self)
        keep_collections_short(id(self))
        self.desk.begin()
        if self._audit_next:
            self._audit_next = False
            self.audit()

    @guarded
    def _audited(self, result: tuple[Audit, Path]) -> None:
        audit, folder = result
        if self.desk is None or folder.parent.parent != self.desk.session.dataset.root:
            return  # another dataset was opened meanwhile
        self.desk.session.use_audit(audit, folder)
        self.desk.audited()
        self.messages.tell(
            f"{len(audit.flagged)} of {plural(len(audit.samples), 'sample')} have findings, "
            f"{plural(len(audit.proposals), 'correction')} "
            f"are proposed. The audit is in {files.REVIEW}/{files.REVIEW_AUDIT}.",
        )


class _Finisher:
    """Ends what goes on when the viewer is closed with the widget in it; holds no reference to the widget itself."""

    def __init__(self, widget: ReviewWidget) -> None:
        self._values: dict[str, Any] = widget.__dict__
        self._owner = id(widget)

    def __call__(self) -> None:
        collect_all_again(self._owner)
        desk: Desk | None = self._values.get("desk")
        if desk is not None:
            desk.finish()
