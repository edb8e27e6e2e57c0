"""What widgets need of napari's layers: choosing one, its pixels plane by plane, showing large results quickly."""

from __future__ import annotations

import gc
import math
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtOpenGLWidgets import QOpenGLWidget
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
    QVBoxLayout,
    QWidget,
)

from beadseg.errors import InputError
from beadseg.widgets.common.message import plain_tip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari.components import Dims, ViewerModel
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray
    from qtpy.QtGui import QShowEvent

    Plane = Callable[[int], NDArray[Any]]
    Step = Callable[[], object]

SMALLEST = 512
"""The longer side of the coarsest level is at most this, px, unless the image itself is hardly larger."""

PAUSE_MS = 30
"""Between two steps: what the one before made is laid out and drawn, and mouse, keys and timers have their turn."""

ZOOM = 4.0
"""Canvas pixels per image pixel at least, so that one bead can be seen."""

DRAWN_MS = 500
"""After so long the canvas was drawn."""

FOCUS = (
    "QPushButton:focus, QToolButton:focus, QComboBox:focus, QLineEdit:focus, QAbstractSpinBox:focus, "
    "QAbstractItemView:focus, QPlainTextEdit:focus, QTextBrowser:focus { border: 1px solid #4285d6; } "
    "QCheckBox:focus, QAbstractSlider:focus, QTabBar:focus { outline: none; background-color: rgba(66, 133, 214, 90); }"
)
"""Shows in both themes which part has the keyboard."""

ONE_LINE = 60
"""A longer tooltip is wrapped."""


class LayerChoice(QComboBox):
    """Offers the layers of some kinds.

    Parameters
    ----------
    viewer : ViewerModel
        Whose layers.
    kinds : tuple of type
        Classes of the layers that are offered.
    none : str, optional
        Text of a first entry that stands for no layer; there is none when empty.
    accepts : callable, optional
        Tells of a layer of these kinds whether it is offered.
    """

    layer_changed = Signal(object)
    """The layer chosen now, or None."""
    offer_changed = Signal()
    """Other layers than before, or other names, can be chosen."""

    def __init__(
        self,
        viewer: ViewerModel,
        kinds: tuple[type[Any], ...],
        none: str = "",
        accepts: Callable[[Any], bool] = lambda layer: True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._kinds, self._none, self._accepts = viewer, kinds, none, accepts
        self._told: Layer | None = None
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.renamed, events.reordered):
            connect_while_alive(self, event, self.refill)
        self.currentIndexChanged.connect(self._emit_change)
        self.refill()

    @property
    def layer(self) -> Layer | None:
        """The layer chosen now."""
        return self.currentData() if self.count() else None

    @layer.setter
    def layer(self, layer: Layer | None) -> None:
        for index in range(self.count()):
            if self.itemData(index) == layer:  # not `is`: the viewer hands out proxies of its layers
                self.setCurrentIndex(index)

    def refill(self) -> None:
        """Take over the layer list; what was chosen stays chosen."""
        chosen = self.layer
        self.blockSignals(True)
        self.clear()
        if self._none:
            self.addItem(self._none, None)
        for layer in reversed(self._viewer.layers):  # the topmost first, as in the list
            if isinstance(layer, self._kinds) and self._accepts(layer):
                self.addItem(str(layer.name), layer)
        self.blockSignals(False)
        self.layer = chosen
        self.offer_changed.emit()
        self._emit_change()

    def _emit_change(self) -> None:
        if self.layer != self._told:
            self._told = self.layer
            self.layer_changed.emit(self._told)


def finest(layer: Image | Labels) -> Any:
    """Return a layer's data, of a multiscale one the finest level; it may be lazy."""
    return layer.data[0] if layer.multiscale else layer.data


def plane_count(layer: Image | Labels) -> tuple[int, ...]:
    """Return the lengths of a layer's axes before y and x (and colour); empty for a single image."""
    shape = finest(layer).shape
    return tuple(int(length) for length in (shape[:-3] if getattr(layer, "rgb", False) else shape[:-2]))


