"""The life of a widget in napari's window: it ends with its dock, and what it listens to ends with it."""

from __future__ import annotations

from contextlib import suppress
from html import unescape
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QDockWidget,
    QFormLayout,
    QFrame,
    QLabel,
    QMainWindow,
    QScrollArea,
    QScrollBar,
    QTabBar,
    QTabWidget,
    QWidget,
)

from beadseg.widgets.common.message import plain_tip

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QShowEvent

FOCUS = (
    "QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus, QAbstractSpinBox:focus, "
    "QAbstractItemView:focus, QPlainTextEdit:focus, QTextBrowser:focus { border: 1px solid #4285d6; } "
    "QCheckBox:focus, QAbstractSlider:focus, QTabBar:focus { outline: none; background-color: rgba(66, 133, 214, 90); }"
)
"""Shows in both themes which part has the keyboard."""


ONE_LINE = 60
"""A longer tooltip is wrapped."""


def connect_while_alive(owner: QObject, event: Any, slot: Callable[..., Any]) -> None:
    """Connect a slot of `owner` to an event of napari until `owner` is destroyed."""
    event.connect(slot)

    def forget() -> None:
        with suppress(ValueError, RuntimeError):
            event.disconnect(slot)

    owner.destroyed.connect(forget)


def scrolling(content: QWidget) -> QScrollArea:
    """Return a widget in an area that scrolls where the window is smaller than it."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(content)
    return area


class PluginWidget(QWidget):
    """A widget in a dock of napari's window.

    napari takes a widget out of a dock that is closed, and leaves it alive: it is ended (`end`) and deleted then, once.
    Further widgets of the plugin come as tabs on the first. The mouse wheel scrolls, and never changes a value that it
    happens to pass over; every part can be reached by the keyboard and has a name for a screen reader.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._docked = self._ended = False
        self._wheel = _WheelFilter(self)
        self._placing = QTimer(self)
        self._placing.setSingleShot(True)
        self._placing.timeout.connect(self._join_others)

    def end(self) -> None:
        """End what goes on, before the widget is deleted."""

    def changeEvent(self, event: QEvent | None) -> None:
        """End when the viewer takes the widget out of its window."""
        super().changeEvent(event)
        if event is None or event.type() != QEvent.Type.ParentChange:
            return
        if self.parent() is not None:
            self._docked = True
        elif self._docked and not self._ended:
            self._ended = True
            self.hide()
            try:
                self.end()
            finally:
                self.deleteLater()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Take a place beside other widgets of the plugin, the first time."""
        super().showEvent(event)
        if not self.styleSheet():
            self.setStyleSheet(FOCUS)
            self._placing.start(0)
        prepare_parts(self, self._wheel)

    def _join_others(self) -> None:
        dock = _dock_of(self)
        window = None if dock is None else dock.parent()
        if dock is None or not isinstance(window, QMainWindow) or dock.isFloating():
            return
        area = window.dockWidgetArea(dock)
        for other in window.findChildren(QDockWidget):
            parts = other.findChildren(PluginWidget)
            if other is not dock and parts and not other.isFloating() and window.dockWidgetArea(other) == area:
                if dock not in window.tabifiedDockWidgets(other):
                    window.tabifyDockWidget(other, dock)
                dock.raise_()
                return


def prepare_parts(parent: QWidget, wheel: QObject) -> None:
    """Let the wheel scroll only, the Tab key pass, and give every part a name for a screen reader."""
    for part in parent.findChildren(QWidget):
        if isinstance(part, QComboBox | QAbstractSlider | QAbstractSpinBox) and not isinstance(part, QScrollBar):
            part.installEventFilter(wheel)  # again is the same as once
            if part.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                part.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        if isinstance(part, QAbstractItemView):
            part.setTabKeyNavigation(False)
        tip = part.toolTip()
        if len(tip) > ONE_LINE and not tip.startswith("<"):
            part.setToolTip(plain_tip(tip))  # Qt wraps rich text only
        if part.focusPolicy() & Qt.FocusPolicy.TabFocus and not part.accessibleName():
            part.setAccessibleName(_name_of(part))


class _WheelFilter(QObject):
    """Hands the mouse wheel over boxes and sliders on to what scrolls."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return False


def _name_of(part: QWidget) -> str:
    """Return what a part is called: its own text, else its label in a form, else what its tooltip says first."""
    own = getattr(part, "text", None)
    if callable(own) and not isinstance(part, QAbstractSpinBox) and not hasattr(part, "placeholderText") and own():
        return str(own())
    child, parent = part, part.parentWidget()
    while parent is not None:
        layout = parent.layout()
        for form in [layout, *parent.findChildren(QFormLayout)]:
            label = form.labelForField(child) if isinstance(form, QFormLayout) else None
            if isinstance(label, QLabel) and label.text():
                return str(label.text())
        child, parent = parent, parent.parentWidget()
        if isinstance(child, PluginWidget):
            break
    tip = unescape(str(part.toolTip()).removeprefix("<qt>").removesuffix("</qt>"))
    placeholder = getattr(part, "placeholderText", str)()
    return tip.split(".")[0].split(";")[0] or str(placeholder) or _tab_of(part)


def _tab_of(part: QWidget) -> str:
    """Return the titles of a part's own tabs, else of the tab that it is in, else what kind of part it is."""
    if isinstance(part, QTabWidget | QTabBar):
        return ", ".join(part.tabText(index) for index in range(part.count()))
    child = part
    while (parent := child.parentWidget()) is not None:
        grand = parent.parentWidget()
        if isinstance(grand, QTabWidget) and grand.indexOf(child) >= 0:
            return str(grand.tabText(grand.indexOf(child)))
        child = parent
    return type(part).__name__


def _dock_of(part: QWidget) -> QDockWidget | None:
    parent = part.parent()
    while parent is not None and not isinstance(parent, QDockWidget):
        parent = parent.parent()
    return parent
