"""The Review widget: open a dataset, audit it, decide on one sample after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari.viewer  # noqa: TC002 (napari looks at the annotation to hand over its viewer)
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from beadseg import files
from beadseg.annotation.audit import Audit
from beadseg.annotation.review import who
from beadseg.data.dataset import Dataset
from beadseg.errors import InputError
from beadseg.files import user_path
from beadseg.runtime.process import run_command
from beadseg.text import plural
from beadseg.widgets.common import Background, HelpButton, MessageArea, ProgressRow, guarded, temporary_folder
from beadseg.widgets.common.background import collect_all_again, keep_collections_short
from beadseg.widgets.common.settings import FolderField
from beadseg.widgets.improve import TeachPanel, present_model
from beadseg.widgets.layers import PluginWidget, connect_while_alive, free_in_canvas, scrolling
from beadseg.widgets.review.controller import Controller
from beadseg.widgets.review.session import Session
from beadseg.widgets.review.work_panel import WorkPanel

if TYPE_CHECKING:
    from beadseg.events import OnEvent, StopFlag

STEPS = (
    "<b>Decide which annotations are trained on.</b>"
    "<ol style='margin-left: -20px'>"
    "<li>Choose a dataset: a folder with <i>images</i> and <i>masks</i> or <i>labels</i>.</li>"
    "<li>Let the audit find what is wrong with the masks; the worst come first.</li>"
    "<li>Accept, reject or correct one after the other, each with a single key.</li></ol>"
    "Originals are never changed, every decision can be undone, and training uses what you accept."
)


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
        self.controller: Controller | None = None
        self._audit_next = False
        self._say_next = ""
        self.messages = MessageArea()
        self.opening = Background("Opening the dataset", self)
        self.auditing = Background("Audit", self)
        self.start, self.work = StartPanel(), WorkPanel()
        self.teach = TeachPanel(present_model, self.messages, self._root)
        self.work.place_below_head(self.teach)
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
        self.start.practised.connect(lambda: self.practise())
        self.work.audited.connect(self.audit)
        self.work.closed.connect(self.close_dataset)
        self.teach.drafted.connect(self._show_drafts)
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
    def practise(self, dataset: Path | None = None) -> None:
        """Open a simulated dataset whose annotations have known faults, a new one when not given, and audit it."""
        from beadseg.widgets.io.samples import write_practice

        self.open(dataset or write_practice())
        self._audit_next = True

    @guarded
    def audit(self) -> None:
        """Look for wrong annotations in a child process; the review can go on meanwhile."""
        if self.controller is None:
            return
        root = self.controller.session.dataset.root
        self.auditing.start(lambda on_event, stop: run_audit(root, on_event, stop))

    @guarded
    def close_dataset(self) -> None:
        """Leave the dataset; strokes are kept on the disk. It stays open where they cannot be written."""
        self._leave()

    def _leave(self) -> None:
        if self.controller is not None:
            self.controller.write_strokes()
        self._put_away()

    def _root(self) -> Path | None:
        return None if self.controller is None else self.controller.session.dataset.root

    @guarded
    def _show_drafts(self, text: str) -> None:
        """Open the dataset again, with the drafts that were made."""
        root = self._root()
        if root is not None:
            self.open(root, by=self.controller.session.by if self.controller else "")
            self._say_next = text

    def _put_away(self) -> None:
        self.auditing.cancel()
        self.teach.end()
        self.opening.cancel()
        if self.controller is not None:
            controller, self.controller = self.controller, None
            controller.close()
        collect_all_again(id(self))
        self._pages.setCurrentIndex(0)

    def end(self) -> None:
        """Leave the dataset; strokes are on the disk."""
        self._put_away()

    @guarded
    def _offer_open_dataset(self) -> None:
        """Put the dataset whose layers are in the viewer into the empty field, such as the practice data."""
        if self.controller is not None or self.start.dataset.value() is not None:
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
            self.messages.show_text("Choose a dataset folder first: one that holds images/ with masks/ or labels/.")
            return
        self.open(dataset, self.start.audit.value())

    @guarded
    def _opened(self, opened: Opened) -> None:
        self._pages.setCurrentIndex(1)
        if opened.problem:
            self.messages.show_text(opened.problem, "warning")
        self.controller = Controller(self._viewer, self.work, self.messages, opened.session, self)
        keep_collections_short(id(self))
        self.controller.begin()
        self.teach.show_curve()
        if self._say_next:
            self.messages.show_text(self._say_next, "good")
            self._say_next = ""
        if self._audit_next:
            self._audit_next = False
            self.audit()

    @guarded
    def _audited(self, result: tuple[Audit, Path]) -> None:
        audit, folder = result
        if self.controller is None or folder.parent.parent != self.controller.session.dataset.root:
            return  # another dataset was opened meanwhile
        self.controller.session.use_audit(audit, folder)
        self.controller.audited()
        self.messages.show_text(
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
        controller: Controller | None = self._values.get("controller")
        if controller is not None:
            controller.finish()


class StartPanel(QWidget):
    """Fields for the dataset, its audit and the name to sign with."""

    opened = Signal()
    """The user wants to open what the fields say."""
    practised = Signal()
    """The user wants a simulated dataset to practise on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        steps = QLabel(STEPS)
        steps.setWordWrap(True)
        self.dataset = FolderField("dataset", "Folder with images/ and masks/ or labels/")
        self.audit = FolderField(
            "optional: made by the audit",
            "Folder that `beadseg-batch audit` wrote; leave it empty to take the one made here, or to make one later",
        )
        self.by = QLineEdit(who())
        self.by.setToolTip("Name that your decisions are signed with")
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        form.addRow("Dataset", self.dataset)
        form.addRow("Audit", self.audit)
        form.addRow("Signed by", self.by)
        self.open = QPushButton("Open for review")
        self.open.setToolTip("Open the dataset; what was decided before is still there")
        self.practise = QPushButton("Practise on simulated data")
        self.practise.setToolTip("Make a small dataset with known faults, and open it")
        self.open.clicked.connect(self.opened)
        self.dataset.line.returnPressed.connect(self.opened)
        self.practise.clicked.connect(self.practised)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(steps)
        column.addLayout(form)
        column.addWidget(self.open)
        column.addWidget(self.practise)
        column.addWidget(HelpButton("Review in five minutes"))
        column.addStretch(1)


