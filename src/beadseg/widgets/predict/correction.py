"""Correct beads by hand, right on the result: buttons, keys and the mouse of the bead tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from napari.layers import Points
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from beadseg.errors import InputError
from beadseg.text import plural
from beadseg.widgets.common import guarded
from beadseg.widgets.layers import add_beside, camera_of, canvas_of, connect_while_alive, focus_beside, place_of
from beadseg.widgets.mouse_tools import BeadTool, MouseTools
from beadseg.widgets.review.keys import Action, Keys

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import napari

    from beadseg.annotation.corrections import Correction
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.controller import LiveSession

TOOL = "beads"
HOW = (
    "Click: add or remove a bead. Drag across a bead: separate it. Drag from bead to bead: merge them. "
    "Hold Space to move the image."
)
WITHOUT_MOUSE = "Without a mouse: arrow keys and Enter; M begins a drag, Enter ends it."
ACTIONS: Final = (
    Action("correct", "D", "Correct", f"{HOW} {WITHOUT_MOUSE}"),
    Action("undo", "U", "Undo", "Take back the last change of this plane."),
    Action("redo", "Y", "Redo", "Make the change again that was taken back last."),
)  # fmt: skip
"""What can be done by button and key."""
REMOVE: Final = Action("remove", "Delete", "Remove", "Remove the bead that is chosen in the table.")
STEPS: Final = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Directions (y, x) of the arrow keys."""
FAR = 8
"""With Shift, an arrow key goes so many px."""
CURSOR_KEYS: Final = (
    *(Action(name, name.capitalize(), "", "") for name in STEPS),
    *(Action(f"far {name}", f"Shift-{name.capitalize()}", "", "") for name in STEPS),
    Action("press", "Enter", "", "Click at the cross."),
    Action("begin", "M", "", "A drag begins at the cross; Enter ends it."),
)
"""The bead tool without a mouse, while it is on."""
CURSOR = "cross"
FIELDS: Final = (QAbstractSpinBox, QAbstractSlider, QComboBox, QLineEdit, QAbstractItemView, QAbstractButton)
"""What takes these keys itself; Enter goes on from some of them to the viewer."""
SLIDERS_OFF = "Discard brings the sliders back."


