"""The widgets as napari opens them: shown at once, and filled when what they stand on was loaded in a thread.

To import pandas, SciPy and the rest takes two seconds, in which the window must go on answering. Imports no such thing.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QEvent, QSize, Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from beadseg.widgets.layers import free_in_canvas

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = "Count"
"""Name in the menu of the widget that counts."""
LOOK_MS = 30
"""How often it is looked whether the modules are there."""
WIDGETS = {
    "Review": ("beadseg.widgets.review.widget", "ReviewWidget"),
    "Train": ("beadseg.widgets.train.widget", "TrainWidget"),
    "Count": ("beadseg.widgets.predict.widget", "PredictWidget"),
    "Compare": ("beadseg.widgets.compare", "CompareWidget"),
}
"""Module and class of every widget, by its name in the menu."""
ALSO = ("xarray", "skimage.draw", "matplotlib.path")
"""Modules that napari and the widgets import when they are first used."""

_loaded: dict[str, type[QWidget] | BaseException] = {}
_threads: dict[str, threading.Thread] = {}


def load(name: str) -> None:
    """Begin to load the modules of a widget in a thread, unless they are loaded or being loaded; returns at once."""
    if name not in _loaded and name not in _threads:
        _threads[name] = threading.Thread(target=_load, args=(name,), name=f"beadseg loads {name}", daemon=True)
        _threads[name].start()


def _load(widget: str) -> None:
    for name in ALSO:
        with suppress(ImportError):
            import_module(name)
    for warm_up in (_read_units, _read_settings, _draw_letters, _make_dashes):
        with suppress(Exception):  # done in the viewer's thread otherwise, when it is needed
            warm_up()
    module, name = WIDGETS[widget]
    try:
        _loaded[widget] = getattr(import_module(module), name)
    except BaseException as error:  # of any kind: the dock shows it, else it would say "Loading" for ever
        _loaded[widget] = error
    del _threads[widget]


def _read_units() -> None:
    """Read the table of units, which napari reads with its first layer."""
    import_module("pint").get_application_registry().Unit("um")


def _read_settings() -> None:
    """Read the manifests of all plugins, which napari does for the settings of one."""
    import_module("napari.settings").get_plugin_settings("beadseg")


def _draw_letters() -> None:
    """Let matplotlib find its fonts."""
    figure = import_module("matplotlib.figure").Figure((1, 1))
    figure.add_subplot().set_xlabel("Beads")
    import_module("matplotlib.backends.backend_agg").FigureCanvasAgg(figure).draw()


def _make_dashes() -> None:
    """Make the patterns of lines, which vispy keeps."""
    import_module("vispy.visuals.line.dash_atlas").DashAtlas()


def when_open(widget: QWidget, action: Callable[[Any], object]) -> None:
    """Do something with a widget of the plugin that was opened, as soon as it is filled."""
    if isinstance(widget, _Opening):
        widget.when_filled(action)
    else:
        action(widget)


def open_widget(viewer: Any, name: str, action: Callable[[Any], object]) -> None:
    """Open a widget of the plugin in a viewer's window, or bring it to the front, and do something with it."""
    _, widget = viewer.window.add_plugin_dock_widget("beadseg", name)
    when_open(widget, action)


class _Opening(QWidget):
    """Stands in the dock until the modules are there, and holds the widget then.

    Where they are there already, the widget itself is made in its place.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer.
    """

    NAME: ClassVar[str]
    filled = Signal(object)
    """The widget."""

    def __new__(cls, napari_viewer: Any) -> Any:
        """Make the widget itself where it is loaded."""
        found = _loaded.get(cls.NAME)
        return found(napari_viewer) if isinstance(found, type) else super().__new__(cls)

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer, self._docked = napari_viewer, False
        self.content: QWidget | None = None
        self._label = QLabel("Loading …")
        self._label.setWordWrap(True)
        self._label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        # Else napari adds a stretch below, for good.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.addWidget(self._label)
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(self._look)
        self._timer.start()
        free_in_canvas(napari_viewer, self)  # from the first moment: layers may be removed while it loads
        load(self.NAME)

    def sizeHint(self) -> QSize:
        """Take the place that the widget will take."""
        return QSize(380, 600) if self.content is None else self.content.sizeHint()

    def when_filled(self, action: Callable[[Any], object]) -> None:
        """Do something with the widget now or as soon as it is there."""
        if self._timer.isActive():
            self.filled.connect(action)
        elif self.content is not None:
            action(self.content)

    def changeEvent(self, event: QEvent | None) -> None:
        """End with the dock, and the widget inside too."""
        super().changeEvent(event)
        if event is None or event.type() != QEvent.Type.ParentChange:
            return
        if self.parent() is not None:
            self._docked = True
        elif self._docked:
            self._docked = False
            self._timer.stop()
            if self.content is not None:
                self.content.setParent(None)
            self.hide()
            self.deleteLater()

    def _look(self) -> None:
        """Make the widget when it is loaded, and show it in the next turn: each takes the viewer a while."""
        found = _loaded.get(self.NAME)
        if found is None:
            return
        if isinstance(found, BaseException):
            self._timer.stop()
            del _loaded[self.NAME]
            self._label.setText(f"This part of beadseg could not be loaded ({found}). Install beadseg[napari] again.")
        elif self.content is None:
            self.content = found(self._viewer)
            self.content.setParent(self)
        else:
            self._timer.stop()
            self._show(self.content)

    def _show(self, content: QWidget) -> None:
        self._column.replaceWidget(self._label, content)
        self._label.deleteLater()
        content.show()
        self.filled.emit(content)


class ReviewWidget(_Opening):
    """Review the annotations of a dataset."""

    NAME = "Review"


class TrainWidget(_Opening):
    """Train a network on a dataset."""

    NAME = "Train"


class PredictWidget(_Opening):
    """Find and count beads."""

    NAME = "Count"


class CompareWidget(_Opening):
    """Compare two sets of beads."""

    NAME = "Compare"