@dataclass(frozen=True)
class Opened:
    """A dataset that was opened.

    Attributes
    ----------
    session : Session
        Ready to go.
    problem : str
        What the user should know, such as files that were left out; empty where there is nothing.
    """

    session: Session
    problem: str = ""


def session_of(dataset: Path, audit: Path | None, by: str, on_event: OnEvent, stop: StopFlag) -> Opened:
    """Open a dataset, with the given audit, else with the one in its review folder if there is any.

    Raises
    ------
    InputError
        No dataset, or the given audit is missing or another dataset's.
    """
    data = Dataset.open(dataset, require_masks=False)
    stop.check()
    session = Session(data, by)
    problems = [str(problem) for problem in (*data.problems, *session.review.problems)]
    own = dataset / files.REVIEW / files.REVIEW_AUDIT
    if audit is not None:
        session.use_audit(Audit.read(audit), audit)
    elif (own / files.AUDIT).exists():
        try:
            session.use_audit(Audit.read(own), own)
        except InputError as error:
            problems.append(str(error))
    stop.check()
    session.bead_size()
    stop.check()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Opened(session, f"{problems[0]}{more}" if problems else "")


def run_audit(dataset: Path, on_event: OnEvent, stop: StopFlag) -> tuple[Audit, Path]:
    """Audit a dataset in a child process into its review folder, with proposals; return the audit and its folder.

    Raises
    ------
    BeadsegError
        What the audit ended with.
    Cancelled
        `stop` was set.
    """
    folder = dataset / files.REVIEW / files.REVIEW_AUDIT
    with temporary_folder() as events:
        words = ["audit", str(dataset), "--out", str(folder), "--propose"]
        run_command(words, Path(events) / "events", on_event, stop)
    return Audit.read(folder), folder
