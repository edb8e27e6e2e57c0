"""A training as it goes: where it is, its curves, what it noticed, and the validation image."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QProgressBar, QTextBrowser, QVBoxLayout, QWidget

from beadseg.text import plural
from beadseg.training.history import score_name
from beadseg.widgets.train.curves import count_curves, loss_curves, score_curves
from beadseg.widgets.train.plot import Plot

if TYPE_CHECKING:
    from beadseg.training.watch import Diagnosis
    from beadseg.widgets.train.follow import RunState
    from beadseg.widgets.train.session import Status

_EPOCH = re.compile(r"epoch (\d+)/(\d+)")
_WORDS = {
    "none": "No run yet",
    "new": "Not begun yet",
    "unfinished": "Not finished: it can go on",
    "finished": "Finished",
    "running": "Training",
    "stopping": "Stopping",
    "elsewhere": "Training elsewhere",
}
_EMPTY = "Start a training, or choose a run folder on the first tab to look at one."


class ProgressPanel(QWidget):
    """Shows a `RunState`; what the model sees on a validation image is drawn by `ValidationOverlay`."""

    def __init__(self) -> None:
        super().__init__()
        self.headline = QLabel(_EMPTY)
        self.headline.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.loss = Plot("Loss")
        self.score = Plot("Jaccard", 0.0, 1.0)
        self.count = Plot("Count error, beads", 0.0)
        self.loss.setToolTip("Training loss of augmented patches, validation loss of whole images.")
        self.score.setToolTip("Of whole images: validation images, and as many training images.")
        self.count.setToolTip("How many beads the count of an image is off: mean absolute error over whole images.")
        self.warnings = QTextBrowser()
        self.warnings.setMaximumHeight(96)
        self.warnings.setToolTip("What the training noticed about itself, with the likely cause and the remedy.")
        self.warnings.setVisible(False)
        self.show_overlay = QCheckBox("Show the model on")
        self.show_overlay.setToolTip(
            "After every better epoch, predict this validation image with the best model so far, in its own process."
        )
        self.sample = QComboBox()
        self.sample.setToolTip("Validation image; its annotation is drawn as a contour.")
        self.sample.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.sample.setMinimumContentsLength(10)
        self.overlay_note = QLabel()
        self.overlay_note.setWordWrap(True)
        self.overlay_note.setTextFormat(Qt.TextFormat.PlainText)
        self.overlay_note.setVisible(False)
        self._arrange()

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 4, 0, 0)
        column.setSpacing(4)
        for part in (self.headline, self.bar):
            column.addWidget(part)
        for plot in (self.loss, self.score, self.count):
            column.addWidget(plot, 1)
        column.addWidget(self.warnings)
        row = QHBoxLayout()
        row.addWidget(self.show_overlay)
        row.addWidget(self.sample, 1)
        column.addLayout(row)
        column.addWidget(self.overlay_note)

    def show_state(self, status: Status, state: RunState | None, owner: str) -> None:
        """Show what is known of the run."""
        self.headline.setText(headline(status, state, owner))
        self.headline.setTextFormat(Qt.TextFormat.PlainText)
        rows = [] if state is None else state.rows
        self.loss.setCurves(loss_curves(rows))
        self.score.setCurves(score_curves(rows))
        self.count.setCurves(count_curves(rows))
        self.count.empty = "this run records none" if rows else "after the first epoch"
        self.bar.setVisible(status in ("running", "stopping"))
        if status == "stopping":
            self.bar.setFormat("stopping")
        self._show_samples([] if state is None else [sample.name for sample in state.validation])
        self.show_noticed([] if state is None else state.noticed)

    def show_noticed(self, noticed: list[Diagnosis]) -> None:
        """Show the warnings, the newest first."""
        text = "\n\n".join(f"⚠ Epoch {item.epoch}, {item.code}: {item}" for item in reversed(noticed))
        if text != self.warnings.toPlainText():
            self.warnings.setPlainText(text)
        self.warnings.setVisible(bool(text))

    def show_progress(self, task: str, done: int, total: int) -> None:
        """Move the bar: over the whole training while it trains, over the task before that."""
        found = _EPOCH.fullmatch(task)
        if found:
            epoch, epochs = int(found[1]), int(found[2])
            self.bar.setRange(0, max(1, total * epochs))
            self.bar.setValue(total * (epoch - 1) + done)
            self.bar.setFormat(f"{task}, step {done} of {total}")
        else:
            self.bar.setRange(0, max(1, total))
            self.bar.setValue(done)
            self.bar.setFormat(f"{task}: {done} of {total}")

    def begin(self) -> None:
        """Show that a process starts and has said nothing yet."""
        self.bar.setRange(0, 1)
        self.bar.setValue(0)
        self.bar.setFormat("starting")

    def _show_samples(self, names: list[str]) -> None:
        before = [self.sample.itemText(at) for at in range(self.sample.count())]
        if names != before:
            self.sample.clear()
            self.sample.addItems(names)
        self.sample.setEnabled(bool(names))
        self.show_overlay.setEnabled(bool(names))


def headline(status: Status, state: RunState | None, owner: str = "") -> str:
    """Return in one or two sentences where a run is."""
    if state is None:
        return "Training: looking at the data." if status == "running" else _EMPTY
    words = f"{_WORDS[status]}: {state.folder.name}"
    words += f" ({owner})" if status == "elsewhere" else ""
    epochs = state.config.epochs
    done = int(state.rows[-1]["epoch"]) if state.rows else 0
    parts = [f"{words}.", f"{done} of {plural(epochs, 'epoch')}."]
    best = state.best_row
    if best is not None:
        metric = f"val_{state.config.stop.metric}"
        parts.append(f"Best {score_name(state.config.stop.metric)}: {best[metric]:.3f}, epoch {best['epoch']}.")
    if status in ("running", "elsewhere") and state.seconds is not None:
        parts.append(f"At most {_duration(state.seconds * (epochs - done))} left.")
    return " ".join(parts)


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
