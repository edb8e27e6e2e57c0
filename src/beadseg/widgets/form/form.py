"""A form for a configuration class: ``value() -> Config``, ``setValue(Config)``, ``valueChanged``.

Each sort of value has one editor, which speaks the same three words.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QScrollArea,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from beadseg.widgets.common.settings import FolderField
from beadseg.widgets.form.schema import KIND, Alternatives, Group, Leaf, Part, schema_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from beadseg.config.base import Config

Values = dict[str, Any]

LARGEST = 2**31 - 1
"""What a spin box can hold."""
MOST_LETTERS = 18
"""Letters in a line of the box that stands for None."""


class Row:
    """One value in a form: its label, its editor, and whether it differs from what the form started from."""

    def __init__(self, path: str, leaf: Leaf) -> None:
        self.path, self.leaf = path, leaf
        self.label = QLabel(leaf.title)
        self.label.setToolTip(f"{path}\n{tooltip(leaf)}")
        self.editor: Editor = editor_for(leaf)

    def matches(self, words: list[str]) -> bool:
        """Return whether all of `words` stand in title, path or explanation."""
        text = f"{self.leaf.title} {self.path} {self.leaf.help}".lower()
        return all(word in text for word in words)

    def mark(self, base: Any) -> None:
        """Show in bold what differs from `base`."""
        font = self.label.font()
        font.setBold(self.editor.value() != base)
        self.label.setFont(font)


class GroupForm(QWidget):
    """The fields of one configuration class, one below the other."""

    changed = Signal()

    def __init__(self, group: Group, path: str = "", hidden: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self._rows: dict[str, Row] = {}
        self._inner: dict[str, GroupForm | AlternativesForm] = {}
        self._layout = QFormLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)  # a dock may be narrow
        self._kept: Values = {}
        self._hidden = {part.name for part in group.parts if _join(path, part.name) in hidden}
        for part in group.parts:
            if part.name not in self._hidden:
                self._add(part, _join(path, part.name), hidden)

    def _add(self, part: Part, path: str, hidden: frozenset[str]) -> None:
        if isinstance(part, Leaf):
            row = self._rows[part.name] = Row(path, part)
            row.editor.valueChanged.connect(self.changed)
            self._layout.addRow(row.label, row.editor)
            return
        inner = self._inner[part.name] = form_of(part, path, hidden)
        inner.changed.connect(self.changed)
        self._layout.addRow(Section(part.title, part.help, inner))

    def read(self) -> Values:
        """Return what was entered."""
        values = {name: row.editor.value() for name, row in self._rows.items()}
        return {**self._kept, **values, **{name: inner.read() for name, inner in self._inner.items()}}

    def write(self, values: Mapping[str, Any]) -> None:
        """Show values; those of hidden fields are kept."""
        self._kept = {name: values[name] for name in self._hidden if name in values}
        for name, row in self._rows.items():
            if name in values:
                row.editor.setValue(values[name])
        for name, inner in self._inner.items():
            if name in values:
                inner.write(values[name])

    def setLocked(self, locked: bool) -> None:
        """Let the values be changed, or only be looked at; sections can be opened all the same."""
        for row in self._rows.values():
            row.editor.setEnabled(not locked)
        for inner in self._inner.values():
            inner.setLocked(locked)

    def rows(self) -> Iterator[Row]:
        """Yield every row that is part of the value."""
        yield from self._rows.values()
        for inner in self._inner.values():
            yield from inner.rows()

    def filter(self, words: list[str]) -> bool:
        """Show only what matches; return whether anything does."""
        found = False
        for row in self._rows.values():
            shown = row.matches(words)
            self._layout.setRowVisible(row.editor, shown)
            found |= shown
        for inner in self._inner.values():
            shown = inner.filter(words)
            section = inner.parentWidget()
            if isinstance(section, Section):
                section.setVisible(shown)
                section.unfold(shown and bool(words))
            found |= shown
        return found


class AlternativesForm(QWidget):
    """A choice between classes, and the fields of the one chosen."""

    changed = Signal()

    def __init__(self, part: Alternatives, path: str, hidden: frozenset[str]) -> None:
        super().__init__()
        self._models = {kind: group.model for kind, group in part.options.items()}
        self._forms = {kind: GroupForm(group, path, hidden) for kind, group in part.options.items()}
        self.kind = QComboBox()
        self.kind.setToolTip(part.help)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.kind)
        for number, (kind, group) in enumerate(part.options.items()):
            self.kind.addItem(kind)
            self.kind.setItemData(number, group.help, Qt.ItemDataRole.ToolTipRole)
            column.addWidget(self._forms[kind])
            self._forms[kind].changed.connect(self.changed)
        self.kind.activated.connect(self._choose)
        self._show()

    @property
    def _form(self) -> GroupForm:
        return self._forms[self.kind.currentText()]

    def read(self) -> Values:
        """Return what was entered for the class chosen."""
        return {KIND: self.kind.currentText(), **self._form.read()}

    def write(self, values: Mapping[str, Any]) -> None:
        """Show a class and its values."""
        self.kind.setCurrentText(str(values[KIND]))
        self._form.write(values)
        self._show()

    def setLocked(self, locked: bool) -> None:
        """Let class and values be changed, or only be looked at."""
        self.kind.setEnabled(not locked)
        for form in self._forms.values():
            form.setLocked(locked)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the class chosen."""
        yield from self._form.rows()

    def filter(self, words: list[str]) -> bool:
        """Show only what matches; return whether anything does."""
        found = [form.filter(words) for kind, form in self._forms.items() if kind == self.kind.currentText()]
        return any(found) or not words

    def _choose(self) -> None:
        """Show the class chosen with its defaults and what both classes have, as ``--set loss.kind=…`` does."""
        fields = self._models[self.kind.currentText()].model_fields
        defaults = {name: field.get_default(call_default_factory=True) for name, field in fields.items()
                    if not field.is_required()}  # fmt: skip
        before = self._forms[self._shown_kind].read()
        shared = {name: value for name, value in before.items() if name in fields and name != KIND}
        self._form.write({**{name: _plain(value) for name, value in defaults.items()}, **shared})
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        self._shown_kind = self.kind.currentText()
        for kind, form in self._forms.items():
            form.setVisible(kind == self._shown_kind)