def shown_index(layer: Image | Labels, dims: Dims) -> tuple[int, ...]:
    """Return which plane of a layer the sliders show, as indices of its axes before y and x."""
    stack = plane_count(layer)
    if dims.ndisplay != 2:
        raise InputError("The viewer shows three dimensions.", layer.name, "Switch it to two dimensions (Ctrl+Y).")
    order = dims.order[-2:]
    if tuple(order) != (dims.ndim - 2, dims.ndim - 1):
        raise InputError("The viewer does not show y and x.", layer.name, "Bring the axes back into their order.")
    point = np.asarray(dims.point, float)[dims.ndim - len(stack) - 2 :]
    at = np.asarray(layer.world_to_data(point))[: len(stack)]
    return tuple(int(np.clip(np.rint(place), 0, length - 1)) for place, length in zip(at, stack, strict=True))


def shown_plane(layer: Image | Labels, dims: Dims) -> NDArray[Any]:
    """Return the plane of a layer that the sliders show: (Y, X), or (Y, X, 3 or 4) of a colour image."""
    return np.asarray(finest(layer)[shown_index(layer, dims)])


def place_of(layer: Layer, ndim: int | None = None) -> dict[str, Any]:
    """Return where a layer lies, in the words of napari's layers: its whole transform, and its units.

    `ndim`: of so many last axes alone, for a layer that has fewer.
    """
    last = layer.ndim if ndim is None else ndim
    affine = np.asarray(layer.affine.affine_matrix)
    kept = [*range(layer.ndim - last, layer.ndim)]
    rotate, shear = np.asarray(layer.rotate), layer.shear
    place: dict[str, Any] = {
        "scale": np.asarray(layer.scale)[kept],
        "rotate": rotate[np.ix_(kept, kept)],
        "shear": _last_shears(np.asarray(shear, float), layer.ndim, last),
        "translate": np.asarray(layer.translate)[kept],
        "affine": affine[np.ix_([*kept, layer.ndim], [*kept, layer.ndim])],
    }
    units = getattr(layer, "units", None)
    return place if units is None else {**place, "units": tuple(units)[layer.ndim - last :]}


def _last_shears(shear: NDArray[np.float64], ndim: int, last: int) -> NDArray[np.float64]:
    """Return the shears among the last axes; given as the upper triangle of a matrix, row by row, or as the matrix."""
    matrix = np.eye(ndim)
    if shear.ndim == 2:
        matrix = shear
    else:
        matrix[np.triu_indices(ndim, 1)] = shear
    part = matrix[ndim - last :, ndim - last :]
    return part if shear.ndim == 2 else part[np.triu_indices(last, 1)]


class PlaneStack:
    """Looks like an array (…, Y, X) to napari; every plane is asked for when it is looked at.

    Parameters
    ----------
    read : callable
        Returns the plane (Y, X) of a number in storage order. It should remember the one it made last.
    stack : tuple of int
        Lengths of the axes before y and x; empty for a single image.
    size : (int, int)
        Height and width of a plane, px.
    dtype : numpy.dtype
        Of a plane.
    step : int
        Every so many-th row and column is shown.
    """

    def __init__(
        self,
        read: Plane,
        stack: tuple[int, ...],
        size: tuple[int, int],
        dtype: Any,
        step: int = 1,
    ) -> None:
        self._read, self._stack, self._step = read, stack, step
        self.dtype = np.dtype(dtype)
        self.shape = (*stack, *(math.ceil(length / step) for length in size))

    @classmethod
    def levels(cls, read: Plane, stack: tuple[int, ...], size: tuple[int, int], dtype: Any) -> list[PlaneStack]:
        """Return the stack in its own resolution and coarser ones, two at least, as napari takes them."""
        count = max(2, 1 + math.ceil(math.log2(max(size) / SMALLEST))) if max(size) > SMALLEST else 2
        return [cls(read, stack, size, dtype, 2**level) for level in range(count)]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of pixels."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        key = _full(key, self.ndim)
        lead, within = key[: len(self._stack)], key[len(self._stack) :]
        numbers = np.arange(math.prod(self._stack)).reshape(self._stack)[lead]
        planes = [self._read(int(n))[:: self._step, :: self._step][within] for n in np.ravel(numbers)]
        if np.ndim(numbers) == 0:
            return np.asarray(planes[0])
        shape = planes[0].shape if planes else np.empty(self.shape[-2:])[within].shape
        return np.asarray(planes, self.dtype).reshape(*np.shape(numbers), *shape)


