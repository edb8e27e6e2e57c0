"""Curves drawn with Qt alone: a redraw takes a few milliseconds, so that it never holds the viewer up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent

BLUE, ORANGE = "#4c9be8", "#f0932b"
"""Training and validation: told apart with any colour vision, readable on both themes."""
MARGINS = (44, 20, 8, 18)
"""Left, top, right and bottom of the drawing, px."""
MOST_MARKERS = 60


@dataclass(frozen=True)
class Curve:
    """One line: its name, colour and points; a value that is not finite leaves a gap."""

    name: str
    colour: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    dashed: bool = False


class Plot(QWidget):
    """Some curves over the epochs, with a title and a legend; the value nearest to the mouse is told.

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
