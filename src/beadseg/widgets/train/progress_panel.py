"""A training as it goes: where it is, its curves, what it noticed, and the validation image."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from matplotlib import rc_context
from matplotlib.backends.backend_qt import NavigationToolbar2QT
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QProgressBar, QTextBrowser, QVBoxLayout, QWidget

from beadseg.report.figure import draw_lines
from beadseg.text import duration, plural
from beadseg.training.records import score_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from qtpy.QtGui import QShowEvent

    from beadseg.training.diagnosis import Diagnosis
    from beadseg.training.records import Row
    from beadseg.widgets.train.session import RunState, Status

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

BLUE, ORANGE = "#4c9be8", "#f0932b"
"""Training and validation: told apart with any colour vision, readable on both themes."""
_CURVES_HELP = (
    "Loss: of augmented training patches, and of whole validation images. Jaccard: of whole validation images, and of "
    "as many training images. Count error: how many beads the count of an image is off, on average."
)


class Panel(NamedTuple):
    """One plot: its title, columns of the history with label, colour and style, and fixed ends of its axis."""

    title: str
    columns: tuple[tuple[str, str, str, str], ...]
    low: float | None = None
    high: float | None = None


PANELS = (
    Panel("Loss", (("train_loss", "training", BLUE, "-"), ("val_loss", "validation", ORANGE, "-"))),
    Panel(
        "Jaccard",
        (("train_jaccard_images", "training", BLUE, "-"), ("val_jaccard_images", "validation", ORANGE, "-"),
         ("val_jaccard_pooled", "pooled", ORANGE, "--")),
        0.0, 1.0,
    ),
    Panel(
        "Count error, beads",
        (("train_count_mae", "training", BLUE, "-"), ("val_count_mae", "validation", ORANGE, "-"),
         ("val_count_mae_dense", "densest third", ORANGE, "--")),
        0.0,
    ),
)  # fmt: skip


class ProgressPanel(QWidget):
    """Shows a `RunState`; what the model sees on a validation image is drawn by `ValidationOverlay`."""

    def __init__(self) -> None:
        super().__init__()
        self.headline = QLabel(_EMPTY)
        self.headline.setWordWrap(True)
        self.bar = QProgressBar()
        self.bar.setVisible(False)
        self.curves = Curves()
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
        column.addWidget(self.curves, 1)
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
        self.curves.show_rows([] if state is None else state.rows)
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
        parts.append(f"At most {duration(state.seconds * (epochs - done))} left.")
    return " ".join(parts)


class Curves(QWidget):
    """Loss, Jaccard and count error over the epochs, on matplotlib's canvas with its toolbar: zoom, move, save."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self._drawn: object = None
        self.figure = Figure((3.2, 2.8), facecolor="none")
        self.canvas: Any = FigureCanvasQTAgg(self.figure)  # type: ignore[no-untyped-call]
        self.canvas.setStyleSheet("background: transparent")
        self.canvas.setMinimumSize(180, 230)
        self.canvas.setToolTip(_CURVES_HELP)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.canvas, 1)
        column.addWidget(NavigationToolbar2QT(self.canvas, self))  # type: ignore[no-untyped-call]

    def show_rows(self, rows: list[Row]) -> None:
        """Show the curves of a history."""
        self.rows = rows
        if self.isVisible():
            self._draw()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Draw what has come meanwhile, in the colours of napari's theme."""
        self._draw()
        super().showEvent(event)

    def _draw(self) -> None:
        """Draw the curves, unless they are drawn already."""
        text = self.palette().windowText().color().name()
        if self._drawn == (self.rows, text):
            return
        self._drawn = (self.rows, text)
        style: Any = dict.fromkeys(("text.color", "axes.edgecolor", "xtick.color", "ytick.color"), text)
        self.figure.clear()
        with rc_context({**style, "font.size": 7, "axes.titlesize": 8, "axes.facecolor": "none"}):
            for place, panel in enumerate(PANELS, start=1):
                axes = self.figure.add_subplot(len(PANELS), 1, place)
                draw_panel(axes, self.rows, panel)
                axes.tick_params(labelbottom=place == len(PANELS))  # the title of the next one has the room
        self.figure.subplots_adjust(left=0.12, bottom=0.08, right=0.98, top=0.94, hspace=0.35)
        self.canvas.draw_idle()


def draw_panel(axes: Axes, rows: Sequence[Row], panel: Panel) -> None:
    """Draw some columns of a history over the epochs; a value that is missing or not finite leaves a gap."""
    axes.set_title(panel.title, loc="left", fontweight="bold")
    draw_lines(axes, rows, panel.columns)
    axes.grid(alpha=0.25)
    if not axes.lines:
        empty = "this run records none" if rows else "after the first epoch"
        axes.text(0.5, 0.5, empty, transform=axes.transAxes, ha="center", va="center", alpha=0.6)
        axes.set(xticks=(), yticks=())
        return
    axes.set_ylim(panel.low, panel.high)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, borderpad=0, handlelength=1.5)
    axes.format_coord = partial(_values_at, rows, panel)  # type: ignore[method-assign]


def _values_at(rows: Sequence[Row], panel: Panel, x: float, y: float) -> str:
    """Return the values of the epoch nearest to the mouse."""
    row: Row = next((row for row in rows if row["epoch"] == round(x)), {})
    found = [f"{label} {row[column]:.4g}" for column, label, *_ in panel.columns if column in row]
    return ", ".join([f"epoch {round(x)}", *found])
