"""A session in the viewer: sliders, planes and clicks come in, layers and tables follow."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.annotation.edit import at
from beadseg.errors import BeadsegError, Cancelled, InputError
from beadseg.widgets.common import Background
from beadseg.widgets.layers import connect_while_alive, go_to, shown_index
from beadseg.widgets.predict.result_layers import ShownLayers
from beadseg.widgets.predict.session import Measured, Session, pixel_size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    import napari
    from napari.layers import Image
    from numpy.typing import NDArray

    from beadseg.annotation.edit import Patch
    from beadseg.config.predict import ObjectConfig
    from beadseg.events import OnEvent, StopFlag

    Work = Callable[[OnEvent, StopFlag], Any]

PLACE_EVENTS = ("scale", "translate", "rotate", "shear", "affine", "units")
"""Of a layer that is moved or measured again."""
SETTLED_MS = 120
"""A slider at rest for so long lets the beads be measured, ms."""

NEIGHBOURS = 9
"""So many beads around a place say how large one is there."""
DEFAULT_DIAMETER = 7.0
"""Of beads, px, where nothing tells it."""

STILL_PX = 3.0
"""A click is a press and release less than this many screen pixels apart."""


class LiveSession(QObject):
    """Keeps layers, count and tables of the predicted image up to date; owns its files.

    Parameters
    ----------
    viewer : napari.Viewer
        Where it is shown.
    """

    counted = Signal(int)
    """Beads of the plane that is shown; at once after every change."""
    measured = Signal(object)
    """`Measured`, a moment later."""
    bead_clicked = Signal(int)
    """Row of the bead table of a bead that was clicked in the canvas."""
    failed = Signal(object)
    """What went wrong."""
    stale = Signal(str)
    """Why the session was ended: what it showed is not there any more, or is another image."""

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.shown = ShownLayers(viewer, self)
        self._held: dict[str, Session] = {}
        self.below: Image | None = None
        """The layer that was predicted."""
        self.measured_now: Measured | None = None
        """What was measured last."""
        self.latest = LatestWorker("measuring", self)
        self._settled = QTimer(self)
        self._settled.setSingleShot(True)
        self._settled.setInterval(SETTLED_MS)
        self._settled.timeout.connect(self._measure)
        self._clearing = QTimer(self)
        self._clearing.setSingleShot(True)
        self._clearing.timeout.connect(self._clear_up)
        self.latest.returned.connect(self._take)
        self.latest.failed.connect(self.failed)
        self.shown.ready.connect(self._settled.start)
        clicks = CanvasClicks(viewer, self)
        clicks.clicked.connect(self._clicked)
        connect_while_alive(self, viewer.dims.events.current_step, self._plane_changed)
        connect_while_alive(self, viewer.layers.events.removed, self._layer_removed)
        held = self._held
        self.destroyed.connect(lambda: _close(held))

    @property
    def session(self) -> Session | None:
        """What is shown, None before anything was predicted."""
        return self._held.get("session")

    @property
    def busy(self) -> bool:
        """Whether anything shown is not yet what was chosen."""
        return self.shown.busy or self._settled.isActive() or self.latest.busy

    @property
    def changing(self) -> bool:
        """Whether what was measured last is not of what is chosen now."""
        return self._settled.isActive() or self.latest.busy

    def start(self, session: Session, below: Image) -> None:
        """Show another session in place of the one before."""
        self._rest()
        self._listen(below)
        self.measured_now = None
        before = self.session
        self._held["session"] = session
        self.shown.show(session, below)
        if before is not None:
            before.close()
        self._emit_count(session.count(self.number))

    def stop(self) -> None:
        """Take the session out of the viewer and remove its files."""
        self._end(leave=False)

    def leave(self) -> None:
        """End the session, and leave labels and centres in the viewer as plain layers."""
        self._end(leave=True)

    def _end(self, *, leave: bool) -> None:
        self._rest()
        self._listen(None)
        self.measured_now = None
        session = self._held.pop("session", None)
        if session is not None and leave:
            self.shown.leave(session)
        self.shown.remove()
        if session is not None:
            session.close()

    def _listen(self, below: Image | None) -> None:
        """Follow another layer: where it lies, what it holds, what it is called."""
        before, self.below = self.below, below
        if before is not None:
            self._connect_layer(before, "disconnect")
        if below is not None:
            self._connect_layer(below, "connect")

    def _connect_layer(self, layer: Image, how: str) -> None:
        events = layer.events
        for name in PLACE_EVENTS:
            if hasattr(events, name):
                getattr(getattr(events, name), how)(self._moved)
        getattr(events.data, how)(self._replaced)

    def _moved(self) -> None:
        """Follow the image, also in its pixel size."""
        session, below = self.session, self.below
        if session is None or below is None:
            return
        self.shown.follow()
        size = pixel_size_of(below)
        if size is not None and size != session.image.pixel_size_um:
            session.set_pixel_size(size)
            self._settled.start()

    def _replaced(self) -> None:
        self._give_up("The image was replaced. Press Count to count the new one.")

    def _layer_removed(self, event: Any) -> None:
        """End with the image, and with the labels: a count must not stand beside nothing."""
        if event.value in (self.below, self.shown.labels):
            self._give_up("")

    def _give_up(self, why: str) -> None:
        """End the session now, and its layers in a moment: the viewer may be removing others just now."""
        session = self._held.pop("session", None)
        if session is not None:
            self._rest()
            self._listen(None)
            self.measured_now = None
            self._held[f"given up {id(session)}"] = session
            self._clearing.start()
            self.stale.emit(why)

    def _clear_up(self) -> None:
        if self.session is None:
            self.shown.remove()
        for key in [key for key in self._held if key != "session"]:
            self._held.pop(key).close()

    def _rest(self) -> None:
        """Let nothing of the session go on."""
        self.latest.drop()
        self._settled.stop()

    @property
    def plane(self) -> tuple[int, ...]:
        """Index of the plane that is shown, of the axes before y and x."""
        session, labels = self.session, self.shown.labels
        if session is None or labels is None or not session.image.stack_shape or self._viewer.dims.ndisplay != 2:
            return (0,) * (len(session.image.stack_shape) if session is not None else 0)
        return shown_index(labels, self._viewer.dims)

    @property
    def number(self) -> int:
        """Number of the plane that is shown, in storage order."""
        number = 0
        if self.session is not None:
            for at, length in zip(self.plane, self.session.image.stack_shape, strict=True):
                number = number * length + at
        return number

    def choose(self, objects: ObjectConfig) -> None:
        """Choose other objects: at once where that is a look-up, so that the window is drawn only once."""
        session = self.session
        if session is None:
            return
        if not session.can_choose(objects):
            self.latest.request(lambda on_event, stop: (objects, session.separate(objects, on_event, stop)))
            return
        self.latest.drop()
        session.choose(objects)
        self._show()

    # --- Corrections: `beadseg.widgets.mouse_tools.Beads` -------------------------------------------------------------

    def bead_labels(self, plane: tuple[int, ...]) -> NDArray[np.uint32] | None:
        """Return the labels of a plane as they are shown."""
        return None if self.session is None else self.session.labels(self._number_of(plane))

    def grey(self, plane: tuple[int, ...]) -> NDArray[np.generic]:
        """Return the brightness of a plane."""
        if self.session is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        return self.session.brightness(self._number_of(plane))

    def bead_size(self, y: float, x: float, plane: tuple[int, ...]) -> tuple[float, Literal["dark", "bright"]]:
        """Return the median diameter of the nearest beads that no border cuts, px, and what beads are."""
        number, measured = self._number_of(plane), self.measured_now
        if self.session is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        diameter = self.session.separations[number].diameter or DEFAULT_DIAMETER
        if measured is not None and measured.plane == number:
            whole = measured.beads[~measured.beads["edge"].to_numpy(bool)]
            apart = np.hypot(whole["y"].to_numpy() - y, whole["x"].to_numpy() - x)
            near = np.argsort(apart)[:NEIGHBOURS]
            if len(near):
                diameter = float(np.median(whole["equivalent_diameter_px"].to_numpy()[near]))
        return diameter, self.session.polarity(number)

    def change(self, patch: Patch, plane: tuple[int, ...]) -> None:
        """Change beads of a plane; on the disk before it is shown."""
        if self.session is not None:
            number = self._number_of(plane)
            self._correct(lambda session: session.correction(number).apply(patch))

    def inner_place(self, row: int) -> tuple[float, float]:
        """Return the pixel (y, x) of the bead of a row of the table that is nearest to its centre."""
        measured = self.measured_now
        if self.session is None or measured is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count first.")
        bead = measured.beads.iloc[row]
        ys, xs = np.nonzero(self.session.labels(measured.plane) == bead["id"])
        if not len(ys):
            return float(bead["y"]), float(bead["x"])
        nearest = int(np.argmin(np.hypot(ys - bead["y"], xs - bead["x"])))
        return float(ys[nearest]), float(xs[nearest])

    def undo(self) -> None:
        """Take back the last change of the plane that is shown."""
        self._correct(lambda session: session.correction(self.number).undo())

    def redo(self) -> None:
        """Make again what was undone last in the plane that is shown."""
        self._correct(lambda session: session.correction(self.number).redo())

    def discard(self) -> None:
        """Go back to the automatic result of the plane that is shown; it can be undone."""
        self._correct(lambda session: session.correction(self.number).discard())

    def _correct(self, change: Callable[[Session], object]) -> None:
        if self.session is None:
            return
        try:
            change(self.session)
        except BeadsegError as error:
            self.failed.emit(error)
            return
        self.latest.drop()
        self._show()

    def _number_of(self, plane: tuple[int, ...]) -> int:
        stack = () if self.session is None else self.session.image.stack_shape
        return int(np.ravel_multi_index(plane, stack)) if stack else 0

    def go_to_bead(self, y: float, x: float, row: int) -> None:
        """Show a bead of the plane that is shown."""
        if self.shown.labels is not None and self.shown.labels in self._viewer.layers:
            go_to(self._viewer, self.shown.labels, (y, x))
        self.shown.mark(row)

    def go_to_plane(self, number: int) -> None:
        """Show a plane of the stack."""
        if self.session is None or self.shown.labels is None:
            return
        index = np.unravel_index(number, self.session.image.stack_shape)
        world = self.shown.labels.data_to_world([*index, 0, 0])
        for axis, value in enumerate(world[:-2], start=self._viewer.dims.ndim - len(world)):
            self._viewer.dims.set_point(axis, float(value))

    def _show(self) -> None:
        if self.session is not None:
            self.shown.refresh()
            self._emit_count(self.session.count(self.number))
            self._settled.start()

    def _emit_count(self, count: int | None) -> None:
        if count is not None:
            self.counted.emit(count)

    def _measure(self) -> None:
        session, number = self.session, self.number
        if session is not None:
            self.latest.request(lambda on_event, stop: session.measure(number, stop))

    def _take(self, value: object) -> None:
        """Take what the thread found: new candidates, or a measured plane."""
        if self.session is None:
            return
        if isinstance(value, Measured):
            self.measured_now = value
            self.shown.show_centres(value.beads, self.plane)
            self.measured.emit(value)
        elif isinstance(value, tuple):
            self.session.choose(*value)
            self._show()

    def _plane_changed(self) -> None:
        if self.session is not None and self.session.image.stack_shape and self.session.separations:
            self._emit_count(self.session.count(self.number))
            self._settled.start()

    def _clicked(self, place: np.ndarray) -> None:
        """Tell which bead was clicked."""
        labels = self.shown.labels
        if self.session is None or labels is None or labels not in self._viewer.layers or not labels.visible:
            return
        if not labels.mouse_pan:  # the click was the bead tool's
            return
        y, x = (float(value) for value in labels.world_to_data(place)[-2:])
        bead, measured = at(self.session.labels(self.number), y, x), self.measured_now
        if bead and measured is not None and measured.plane == self.number:
            rows = np.flatnonzero(measured.beads["id"].to_numpy() == bead)
            if len(rows):
                self.bead_clicked.emit(int(rows[0]))


def title_of(session: Session, below: Image, number: int) -> str:
    """Return the name of the image, and of the plane of a stack: its file where the layer knows it."""
    planes = session.planes
    if len(planes) < 2:
        return str(below.name)
    names = below.metadata.get("beadseg", {}).get("samples", ())
    plane = names[number] if len(names) == len(planes) else planes[number]
    return f"{below.name}: {plane} ({number + 1} of {len(planes)})"


def _close(held: dict[str, Session]) -> None:
    """Remove the files of a session whose widget is gone."""
    for session in held.values():
        session.close()


class CanvasClicks(QObject):
    """Tells where the canvas was clicked, in world coordinates; `disconnect_viewer` when the widget goes."""

    clicked = Signal(object)

    def __init__(self, viewer: napari.Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        viewer.mouse_drag_callbacks.append(self._pressed)
        callbacks, own = viewer.mouse_drag_callbacks, self._pressed

        def forget() -> None:
            with suppress(ValueError):
                callbacks.remove(own)

        self.destroyed.connect(forget)

    def _pressed(self, viewer: Any, event: Any) -> Iterator[None]:
        if event.button != 1:
            return
        start = np.asarray(event.pos, float)
        place = np.asarray(event.position, float)
        yield
        while event.type == "mouse_move":
            yield
        if np.hypot(*(np.asarray(event.pos, float) - start)) <= STILL_PX:
            self.clicked.emit(place)


class LatestWorker(QObject):
    """Runs the newest request in a thread.

    Parameters
    ----------
    name : str
        What the work is called.
    """

    returned = Signal(object)
    """Result of a request that no newer one has replaced."""
    failed = Signal(object)
    """What such a request raised."""

    def __init__(self, name: str, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.background = Background(name, self)
        self._waiting: Work | None = None
        self.background.returned.connect(self._return)
        self.background.failed.connect(self._fail)
        self.background.ended.connect(self._go_on)

    @property
    def busy(self) -> bool:
        """Whether anything runs or waits."""
        return self.background.running or self._waiting is not None

    def request(self, work: Work) -> None:
        """Run a work as soon as the one before has ended, which is asked to."""
        if self.background.running:
            self._waiting = work
            self.background.cancel()
        else:
            self.background.start(work)

    def drop(self) -> None:
        """Forget what waits, and cancel what runs."""
        self._waiting = None
        self.background.cancel()

    def _return(self, value: object) -> None:
        if self._waiting is None and not self.background.cancelling:
            self.returned.emit(value)

    def _fail(self, error: object) -> None:
        if self._waiting is None and not isinstance(error, Cancelled):
            self.failed.emit(error)

    def _go_on(self) -> None:
        if self._waiting is not None:
            work, self._waiting = self._waiting, None
            self.background.start(work)