def _full(key: Any, ndim: int) -> tuple[Any, ...]:
    """Return an index with one entry per axis."""
    parts = key if isinstance(key, tuple) else (key,)
    at = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    before, after = parts[:at], parts[at + 1 :]
    return (*before, *[slice(None)] * (ndim - len(before) - len(after)), *after)


class StepQueue(QObject):
    """Does steps one after the other.

    Parameters
    ----------
    parent : QObject, optional
        When it is destroyed, the rest is not done.
    """

    ended = Signal()
    """Nothing is left to do."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._steps: list[Step] = []
        self._timer = QTimer(self)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._turn)

    @property
    def active(self) -> bool:
        """Whether anything is left to do, or its end was not told yet."""
        return bool(self._timer.isActive())

    def start(self, steps: Iterable[Step]) -> None:
        """Do these steps, and nothing that was left of others."""
        self._steps = list(steps)
        self._timer.start()

    def stop(self) -> None:
        """Leave the rest undone."""
        self._steps = []
        self._timer.stop()

    def insert(self, step: Step) -> None:
        """Do a step in the next turn, before those that are left."""
        self._steps.insert(0, step)

    def append(self, step: Step) -> None:
        """Do a step after those that are left."""
        self._steps.append(step)

    def _turn(self) -> None:
        if self._steps:
            with _uncollected():
                self._steps.pop(0)()
            if self._timer.isActive():
                self._timer.start()  # the pause begins when the step has ended
            return
        self._timer.stop()
        self.ended.emit()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Put Python's collection of cycles off: in a viewer it takes 0.2 s, which would come on top of the step."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def add_beside(viewer: ViewerModel, layer: Layer, index: int | None = None) -> None:
    """Add a layer on top, or at a place of the list, and leave the layers that are selected selected.

    By itself napari selects a new layer and shows its controls, which holds the viewer up for a tenth of a second.
    """
    selection = viewer.layers.selection
    before = set(selection)
    with selection.events.blocker_all():
        viewer.layers.insert(len(viewer.layers) if index is None else index, layer)
        selection.clear()
        selection.update(before)


def go_to(viewer: ViewerModel, layer: Layer, place: Sequence[float], plane: Sequence[int] = ()) -> None:
    """Show `place` (y, x) px of a layer in the middle of the canvas, and its plane of a stack.

    Zooms in where it is too far away to see a bead, never out.
    """
    index = [*plane, *place]
    own = np.asarray(layer.data_to_world([0.0] * (layer.ndim - len(index)) + index))
    if plane:
        dims = viewer.dims
        for axis, value in enumerate(own[:-2], start=dims.ndim - layer.ndim):
            dims.set_point(axis, value)
    camera = camera_of(viewer)
    centre = list(camera.center)
    centre[-2:] = own[-2:]
    camera.center = tuple(float(value) for value in centre)
    camera.zoom = max(float(camera.zoom), ZOOM / float(np.asarray(layer.scale)[-1]))


def fit_to(viewer: ViewerModel, layer: Layer) -> None:
    """Let a layer fill the canvas; `reset_view` would also make room for layers that are hidden."""
    low, high = np.asarray(layer.extent.world, float)[:, -2:]
    camera = camera_of(viewer)
    camera.center = (*tuple(camera.center)[:-2], *(float(place) for place in (low + high) / 2))
    canvas = np.asarray(getattr(viewer, "canvas", viewer).size, float)
    camera.zoom = float(0.95 * (canvas / np.maximum(high - low, 1e-9)).min())


def camera_of(viewer: ViewerModel) -> Any:
    """Return the camera, which belongs to the viewer's scene since napari 0.9."""
    return getattr(viewer, "scene", viewer).camera


