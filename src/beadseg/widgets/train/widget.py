"""The Train widget: what would be trained and why, the training as it goes, and the run afterwards."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QApplication,
    QCheckBox,
    QGridLayout,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)

from beadseg.config import TrainConfig
from beadseg.errors import BeadsegError
from beadseg.widgets.common import HelpButton, MessageArea, guarded, in_window, settings
from beadseg.widgets.form.form import Form
from beadseg.widgets.layers import PluginWidget, scrolling
from beadseg.widgets.opening import COUNT, open_widget
from beadseg.widgets.train.cluster import ClusterDialog
from beadseg.widgets.train.command import TrainCommand, continuation
from beadseg.widgets.train.overlay import ValidationOverlay
from beadseg.widgets.train.planner import EMPTY, Planner, PlanView, pixels_of, plan_html, planned_html, refused_text
from beadseg.widgets.train.progress_panel import ProgressPanel
from beadseg.widgets.train.session import Session
from beadseg.widgets.train.setup_panel import SetupPanel

if TYPE_CHECKING:
    from beadseg.events import Event
    from beadseg.runtime.process import Outcome
    from beadseg.widgets.train.session import Status

MOST_LINES = 1000
"""Lines of the log that are kept."""
STOPPED = "Training was stopped. Its checkpoints are kept: press Continue training to go on."
FINISHED = "Training is finished. Press Count with this run to use it."
PLAN_PX = 160
"""Least height of the plan, screen px."""
PLAN, SETTINGS, PROGRESS, LOG = range(4)
"""The tabs."""

_KEEP_HELP = (
    "A training is a process of its own. Ticked: it goes on when napari or this widget is closed, and the widget finds "
    "it again. Not ticked: it is stopped then; its checkpoints are kept, and it can be continued."
)
_STOP_HELP = "Stop after the current step and write a checkpoint: the training can be continued exactly there."
_END_HELP = "Do not wait for the current step: the training can be continued from its last checkpoint."

_START_HELP: dict[Status, str] = {
    "none": "Choose a dataset first.",
    "new": "Train with these settings, in a process of its own; napari stays free.",
    "unfinished": "Go on after the last checkpoint, with the settings of this run.",
    "finished": "This run is finished. Press New run to train again.",
    "running": "This run is being trained.",
    "stopping": "This run is being stopped.",
    "elsewhere": "Another program trains this run.",
}


class TrainWidget(PluginWidget):
    """Sets up, starts, follows, stops and continues a training in a process of its own.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Gets the validation image with what the model finds on it.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self.messages = MessageArea()
        self.setup = SetupPanel()
        self.plan = QTextBrowser()
        self.form = Form(TrainConfig, hidden=("based_on",))
        self.progress = ProgressPanel()
        self.log = QPlainTextEdit()
        self.buttons = Actions()
        self.session = Session(self)
        self.planner = Planner(self)
        self.overlay = ValidationOverlay(napari_viewer, self)
        self._viewer = napari_viewer
        self._draft = self.setup.base()
        self._refused = False
        """The plan of what is set up was refused."""
        self._arrange()
        self._connect()
        self.form.setValue(self._draft)
        self._ending = Ending(self.session, self.planner, self.overlay, self.buttons.keep)
        self.destroyed.connect(self._ending)
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self._ending)
        self._reopen()

    def _arrange(self) -> None:
        first = QWidget()
        column = QVBoxLayout(first)
        column.setContentsMargins(0, 4, 0, 0)
        column.addWidget(self.setup)
        column.addWidget(self.plan, 1)
        self.plan.setPlainText(EMPTY)
        self.plan.setToolTip("What was seen in the data, and what is planned from it before anything is trained.")
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(MOST_LINES)
        self.tabs = QTabWidget()
        self._shown_status = ""
        for widget, title in (
            (scrolling(first), "Plan"), (scrolling(self.form), "Settings"), (scrolling(self.progress), "Progress"),
            (self.log, "Log"),
        ):  # fmt: skip
            self.tabs.addTab(widget, title)
        self.tabs.setCornerWidget(HelpButton("Train"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 6, 6, 6)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.buttons)
        layout.addWidget(self.messages)
        self.plan.setMinimumHeight(PLAN_PX)
        self.setMinimumWidth(300)

    def _connect(self) -> None:
        self.setup.datasetChanged.connect(self._change_dataset)
        self.setup.presetChanged.connect(self._change_preset)
        self.setup.runChanged.connect(self._open_run)
        self.form.valueChanged.connect(self._change_settings)
        self.buttons.start.clicked.connect(self._start)
        self.buttons.stop.clicked.connect(self._stop)
        self.buttons.new.clicked.connect(self._new)
        self.buttons.copy.clicked.connect(self._copy)
        self.buttons.submit.clicked.connect(self._submit)
        self.buttons.count.clicked.connect(self._count)
        self.setup.practise.clicked.connect(self._practise)
        self.planner.began.connect(lambda: self._show_plain("Looking at the data …"))
        self.planner.progressed.connect(self._show_look)
        self.planner.planned.connect(self._show_plan)
        self.planner.failed.connect(self._refuse_plan)
        self.session.changed.connect(self._show)
        self.session.progressed.connect(self.progress.show_progress)
        self.session.said.connect(self._show_event)
        self.session.ended.connect(self._end)
        self.session.failed.connect(self.messages.show_error)
        self.progress.show_overlay.toggled.connect(self._show_overlay)
        self.progress.sample.activated.connect(self._show_overlay)
        self.overlay.noted.connect(self._note_overlay)

    def end(self) -> None:
        """Let the training go on or stop it, as the box says; nothing of it is followed from here any more."""
        application = QApplication.instance()
        if application is not None:
            with suppress(TypeError, RuntimeError):
                application.aboutToQuit.disconnect(self._ending)
        self._ending()

    # --- Setting up ---------------------------------------------------------------------------------------------------

    @guarded
    def _reopen(self) -> None:
        """Take up the last training where it still goes on or can be continued."""
        run, dataset = settings.last()
        self.setup.dataset.setValue(dataset)
        self.setup.run.setValue(run)
        if run is not None:
            self.session.open(run)
        elif dataset is not None:
            self._change_dataset()
        self._show()

    @guarded
    def _change_dataset(self) -> None:
        self.messages.clear()
        if self.setup.propose():
            self.session.open(self.setup.run.value())
        self._ask()
        self._show()

    @guarded
    def _change_preset(self) -> None:
        self._draft = self.setup.base()
        self.form.setValue(self._draft)
        self._change_dataset()

    @guarded
    def _change_settings(self) -> None:
        self._draft = self._settings()
        self.messages.clear()
        self.setup.show_config(self._draft)
        self._ask()

    @guarded
    def _open_run(self) -> None:
        self.messages.clear()
        self.log.clear()
        self.session.open(self.setup.run.value())

    @guarded
    def _new(self) -> None:
        """Set up a run in a free folder, with the settings that were last chosen."""
        self.messages.clear()
        if self.setup.dataset.value() is None and self.session.state is not None:
            self.setup.dataset.setValue(continuation(self.session.state.folder).dataset)
        self.setup.propose(again=True)
        self.session.open(self.setup.run.value())
        self.tabs.setCurrentIndex(PLAN)
        self._ask()

    def _settings(self) -> TrainConfig:
        value = self.form.value()
        return TrainConfig.parse(value.model_dump(mode="json"))

    def _ask(self) -> None:
        """Plan what is set up, unless a run is shown that was planned already."""
        if self.session.state is not None or self.setup.dataset.value() is None:
            return
        self._refused = False
        self._show_buttons()
        self.planner.ask(self.setup.order(self._draft))

    def _order(self) -> TrainCommand:
        """Return what the start button would do; raises `InputError`."""
        if self.session.state is not None:
            return continuation(self.session.state.folder.absolute(), self.setup.dataset.value())
        return self.setup.order(self._settings())

    # --- Acting -------------------------------------------------------------------------------------------------------

    @guarded
    def _start(self) -> None:
        self.messages.clear()
        order = self._order()
        self.planner.cancel()
        self.log.clear()
        self.log.appendPlainText(order.text())
        self.session.start(order)
        settings.remember(order.out, order.dataset)
        self.progress.begin()
        self.tabs.setCurrentIndex(PROGRESS)

    @guarded
    def _stop(self) -> None:
        self.session.stop()
        self.messages.show_text("Stopping the training after the current step. Its checkpoints are kept.")

    @guarded
    def _copy(self) -> None:
        text = self._order().text()
        clipboard = QApplication.clipboard()
        if clipboard is not None:
            clipboard.setText(text)
        self.messages.show_text(f"Copied: {text}")

    @guarded
    def _count(self) -> None:
        """Open the widget that counts with this run."""
        run = self.session.folder
        if run is not None:
            open_widget(self._viewer, COUNT, lambda widget: widget.run.choose(run))

    @guarded
    def _practise(self) -> None:
        """Write a small simulated dataset, and take it."""
        from beadseg.widgets.io.samples import write_training_data

        self.setup.dataset.choose(write_training_data())

    @guarded
    def _submit(self) -> None:
        order = self._order()
        dialog = ClusterDialog(order, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.sent.connect(partial(self._follow_job, order))
        dialog.show()

    def _follow_job(self, order: TrainCommand, text: str) -> None:
        """Show the run of a job that was sent, from its beginning on, and again when the widget is opened again."""
        settings.remember(order.out, order.dataset)
        if order.out != self.session.folder:
            self.session.open(order.out)
        self.messages.show_text(text, "good")
        self.session.refresh()

    # --- Showing ------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        """Show status and state of the run."""
        status, state = self.session.status, self.session.state
        self.progress.show_state(status, state, self.session.owner)
        self._show_buttons()
        shown = self._draft if state is None else state.config
        if shown != self._shown_config():
            self.setup.show_config(shown)
            self.form.setValue(shown, self.setup.base())
        begun = state is not None or status in ("running", "stopping")
        self.setup.practise.setVisible(not begun and self.setup.dataset.value() is None)
        if status != self._shown_status and status in ("running", "elsewhere"):
            self.tabs.setCurrentIndex(PROGRESS)  # found going on: what it does is wanted, not what was planned
        if status == "finished" and self.messages.text == STOPPED:  # it was done before it could be stopped
            self.messages.show_text(FINISHED, "good")
        self._shown_status = status
        self.form.setLocked(begun, "These are the settings of the run. Press New run to train with others.")
        self.setup.setEditable(not begun)
        if state is not None:
            if state.seconds is not None and status == "running":
                settings.remember_speed(state.config.network.kind, state.seconds / pixels_of(state.config))
            self._show_html(planned_html(state))
            if not self.log.toPlainText():
                self.log.setPlainText(state.log)
            if state.trouble:
                self.messages.show_text(state.trouble, "warning")
        self._show_overlay()

    def _show_buttons(self) -> None:
        """Offer what can be done; what the plan refused cannot be started."""
        ready = self.setup.dataset.value() is not None and not self._refused
        self.buttons.show_status(self.session.status, ready)

    def _shown_config(self) -> TrainConfig | None:
        try:
            return self._settings()
        except BeadsegError:
            return None

    def _show_look(self, task: str, done: int, total: int) -> None:
        self._show_plain(f"Looking at the data: {task}, {done} of {total} …")

    def _show_plan(self, view: PlanView) -> None:
        if self.session.state is None:
            self._show_html(plan_html(view))
            self.form.setPlanned(view.values)

    def _show_plain(self, text: str) -> None:
        self.plan.setPlainText(text)
        self.plan.setProperty("shown", text)

    def _show_html(self, text: str) -> None:
        """Show a plan; one that is shown already stays as it is scrolled."""
        if self.plan.property("shown") != text:
            self.plan.setHtml(text)
            self.plan.setProperty("shown", text)

    def _refuse_plan(self, text: str) -> None:
        self._refused = True
        self._show_buttons()
        self._show_plain(refused_text(self.planner.left_out))
        self.messages.show_text(text, "error")

    def _show_event(self, event: Event) -> None:
        self.log.appendPlainText(in_window(event.message))
        if event.kind == "diagnosis" or event.level in ("warning", "error"):
            self.messages.show_text(event.message, "error" if event.level == "error" else "warning")

    def _end(self, outcome: Outcome) -> None:
        if outcome.stopped and self.session.status != "finished":
            self.messages.show_text(STOPPED)
        elif outcome.message:
            self.messages.show_text(outcome.message, "error")
            self.log.appendPlainText(in_window(outcome.message))
        else:
            self.messages.show_text(FINISHED, "good")

    def _show_overlay(self) -> None:
        wanted = self.progress.show_overlay.isChecked()
        self.progress.overlay_note.setVisible(wanted)
        self.overlay.update(self.session.state if wanted else None, self.progress.sample.currentText())

    def _note_overlay(self, text: str) -> None:
        self.progress.overlay_note.setText(text)


class Actions(QWidget):
    """Start or continue, stop, new run, copy the command, submit."""

    def __init__(self) -> None:
        super().__init__()
        self.start = QPushButton("Start training")
        self.stop = QPushButton("Stop")
        self.stop.setToolTip(_STOP_HELP)
        self.new = QPushButton("New run")
        self.new.setToolTip("Set up another training, in a new folder. A training that goes on is not stopped.")
        self.copy = QPushButton("Copy command")
        self.copy.setToolTip("Copy the command that does exactly this, for a terminal or a job script.")
        self.submit = QPushButton("To the cluster…")
        self.submit.setToolTip("Send this training to a PBS cluster: shows the job script first.")
        self.count = QPushButton("Count with this run")
        self.count.setToolTip("Open the widget that counts beads, with the model of this run")
        self.count.setVisible(False)
        self.keep = QCheckBox("Training goes on when napari is closed")
        self.keep.setToolTip(_KEEP_HELP)
        self.keep.setChecked(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.start, 0, 0, 1, 2)
        grid.addWidget(self.stop, 0, 2)
        for column, button in enumerate((self.new, self.copy, self.submit)):
            grid.addWidget(button, 1, column)
            grid.setColumnStretch(column, 1)
        grid.addWidget(self.count, 2, 0, 1, 3)
        grid.addWidget(self.keep, 3, 0, 1, 3)

    def show_status(self, status: Status, ready: bool) -> None:
        """Offer what can be done now; `ready`: a dataset is chosen."""
        self.start.setText("Continue training" if status == "unfinished" else "Start training")
        self.start.setEnabled((status == "new" and ready) or status == "unfinished")
        self.start.setToolTip(_START_HELP[status])
        self.stop.setEnabled(status in ("running", "stopping"))
        self.stop.setText("End at once" if status == "stopping" else "Stop")
        self.stop.setToolTip(_END_HELP if status == "stopping" else _STOP_HELP)
        self.new.setEnabled(ready or status != "none")
        self.count.setVisible(status == "finished")
        for button in (self.copy, self.submit):
            button.setEnabled(ready or status in ("unfinished", "finished"))


class Ending:
    """Ends helpers at once; lets a training go on or stops it, as the box says. Holds no Qt object that must live.

    Called when the widget is destroyed, and when the application quits; the second call does nothing.
    """

    def __init__(self, session: Session, planner: Planner, overlay: ValidationOverlay, keep: QCheckBox) -> None:
        self._parts: tuple[Planner | ValidationOverlay, ...] = (planner, overlay)
        self._session: Session | None = session
        self._keep = True
        keep.toggled.connect(self._set_keep)

    def __call__(self) -> None:
        """End what is to be ended."""
        for part in self._parts:
            part.end_processes()
        if self._session is not None:
            self._session.end_processes(keep=self._keep)
        self._parts, self._session = (), None

    def _set_keep(self, keep: bool) -> None:
        self._keep = keep
