"""A training as it goes: where it is, its curves, what it noticed, and the validation image."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QSizePolicy,
    QTextBrowser,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from beadseg.text import plural
from beadseg.training.records import score_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent

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
MARGINS = (44, 20, 8, 18)
"""Left, top, right and bottom of the drawing, px."""
MOST_MARKERS = 60


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


def loss_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return training and validation loss."""
    return _curves(rows, (("train_loss", "training", BLUE, False), ("val_loss", "validation", ORANGE, False)))


def score_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return the Jaccard of training and validation images."""
    return _curves(
        rows,
        (
            ("train_jaccard_images", "training", BLUE, False),
            ("val_jaccard_images", "validation", ORANGE, False),
            ("val_jaccard_pooled", "pooled", ORANGE, True),
        ),
    )


def count_curves(rows: Sequence[Row]) -> list[Curve]:
    """Return the mean absolute error of the count per image, where the run has it."""
    return _curves(
        rows,
        (
            ("train_count_mae", "training", BLUE, False),
            ("val_count_mae", "validation", ORANGE, False),
            ("val_count_mae_dense", "densest third", ORANGE, True),
        ),
    )


def _curves(rows: Sequence[Row], columns: tuple[tuple[str, str, str, bool], ...]) -> list[Curve]:
    found = []
    for column, name, colour, dashed in columns:
        if any(column in row for row in rows):
            x = tuple(float(row["epoch"]) for row in rows)
            y = tuple(float(row.get(column, math.nan)) for row in rows)
            found.append(Curve(name, colour, x, y, dashed))
    return found


@dataclass(frozen=True)
class Curve:
    """One line: its name, colour and points; a value that is not finite leaves a gap."""

    name: str
    colour: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False


class Plot(QWidget):
    """Some curves over the epochs, with a title and a legend; the value nearest to the mouse is shown.

    Parameters
    ----------
    title : str
        What is drawn.
    low, high : float, optional
        A fixed end of the vertical axis.
    """

    def __init__(self, title: str, low: float | None = None, high: float | None = None) -> None:
        super().__init__()
        self.title, self._low, self._high = title, low, high
        self.curves: tuple[Curve, ...] = ()
        self.empty = "after the first epoch"
        self.setMinimumSize(180, 88)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMouseTracking(True)

    def setCurves(self, curves: Sequence[Curve]) -> None:
        """Draw these curves; nothing is redrawn when they are the same."""
        if tuple(curves) != self.curves:
            self.curves = tuple(curves)
            self.update()

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(320, 130)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw everything."""
        painter = QPainter(self)
        try:
            self._draw(painter)
        finally:
            painter.end()  # Qt must not meet a painter that is still at work, whoever keeps this frame

    def _draw(self, painter: QPainter) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.palette().windowText().color()
        self._draw_title(painter, text)
        points = [(x, y) for curve in self.curves for x, y in zip(curve.x, curve.y, strict=True) if math.isfinite(y)]
        if not points:
            painter.setPen(_faded(text, 150))
            painter.drawText(self._area(), Qt.AlignmentFlag.AlignCenter, self.empty)
            return
        self._draw_axes(painter, text)
        for curve in self.curves:
            self._draw_curve(painter, curve)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Tell the values of the epoch under the mouse."""
        if event is None or not self.curves:
            return
        area, (left, right) = self._area(), self._x_range()
        if not area.contains(event.position()):
            return
        epoch = round(left + (event.position().x() - area.left()) / area.width() * (right - left))
        lines = [
            f"{curve.name}: {y:.4g}"
            for curve in self.curves
            for x, y in zip(curve.x, curve.y, strict=True)
            if x == epoch and math.isfinite(y)
        ]
        if lines:
            QToolTip.showText(event.globalPosition().toPoint(), "\n".join([f"epoch {epoch}", *lines]), self)

    def _area(self) -> QRectF:
        left, top, right, bottom = MARGINS
        return QRectF(left, top, self.width() - left - right, self.height() - top - bottom)

    def _x_range(self) -> tuple[float, float]:
        values = [x for curve in self.curves for x in curve.x]
        low, high = min(values), max(values)
        return (low, high) if high > low else (low - 1, high + 1)

    def _y_range(self) -> tuple[float, float]:
        values = [y for curve in self.curves for y in curve.y if math.isfinite(y)]
        low = min(values) if self._low is None else min(self._low, *values)
        high = max(values) if self._high is None else max(self._high, *values)
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _draw_title(self, painter: QPainter, text: QColor) -> None:
        font = painter.font()
        font.setBold(True)
        painter.setFont(font)
        painter.setPen(text)
        painter.drawText(QPointF(4, 14), self.title)
        x = 10 + painter.fontMetrics().horizontalAdvance(self.title)
        font.setBold(False)
        painter.setFont(font)
        for curve in self.curves:
            painter.setPen(QPen(QColor(curve.colour), 2, _style(curve)))
            painter.drawLine(QPointF(x, 10), QPointF(x + 14, 10))
            painter.setPen(text)
            painter.drawText(QPointF(x + 18, 14), curve.name)
            x += 26 + painter.fontMetrics().horizontalAdvance(curve.name)

    def _draw_axes(self, painter: QPainter, text: QColor) -> None:
        area, (low, high), (left, right) = self._area(), self._y_range(), self._x_range()
        for value in ticks(low, high, max(2, int(area.height() // 30))):
            y = area.bottom() - (value - low) / (high - low) * area.height()
            painter.setPen(QPen(_faded(text, 50), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(_faded(text, 200))
            box = QRectF(0, y - 8, MARGINS[0] - 5, 16)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{value:.4g}")
        painter.setPen(_faded(text, 200))
        for value in ticks(left, right, max(2, int(area.width() // 60)), whole=True):
            x = area.left() + (value - left) / (right - left) * area.width()
            box = QRectF(x - 20, area.bottom() + 2, 40, 15)
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, f"{value:.0f}")

    def _draw_curve(self, painter: QPainter, curve: Curve) -> None:
        painter.setPen(QPen(QColor(curve.colour), 1.6, _style(curve)))
        for run in self._runs(curve):
            painter.drawPolyline(QPolygonF(run))
        if len(curve.x) <= MOST_MARKERS:
            painter.setBrush(QColor(curve.colour))
            painter.setPen(Qt.PenStyle.NoPen)
            for run in self._runs(curve):
                for point in run:
                    painter.drawEllipse(point, 2.2, 2.2)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _runs(self, curve: Curve) -> list[list[QPointF]]:
        """Return the curve's points on the screen, cut where a value is missing."""
        area, (low, high), (left, right) = self._area(), self._y_range(), self._x_range()
        runs: list[list[QPointF]] = [[]]
        for x, y in zip(curve.x, curve.y, strict=True):
            if math.isfinite(y):
                across = area.left() + (x - left) / (right - left) * area.width()
                runs[-1].append(QPointF(across, area.bottom() - (y - low) / (high - low) * area.height()))
            elif runs[-1]:
                runs.append([])
        return [run for run in runs if run]


def ticks(low: float, high: float, most: int, whole: bool = False) -> list[float]:
    """Return round values from `low` to `high`, at most about `most`; whole numbers where asked for."""
    step = 10 ** math.floor(math.log10((high - low) / most)) if high > low else 1.0
    step *= next(factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most)
    step = max(1.0, step) if whole else step
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _style(curve: Curve) -> Qt.PenStyle:
    return Qt.PenStyle.DashLine if curve.dashed else Qt.PenStyle.SolidLine


def _faded(colour: QColor, alpha: int) -> QColor:
    faded = QColor(colour)
    faded.setAlpha(alpha)
    return faded
