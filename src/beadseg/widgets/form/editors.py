"""One editor per sort of value: each speaks ``value()``, ``setValue()`` and ``valueChanged``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSpinBox,
    QToolButton,
    QWidget,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QWheelEvent

    from beadseg.widgets.form.schema import Leaf

LARGEST = 2**31 - 1
"""What a spin box can hold."""
MOST_LETTERS = 18
"""Letters in a line of the box that stands for None."""


class Editor(QWidget):
    """What all editors share."""

    valueChanged = Signal()
    """A person changed the value."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__()
        self.leaf = leaf

    def value(self) -> Any:
        """Return what was entered; text that is not a number is returned as it is, for the configuration to refuse."""
        raise NotImplementedError

    def setValue(self, value: Any) -> None:
        """Show a value."""
        raise NotImplementedError

    def _holds(self, *parts: QWidget) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for part in parts:
            row.addWidget(part)
        self.setFocusProxy(parts[0])


class FlagEditor(Editor):
    """A box to tick."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.box = QCheckBox()
        self._holds(self.box)
        self.box.clicked.connect(lambda: self.valueChanged.emit())

    def value(self) -> bool:
        """Return what was entered."""
        return bool(self.box.isChecked())

    def setValue(self, value: bool) -> None:
        """Show a value."""
        self.box.setChecked(value)


class _CalmSpinBox(QSpinBox):
    """A spin box that a wheel over a scrolled form does not change by accident."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leave the wheel to what is scrolled."""
        if event is not None:
            event.ignore()


class _CalmComboBox(QComboBox):
    """A combo box that a wheel over a scrolled form does not change by accident."""

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leave the wheel to what is scrolled."""
        if event is not None:
            event.ignore()


class IntegerEditor(Editor):
    """A whole number within its bounds."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        bounds = leaf.bounds
        self.box = _CalmSpinBox()
        low = -LARGEST if bounds.low is None else int(bounds.low) + bounds.low_open
        high = LARGEST if bounds.high is None else int(bounds.high) - bounds.high_open
        self.box.setRange(low, high)
        self._holds(self.box)
        self.box.valueChanged.connect(lambda _: self.valueChanged.emit())

    def value(self) -> int:
        """Return what was entered."""
        return int(self.box.value())

    def setValue(self, value: int) -> None:
        """Show a value."""
        before = self.box.blockSignals(True)
        self.box.setValue(int(value))
        self.box.blockSignals(before)


class LineEditor(Editor):
    """A line of text."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.line = QLineEdit()
        self._holds(self.line)
        self.line.textEdited.connect(lambda _: self.valueChanged.emit())

    def value(self) -> Any:
        """Return what was entered."""
        return self.line.text()

    def setValue(self, value: Any) -> None:
        """Show a value."""
        self.line.setText(str(value))
        self.line.setCursorPosition(0)


class NumberEditor(LineEditor):
    """A number as text, so that 3e-4 can be entered and is not rounded."""

    def value(self) -> float | str:
        """Return what was entered."""
        text = self.line.text().strip()
        try:
            return float(text)
        except ValueError:
            return text

    def setValue(self, value: float) -> None:
        """Show a value."""
        super().setValue(f"{value:.12g}")


class YamlEditor(LineEditor):
    """Anything else, as YAML in one line."""

    def value(self) -> Any:
        """Return what was entered."""
        try:
            return yaml.safe_load(self.line.text())
        except yaml.YAMLError:
            return self.line.text()

    def setValue(self, value: Any) -> None:
        """Show a value."""
        super().setValue(yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("\n..."))


class PathEditor(LineEditor):
    """A file, typed or chosen."""

    def __init__(self, leaf: Leaf) -> None:
        Editor.__init__(self, leaf)
        self.line = QLineEdit()
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setToolTip("Choose a file")
        self._holds(self.line, self.browse)
        self.line.textEdited.connect(lambda _: self.valueChanged.emit())
        self.browse.clicked.connect(self._choose)

    def _choose(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Choose a file", str(Path(self.line.text() or ".")))
        if name:
            self.line.setText(name)
            self.valueChanged.emit()


class ChoiceEditor(Editor):
    """One of a few values."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.box = _CalmComboBox()
        for choice in leaf.choices:
            self.box.addItem(str(choice), choice)
        self._holds(self.box)
        self.box.activated.connect(lambda _: self.valueChanged.emit())

    def value(self) -> Any:
        """Return what was entered."""
        return self.box.currentData()

    def setValue(self, value: Any) -> None:
        """Show a value."""
        self.box.setCurrentIndex(max(0, self.box.findData(value)))


class OptionalEditor(Editor):
    """An editor with a box beside it that stands for None, in the configuration's own words."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.inner = _EDITORS[leaf.sort](leaf)
        words = leaf.none_means or ""
        self.none = QCheckBox(textwrap.fill(words, MOST_LETTERS))
        self.none.setToolTip(f"Ticked: {words}")
        self._holds(self.inner, self.none)
        self.none.clicked.connect(self._switch)
        self.inner.valueChanged.connect(lambda: self.valueChanged.emit())

    def value(self) -> Any:
        """Return what was entered."""
        return None if self.none.isChecked() else self.inner.value()

    def setValue(self, value: Any) -> None:
        """Show a value."""
        self.none.setChecked(value is None)
        self.inner.setEnabled(value is not None)
        if value is not None:
            self.inner.setValue(value)

    def setPlanned(self, value: Any) -> None:
        """Show what None will become, greyed."""
        if self.none.isChecked():
            self.inner.setValue(value)

    def _switch(self) -> None:
        self.inner.setEnabled(not self.none.isChecked())
        self.valueChanged.emit()


_EDITORS: dict[str, type[Editor]] = {
    "flag": FlagEditor,
    "integer": IntegerEditor,
    "number": NumberEditor,
    "choice": ChoiceEditor,
    "text": LineEditor,
    "path": PathEditor,
    "yaml": YamlEditor,
}


def editor_for(leaf: Leaf) -> Editor:
    """Return the editor of a value, with its tooltip."""
    editor = _EDITORS[leaf.sort](leaf) if leaf.none_means is None else OptionalEditor(leaf)
    editor.setToolTip(tooltip(leaf))
    editor.setAttribute(Qt.WidgetAttribute.WA_AlwaysShowToolTips)
    return editor


def tooltip(leaf: Leaf) -> str:
    """Return a value's explanation with its bounds."""
    bounds = str(leaf.bounds)
    return f"{leaf.help}\nAllowed: {bounds}" if bounds else leaf.help