class CorrectionRow(QWidget):
    """Turns the bead tool on and off, and takes changes back.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    live : callable
        Returns what is shown of the chosen layer.
    chosen_bead : callable
        Returns y and x, px, of the bead that is chosen in the table; None for none.
    messages : MessageArea
        Where errors are shown.
    """

    def __init__(
        self,
        viewer: napari.Viewer,
        live: Callable[[], LiveSession],
        chosen_bead: Callable[[], tuple[float, float] | None],
        messages: MessageArea,
    ) -> None:
        super().__init__()
        self._viewer, self._live, self._chosen_bead, self.messages = viewer, live, chosen_bead, messages
        self.mouse = MouseTools({}, self._show_tool)
        self.keys = Keys(self.act, (*ACTIONS, REMOVE))
        self._cursor_keys = Keys(self._move, CURSOR_KEYS)
        self._cursor: Points | None = None
        self._begun: tuple[float, float] | None = None
        self.buttons = {action.name: QPushButton(action.label) for action in ACTIONS}
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Go back to the automatic result of this plane. Undo brings the corrections back")
        self.state = QLabel()
        self.state.setWordWrap(True)
        row = QHBoxLayout()
        row.setSpacing(3)
        for action in ACTIONS:
            button = self.buttons[action.name]
            button.setToolTip(action.tooltip)
            button.clicked.connect(lambda checked=False, name=action.name: self.act(name))
            row.addWidget(button)
        row.addWidget(self.discard)
        self.buttons["correct"].setCheckable(True)
        self.discard.clicked.connect(lambda: self.act("discard"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.state)
        connect_while_alive(self, viewer.layers.selection.events.active, self._active_changed)

    @guarded
    def act(self, name: str) -> None:
        """Do what a button or key stands for."""
        live = self._live()
        if live.session is None or live.shown.labels is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        if name == "correct":
            self._toggle(live)
        elif name == "remove":
            self._remove(live)
        else:
            getattr(live, name)()
        canvas = canvas_of(self)
        if self.mouse.on and canvas is not None:
            canvas.setFocus()  # the keys of the cross are the canvas's

    def follow(self) -> None:
        """Serve the layers and the plane that are shown now."""
        live = self._live()
        if live.session is None or live.shown.labels is None:
            self.mouse.hold(None)
            self.keys.release()
        else:
            self.keys.bind([layer for layer in (live.below, *live.shown.layers) if layer is not None])
        self.show_state()

    def show_state(self) -> None:
        """Show how much was changed, and what can be taken back."""
        live = self._live()
        correction = None if live.session is None else live.session.corrections.get(live.number)
        self.buttons["undo"].setEnabled(correction is not None and correction.can_undo)
        self.buttons["redo"].setEnabled(correction is not None and correction.can_redo)
        changed = correction is not None and correction.changed
        self.discard.setEnabled(changed)
        text = corrected_text(correction) if correction is not None and changed else ""
        self.state.setText(f"{text} {SLIDERS_OFF}" if text else "")
        self.state.setVisible(bool(text))

    def end(self) -> None:
        """Give mouse and keys back."""
        self.mouse.hold(None)
        self.keys.release()

    def _toggle(self, live: LiveSession) -> None:
        if self.mouse.on:
            self.mouse.switch("")
            return
        if live.session is None or live.shown.labels is None:
            return
        live.session.correction(live.number).prepare()
        self.mouse.tools = {TOOL: BeadTool(live, self._show_status)}
        live.shown.labels.visible = True
        self._viewer.layers.selection.active = live.shown.labels
        self.mouse.hold(live.shown.labels, TOOL)
        self.messages.show_text(HOW)

    def _remove(self, live: LiveSession) -> None:
        place = self._chosen_bead()
        if place is None:
            raise InputError("No bead is chosen.", remedy="Click a row of the table, or a bead while Correct is off.")
        BeadTool(live, self._show_status).remove(*place, live.plane)

    def _show_tool(self, name: str) -> None:
        self.buttons["correct"].setChecked(bool(name))
        labels = self._live().shown.labels
        if name and labels is not None:
            self._cursor_keys.bind([labels])
            return
        self._cursor_keys.release()
        self._begun = None
        if self._cursor is not None and self._cursor in self._viewer.layers:
            self._viewer.layers.remove(self._cursor)
        self._cursor = None

    @guarded
    def _move(self, name: str) -> None:
        """Do what a key of the cross stands for; it comes with the first one, in the middle of what is seen."""
        live = self._live()
        labels = live.shown.labels
        if labels is None or live.session is None or isinstance(focus_beside(self), FIELDS):
            return
        if self._cursor is None or self._cursor not in self._viewer.layers:
            centre = [*labels.data_to_world([0.0] * labels.ndim)[:-2], *camera_of(self._viewer).center[-2:]]
            place = np.asarray(labels.world_to_data(centre), float)[-2:]
            size, _ = live.bead_size(float(place[0]), float(place[1]), live.plane)
            self._cursor = Points([np.rint(place)], name=CURSOR, symbol="cross", size=size, face_color="#ffd400",
                                  opacity=0.8, **place_of(labels, 2))  # fmt: skip
            add_beside(self._viewer, self._cursor)
        y, x = (float(value) for value in self._cursor.data[0])
        if name == "begin":
            self._begun = y, x
        elif name == "press":
            tool, begun, self._begun = BeadTool(live, self._show_status), self._begun, None
            if begun is None:
                tool.click(labels, y, x, live.plane)
            else:
                tool.drag(labels, begun, (y, x), live.plane)
        else:
            step = np.multiply(STEPS[name.removeprefix("far ")], FAR if name.startswith("far ") else 1)
            height, width = live.session.image.size
            self._cursor.data = [np.clip(np.add((y, x), step), 0, (height - 1, width - 1))]

    def _show_status(self, text: str) -> None:
        self._viewer.status = text

    def _active_changed(self, event: Any = None) -> None:
        """Let the mouse go when another layer is chosen: napari gives it to that one."""
        if self.mouse.on and self._viewer.layers.selection.active != self._live().shown.labels:
            self.mouse.switch("")


def corrected_text(correction: Correction) -> str:
    """Return how a corrected plane differs from the automatic result, and by whom it was corrected."""
    by = f"{plural(correction.steps, 'change')} by {correction.by}"
    return f"{by}: {correction.count:,} instead of {plural(correction.automatic_count, 'bead')}."