class Section(QWidget):
    """A heading that folds what is below it."""

    def __init__(self, title: str, help: str, content: QWidget) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setToolTip(help)
        self.heading.setCheckable(True)
        self.heading.setAutoRaise(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.toggled.connect(self._fold)
        self._content = content
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self.heading)
        column.addWidget(content)
        content.setContentsMargins(14, 0, 0, 4)
        self._fold(False)

    def unfold(self, open: bool) -> None:
        """Open or close the section."""
        self.heading.setChecked(open)

    def _fold(self, open: bool) -> None:
        self._content.setVisible(open)
        self.heading.setArrowType(Qt.ArrowType.DownArrow if open else Qt.ArrowType.RightArrow)


class Form(QWidget):
    """An editor for a configuration class, with a search line.

    Parameters
    ----------
    model : type
        The configuration class.
    hidden : iterable of str
        Dotted paths that are kept but not shown.
    """

    valueChanged = Signal()
    """A person changed a value; `value` may raise while it is not valid."""

    def __init__(self, model: type[Config], hidden: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._model = model
        self._base: dict[str, Any] = {}
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search settings")
        self.search.setClearButtonEnabled(True)
        self.search.setToolTip("Show only settings whose name or explanation has these words")
        self.search.textChanged.connect(lambda text: self._group.filter(text.lower().split()))
        self._group = GroupForm(schema_of(model), hidden=frozenset(hidden))
        self._group.changed.connect(self._changed)
        self._group.setContentsMargins(0, 0, 8, 0)
        self._locked = QLabel()
        self._locked.setWordWrap(True)
        self._locked.setVisible(False)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(self._group)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._locked)
        column.addWidget(self.search)
        column.addWidget(area, 1)

    def value(self) -> Config:
        """Return the configuration that was entered; raises `ConfigError` when a value is wrong."""
        return self._model.parse(self._group.read())

    def setValue(self, config: Config, base: Config | None = None) -> None:
        """Show a configuration; what differs from `base`, which is `config` itself when not given, stands in bold."""
        self._group.write((base or config).model_dump(mode="json"))
        self._base = {row.path: row.editor.value() for row in self._group.rows()}
        self._group.write(config.model_dump(mode="json"))
        self._mark()

    def setPlanned(self, values: Mapping[str, Any]) -> None:
        """Show what will stand in for None: dotted path to value."""
        for row in self._group.rows():
            if row.path in values and isinstance(row.editor, OptionalEditor):
                row.editor.setPlanned(values[row.path])

    def setLocked(self, locked: bool, why: str = "") -> None:
        """Let the values be changed, or only be looked at, and say why."""
        self._locked.setText(why)
        self._locked.setVisible(locked)
        self._group.setLocked(locked)

    def editor(self, path: str) -> Editor:
        """Return the editor of a field by its dotted path; `KeyError` when it is not shown."""
        return {row.path: row.editor for row in self._group.rows()}[path]

    def _changed(self) -> None:
        self._mark()
        self.valueChanged.emit()

    def _mark(self) -> None:
        for row in self._group.rows():
            row.mark(self._base.get(row.path, row.editor.value()))


def form_of(part: Group | Alternatives, path: str, hidden: frozenset[str]) -> GroupForm | AlternativesForm:
    """Return the form of a part that has fields of its own."""
    return GroupForm(part, path, hidden) if isinstance(part, Group) else AlternativesForm(part, path, hidden)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _plain(value: Any) -> Any:
    """Return a default as it stands in a JSON document."""
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


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


class IntegerEditor(Editor):
    """A whole number within its bounds."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        bounds = leaf.bounds
        self.box = QSpinBox()
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


class PathEditor(Editor):
    """A file, typed or chosen."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.field = FolderField("", leaf.help, "All files (*)")
        self._holds(self.field)
        self.field.valueChanged.connect(self.valueChanged)

    def value(self) -> str:
        """Return what was entered."""
        return self.field.line.text()

    def setValue(self, value: Any) -> None:
        """Show a value."""
        self.field.setValue(Path(value) if value else None)


class ChoiceEditor(Editor):
    """One of a few values."""

    def __init__(self, leaf: Leaf) -> None:
        super().__init__(leaf)
        self.box = QComboBox()
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