def warm_up(viewer: ViewerModel) -> None:
    """Make what napari makes once and keeps: units of length, patterns of lines, and its font; half a second."""
    from napari.layers import Labels
    from vispy.visuals.line.dash_atlas import DashAtlas

    Labels(np.zeros((2, 2), np.uint8))
    DashAtlas()
    overlays = getattr(getattr(viewer, "canvas", None), "overlays", None)
    if overlays is not None:  # since napari 0.9, which draws a blank with every layer of points
        _draw_a_blank(overlays.text)


def _draw_a_blank(overlay: Any) -> None:
    """Let the text on the canvas be a blank for a moment, unless somebody uses it."""
    if overlay.visible or overlay.text:
        return
    overlay.text, overlay.visible = " ", True
    QTimer.singleShot(DRAWN_MS, partial(_clear, overlay))


def _clear(overlay: Any) -> None:
    if overlay.text == " ":
        overlay.text, overlay.visible = "", False


def free_in_canvas(viewer: ViewerModel, owner: QObject) -> None:
    """Make the canvas's OpenGL context the current one whenever a layer is about to be removed, while `owner` lives.

    napari frees a layer's programs in whatever context is current then, mostly that in which Qt composes the window. A
    program may be freed there that the canvas still has in use; where Mesa draws in place of a graphics card, the next
    picture ends the whole program.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are removed.
    owner : QObject
        A part of the viewer's window.
    """
    found = weakref.ref(owner)

    def make_current(event: Any = None) -> None:
        canvas = canvas_of(found())
        if canvas is not None:
            canvas.makeCurrent()

    connect_while_alive(owner, viewer.layers.events.removing, make_current)


def canvas_of(part: QObject | None) -> QOpenGLWidget | None:
    """Return the canvas of the window that something is a part of; other canvases there are in docks."""
    while part is not None and not isinstance(part, QMainWindow):
        part = part.parent()
    centre = None if part is None else part.centralWidget()
    return None if centre is None else centre.findChild(QOpenGLWidget)


def focus_beside(part: QWidget) -> QWidget | None:
    """Return what has the focus in the window of a widget, or gets it when that window becomes active."""
    window = part.window()
    return None if window is None else window.focusWidget()


def connect_while_alive(owner: QObject, event: Any, slot: Callable[..., Any]) -> None:
    """Connect a slot of `owner` to an event of napari until `owner` is destroyed."""
    event.connect(slot)

    def forget() -> None:
        with suppress(ValueError, RuntimeError):
            event.disconnect(slot)

    owner.destroyed.connect(forget)


def scrolling(content: QWidget) -> QScrollArea:
    """Return a widget in an area that scrolls where the window is smaller than it; long choices never widen it."""
    for box in content.findChildren(QComboBox):
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(6)
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(content)
    return area


def titled(text: str, content: QWidget) -> QWidget:
    """Return a widget with a sentence above it, and free space below."""
    whole, sentence = QWidget(), QLabel(text)
    sentence.setWordWrap(True)
    column = QVBoxLayout(whole)
    column.setContentsMargins(4, 4, 4, 4)
    column.addWidget(sentence)
    column.addWidget(content)
    column.addStretch(1)
    return whole


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
    labels = _labels_in(parent)
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
            part.setAccessibleName(_name_of(part, labels))


class _WheelFilter(QObject):
    """Hands the mouse wheel over boxes and sliders on to what scrolls."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return False


def _labels_in(parent: QWidget) -> dict[QWidget, str]:
    """Return the labels of the fields of all forms."""
    found, role = {}, QFormLayout.ItemRole
    for form in parent.findChildren(QFormLayout):
        for row in range(form.rowCount()):
            items = (form.itemAt(row, role.FieldRole), form.itemAt(row, role.LabelRole))
            field, label = (None if item is None else item.widget() for item in items)
            if field is not None and isinstance(label, QLabel) and label.text():
                found[field] = label.text()
    return found


def _name_of(part: QWidget, labels: dict[QWidget, str]) -> str:
    """Return what a part is called: its own text, else its label in a form, else what its tooltip says first."""
    own = getattr(part, "text", None)
    if callable(own) and not isinstance(part, QAbstractSpinBox) and not hasattr(part, "placeholderText") and own():
        return str(own())
    child: QWidget | None = part
    while child is not None and not isinstance(child, PluginWidget):
        if child in labels:
            return labels[child]
        child = child.parentWidget()
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
