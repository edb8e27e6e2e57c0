"""Sliders for what an object is; moving one needs no network."""

from __future__ import annotations

import math
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QHBoxLayout, QPushButton, QWidget
from superqt import QCollapsible, QLabeledDoubleSlider, QLabeledSlider

from beadseg.config.predict import ObjectConfig
from beadseg.predict.instances import smallest_area

THRESHOLD_STEP = 0.01
HIGHEST_THRESHOLD = 0.95
LEAST_SEPARATION, MOST_SEPARATION = 0.1, 1.5
"""Share of a bead diameter."""
ALL_SIZES = 10.0
"""The slider for the largest bead reaches this many times the area of a bead; there it leaves nothing out."""
MOST_FOCUS = 2.0
"""End of the slider for the focus."""
BORDERS = {"count all": "count", "count none": "exclude", "count those above and left": "half"}
"""Rules for beads that the border cuts, as a person chooses them."""
LARGEST = 3.0
"""The slider for the smallest bead reaches this many times the area of a bead."""


class ObjectSliders(QWidget):
    """Edits an `ObjectConfig` whose diameter is known."""

    valueChanged = Signal(object)
    """The new `ObjectConfig`, at every move."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._value = self._first = ObjectConfig(diameter=7.0)
        self._diameter = 7.0
        self._setting = False
        self.threshold = _double(THRESHOLD_STEP, 2, "Pixels of at least this probability belong to beads")
        self.separation = _double(
            0.05, 2, "Least distance of two beads, in bead diameters: smaller cuts more, larger joins more"
        )
        self.min_area = QLabeledSlider(Qt.Orientation.Horizontal)
        self.min_area.setToolTip("Objects smaller than this are left out, px²")
        self.confidence = _double(0.01, 2, "Beads that the network is less sure of are left out")
        self.largest = QLabeledSlider(Qt.Orientation.Horizontal)
        self.largest.setToolTip("Larger beads are listed and not counted, px²; all count at the right end")
        self.circularity = _double(0.01, 2, "Beads that are less round are listed and not counted; 1 is a circle")
        self.focus = _double(0.05, 2, "Beads that are less sharp are listed and not counted")
        self.border = QComboBox()
        for words, rule in BORDERS.items():
            self.border.addItem(words, rule)
        self.border.setToolTip("Which beads count that the border of the image cuts")
        self.cut = QCheckBox("cut touching beads apart")
        self.cut.setToolTip("Without it, beads that touch count as one")
        self.reset = QPushButton("Reset")
        self.reset.setToolTip("Back to what the image was predicted with")
        self._build()

    def _build(self) -> None:
        self.confidence.setRange(0.0, 1.0)
        self.circularity.setRange(0.0, 1.0)
        self.focus.setRange(0.0, MOST_FOCUS)
        self.separation.setRange(LEAST_SEPARATION, MOST_SEPARATION)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(2)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Threshold", self.threshold)
        form.addRow("Separation", self.separation)
        form.addRow("Smallest, px²", self.min_area)
        form.addRow("Confidence", self.confidence)
        self.filters = QCollapsible("Leave out")
        inner = QWidget()
        more = QFormLayout(inner)
        more.setContentsMargins(0, 0, 0, 0)
        more.setVerticalSpacing(2)
        for label, part in (
            ("Larger than, px²", self.largest), ("Less round than", self.circularity), ("Less sharp than", self.focus),
            ("At the border", self.border),
        ):  # fmt: skip
            more.addRow(label, part)
        self.filters.addWidget(inner)
        for frame in (self.filters, self.filters.content()):
            within = frame.layout()
            if within is not None:
                within.setContentsMargins(0, 0, 0, 0)
        form.addRow(self.filters)
        row = QHBoxLayout()
        row.addWidget(self.cut, 1)
        row.addWidget(self.reset)
        form.addRow(row)
        self.border.currentIndexChanged.connect(self._edited)
        for slider in (self.threshold, self.separation, self.min_area, self.confidence, self.largest, self.circularity,
                       self.focus):  # fmt: skip
            slider.valueChanged.connect(self._edited)
            _one_tab_stop(slider)
        self.cut.toggled.connect(self._edited)
        self.reset.clicked.connect(lambda: self._take(self._first))

    def value(self) -> ObjectConfig:
        """Return what is chosen."""
        return self._value

    def setValue(self, objects: ObjectConfig, diameter: float | None = None) -> None:
        """Show what an image, whose beads have a diameter (px), was predicted with; `reset` comes back to it."""
        self._first = objects
        self._diameter = diameter or objects.diameter or 7.0
        bead = math.pi * self._diameter**2 / 4
        self._setting = True
        self.threshold.setRange(objects.seeds.lowest, max(HIGHEST_THRESHOLD, objects.threshold))
        self.min_area.setRange(1, max(10, round(LARGEST * bead), smallest_area(objects, self._diameter)))
        self.largest.setRange(max(1, round(bead)), max(20, round(ALL_SIZES * bead), (objects.max_area or 0) + 1))
        self._setting = False
        self._show(objects)
        self._value = objects

    def show_value(self, objects: ObjectConfig) -> None:
        """Show what is chosen of this image, without telling it."""
        self._show(objects)
        self._value = objects

    def changes(self) -> dict[str, Any]:
        """Return what differs from what the image was predicted with."""
        now, first = self._value.model_dump(), self._first.model_dump()
        return {name: value for name, value in now.items() if value != first[name]}

    def take(self, objects: ObjectConfig) -> None:
        """Take a choice as if a person had made it."""
        if objects != self._value:
            self._take(objects)

    def _show(self, objects: ObjectConfig) -> None:
        self._setting = True
        self.threshold.setValue(objects.threshold)
        self.separation.setValue(objects.seeds.distance)
        self.min_area.setValue(smallest_area(objects, self._diameter))
        self.confidence.setValue(objects.min_confidence)
        self.largest.setValue(self.largest.maximum() if objects.max_area is None else objects.max_area)
        self.circularity.setValue(objects.min_circularity)
        self.focus.setValue(objects.min_focus or 0.0)
        self.border.setCurrentIndex(self.border.findData(objects.border))
        if not objects.all_count:
            self.filters.expand(animate=False)
        self.cut.setChecked(objects.separate)
        self.separation.setEnabled(objects.separate)
        self._setting = False

    def _take(self, objects: ObjectConfig) -> None:
        self._show(objects)
        self._value = objects
        self.valueChanged.emit(objects)

    def _edited(self) -> None:
        if self._setting:
            return
        before = self._value
        area = self.min_area.value()
        changes = {
            "threshold": round(self.threshold.value(), 3),
            "min_area": before.min_area if area == smallest_area(before, self._diameter) else area,
            "min_confidence": round(self.confidence.value(), 3),
            "max_area": None if self.largest.value() == self.largest.maximum() else self.largest.value(),
            "min_circularity": round(self.circularity.value(), 3),
            "min_focus": round(self.focus.value(), 3) or None,
            "border": self.border.currentData(),
            "separate": self.cut.isChecked(),
            "seeds": before.seeds.replace(distance=round(self.separation.value(), 3)),
        }
        self.separation.setEnabled(self.cut.isChecked())
        objects = before.replace(**changes)
        if objects != before:
            self._value = objects
            self.valueChanged.emit(objects)


def _double(step: float, decimals: int, explained: str) -> QLabeledDoubleSlider:
    slider: Any = QLabeledDoubleSlider(Qt.Orientation.Horizontal)  # its bounds are said to be whole numbers
    slider.setSingleStep(step)
    slider.setDecimals(decimals)
    slider.setToolTip(explained)
    made: QLabeledDoubleSlider = slider
    return made


def _one_tab_stop(slider: QWidget) -> None:
    """Let the Tab key stop at the slider itself alone, not also at what holds it and its number."""
    slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
