"""Teach the model in the viewer: improve it by accepted images, draft masks of new ones; a person decides what is used.

Both run as commands of their own, at a lower priority.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSizePolicy, QWidget

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.annotation.suggest import curve_text, improvements
from beadseg.config import GENERAL
from beadseg.errors import BeadsegError, InputError
from beadseg.model.checkpoint import general_file
from beadseg.runtime.process import run_command
from beadseg.widgets.common import Background, MessageArea, ProgressRow, guarded, settings, temporary_folder
from beadseg.widgets.common.settings import FolderField, PluginSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.events import OnEvent, StopFlag

    Add = Callable[[OnEvent, StopFlag], str]


SECONDS = 30.0
"""Training takes about so long."""


class TeachPanel(QWidget):
    """Improves the present model by what was accepted in a dataset, and offers the new one.

    Parameters
    ----------
    model : callable
        Returns the present model: the general one's file, or a run folder.
    messages : MessageArea
        Where the result and errors are shown.
    dataset : callable, optional
        Returns the dataset folder; when not given, a person chooses it here.
    add : callable, optional
        Returns the work that adds what is shown to a dataset: for images that were counted. Without it there is a
        button that drafts masks of images without annotation.
    """

    used = Signal(str)
    """A person takes the new model: its run folder."""
    drafted = Signal(str)
    """Drafts were made: what to tell."""

    def __init__(
        self,
        model: Callable[[], Path],
        messages: MessageArea,
        dataset: Callable[[], Path | None] | None = None,
        add: Callable[[Path], Add] | None = None,
    ) -> None:
        super().__init__()
        self.field = FolderField("Dataset", "Folder of accepted images; it is made where there is none")
        self.field.setVisible(dataset is None)
        self._dataset, self._model, self.messages, self._add = dataset or self.field.value, model, messages, add
        self.seconds = SECONDS
        self._new = ""
        self.adding = Background("Adding to the dataset", self)
        self.add = QPushButton("Add to dataset", self)
        self.add.setToolTip(
            "Put this image with its beads, as you corrected them, among the accepted images of the dataset. One "
            "that is there already gets them as its corrected annotation."
        )
        self.add.setVisible(add is not None)
        self.background = Background("Improving the model", self)
        self.drafting = Background("Drafting masks", self)
        self.improve = QPushButton("Improve the model")
        self.improve.setToolTip(
            "Train the present model further on the accepted images of the dataset, about a minute in the background. "
            "One image in four is left out, and tells whether the new model is better."
        )
        self.use = QPushButton("Use the new model")
        self.use.setToolTip("Count the next images with it; results that are shown stay as they are")
        self.use.setVisible(False)
        self.draft = QPushButton("Draft masks", self)
        self.draft.setToolTip(
            "Mark the beads of images without annotation by the present model; the least certain images come first"
        )
        self.draft.setVisible(add is None)
        self.about = QLabel()
        self.about.setWordWrap(True)
        self.about.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
        self.about.setVisible(False)
        self._arrange()
        self.add.clicked.connect(self._add_shown)
        self.adding.returned.connect(lambda text: messages.show_text(text, "good"))
        self.field.valueChanged.connect(self.show_curve)
        self.improve.clicked.connect(self._improve)
        self.draft.clicked.connect(self._draft)
        self.use.clicked.connect(self._use)
        self.background.returned.connect(self._show)
        self.drafting.returned.connect(self._drafted)
        for work in (self.background, self.drafting, self.adding):
            work.failed.connect(messages.show_error)
            work.started.connect(self._show_state)
            work.ended.connect(lambda: QTimer.singleShot(0, self._show_state))

    def _arrange(self) -> None:
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        grid.addWidget(self.field, 0, 0, 1, 2)
        for column, button in enumerate((self.add if self._add else self.draft, self.improve)):
            grid.addWidget(button, 1, column)
        grid.addWidget(self.use, 2, 0, 1, 2)
        grid.addWidget(self.about, 3, 0, 1, 2)
        for work in (self.background, self.drafting, self.adding):
            row = ProgressRow(work)
            policy = row.sizePolicy()
            policy.setRetainSizeWhenHidden(False)
            row.setSizePolicy(policy)
            grid.addWidget(row, 4, 0, 1, 2)

    def end(self) -> None:
        """Cancel what goes on; what was accepted and drafted is on the disk."""
        for work in (self.background, self.drafting, self.adding):
            work.cancel()

    def _show_state(self) -> None:
        busy = self.background.running or self.drafting.running or self.adding.running
        for button in (self.improve, self.draft):
            button.setEnabled(not busy)
        self.add.setEnabled(not self.adding.running)

    def show_curve(self) -> None:
        """Show how F1 grew with the annotated images, and whether more of them pay."""
        dataset = self._dataset()
        text = "" if dataset is None else curve_text(improvements(dataset))
        self.about.setText(text)
        self.about.setVisible(bool(text))

    @guarded
    def _add_shown(self) -> None:
        dataset = self._dataset()
        if dataset is None or self._add is None:
            raise InputError("No dataset was given.", remedy="Type or choose a folder; it is made where there is none.")
        work = self._add(dataset)
        self.messages.clear()
        self.adding.start(work)

    @guarded
    def _improve(self) -> None:
        dataset = self._chosen_dataset()
        if not Review.exists(dataset):
            text = "No image of this dataset is accepted yet."
            raise InputError(text, dataset, "Accept or correct some in Review, or add one from Count.")
        model, out = self._model(), free_run(dataset)
        words = ["improve", str(dataset), "--out", str(out), "--seconds", f"{self.seconds:g}", *_run_option(model),
                 *PluginSettings.read().options()]  # fmt: skip
        self.messages.clear()
        self.use.setVisible(False)
        self.background.start(lambda on_event, stop: run_for_result(words, on_event, stop))

    @guarded
    def _show(self, found: tuple[str, dict[str, Any]]) -> None:
        text, data = found
        self._new = str(data["model"])
        self.use.setVisible(data["better"] is not False)
        self.show_curve()
        self.messages.show_text(text, "good" if data["better"] else "info")

    @guarded
    def _use(self) -> None:
        self.use.setVisible(False)
        settings.remember_model(Path(self._new))
        self.used.emit(self._new)
        self.messages.show_text(f"The next images are counted with the new model, {Path(self._new).name}.", "good")

    @guarded
    def _draft(self) -> None:
        dataset = self._chosen_dataset()
        model = self._model()
        words = ["draft", str(dataset / files.IMAGES), "--out", str(dataset), "--worst-first", *_run_option(model),
                 *PluginSettings.read().options()]  # fmt: skip
        self.messages.clear()
        self.drafting.start(lambda on_event, stop: run_for_result(words, on_event, stop))

    def _drafted(self, found: tuple[str, dict[str, Any]]) -> None:
        count = len(found[1].get("drafts", ()))
        if count:
            text = f"{count} drafts, those that the model is least sure of first. Accept or correct them."
        else:
            text = "Every image has an annotation already."
        self.drafted.emit(text)

    def _chosen_dataset(self) -> Path:
        dataset = self._dataset()
        if dataset is None or not (dataset / files.IMAGES).is_dir():
            remedy = "Choose a dataset, or make one by adding an image to it."
            raise InputError("No dataset is chosen.", dataset, remedy)
        return dataset


def present_model() -> Path:
    """Return the model that a person took last in the viewer, else the general one."""
    return settings.model() or general_file()


def free_run(dataset: Path) -> Path:
    """Return a folder for the improved model that is not there yet: ``runs/improved-1`` beside the dataset."""
    runs, number = dataset.absolute().parent / "runs", 1
    while (runs / f"improved-{number}").exists():
        number += 1
    return runs / f"improved-{number}"


def run_for_result(words: Sequence[str], on_event: OnEvent, stop: StopFlag) -> tuple[str, dict[str, Any]]:
    """Run a command at a lower priority; return its last word with its data.

    Raises
    ------
    BeadsegError
        What the command ended with.
    """
    with temporary_folder() as folder:
        events = run_command(words, Path(folder) / "events", on_event, stop)
    result = next((event for event in reversed(events) if event.kind == "result"), None)
    if result is None:
        raise BeadsegError("The command ended without a result.", words[0], "Try again.")
    return result.message, result.data


def _run_option(model: Path) -> list[str]:
    return [] if model == general_file() or str(model) == GENERAL else ["--run", str(model)]
