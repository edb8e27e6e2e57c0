"""Correcting counts in a real napari window: gestures and seconds to a right result, and what a kill takes away.

    xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/correcting.py --kills 20

**Ten places.** 60 simulated dense beads whose result is wrong in ten places: 4 beads missed, 3 false ones, 2 pairs in
one piece, 1 bead in two. Corrected once with the bead tool, once in a plain labels layer with napari's own brush and
fill, by mouse and key events on the canvas. Prints clicks and keys until every bead is right, how well the outlines
fit, the seconds of a practised person by the keystroke-level model (Card, Moran, Newell 1980: 1.1 s to point, 0.2 s
to click, 0.28 s a key, 1.35 s to think of each place), and the program's own seconds, which are measured. Fiji's Cell
Counter is counted on paper: it starts from no result, and marks centres alone.

**Kills.** A viewer in a process of its own, that corrects a count or a mask of a dataset without a pause, is ended by
SIGKILL at a random moment. Everything that was seen to be done must be there again.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
from predicting import rest, stored_session, wait
from scipy import ndimage

from beadseg.annotation.review.autosave import read_unsaved, unsaved_folder
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.predict.prediction import Maps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Labels = NDArray[np.uint32]
    Place = tuple[float, float]

POINT_S, CLICK_S, KEY_S, THINK_S = 1.1, 0.2, 0.28, 1.35
PLACES = 10
FIJI_CLICKS = 3 + 1 + 1
"""Cell Counter: its menu, Initialize, the type of counter; then one click a bead."""
SLOWEST_S = 4.0
"""A kill comes at most so long after the first correction."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=0, help="in all, half of them in Review")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["ten", "kills"])
    parser.add_argument("--child", nargs=2, metavar=("WIDGET", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child, arguments.seed)
        return
    if arguments.only != "kills":
        ten_places()
    if arguments.only != "ten":
        sys.exit(kills(arguments.kills, random.Random(arguments.seed)))


def scene() -> tuple[NDArray[np.uint8], Labels]:
    """Return an image (Y, X) of 60 dense beads and its labels."""
    made = simulate(SceneConfig(height=128, width=160, beads=60, debris=0, channels="grey"), 5)
    return made.image, made.labels


def counted(viewer: Any, unsaved: Path) -> Any:
    """Return the Count widget with a right result of the image; corrections are kept in the folder `unsaved`."""
    from beadseg.widgets.predict import PredictWidget

    image, labels = scene()
    probability = np.where(labels > 0, 0.9, 0.05).astype(np.float32)
    centre = np.zeros(labels.shape, np.float32)
    for y, x in ndimage.center_of_mass(labels > 0, labels, np.arange(1, labels.max() + 1)):
        centre[round(y), round(x)] = 1.0
    centre = ndimage.gaussian_filter(centre, 1.3)
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Count")
    widget.image._below = viewer.add_image(image, name="beads")
    widget.image._show(stored_session(Maps(probability, centre / centre.max()), image))
    live = widget.image.live
    wait(lambda: live.shown.centres is not None and not live.busy)
    live.session.keep_unsaved_in(unsaved)
    return widget


# --- Ten places -------------------------------------------------------------------------------------------------------


@dataclass
class Hand:
    """Presses keys and clicks on the canvas, and counts both."""

    viewer: Any
    clicks: int = 0
    keys: int = 0
    seconds: float = 0.0
    """The program's own time, from an event to its result on the screen."""

    @property
    def canvas(self) -> Any:
        """What draws the layers."""
        return self.viewer.window._qt_viewer.canvas.native

    def at(self, place: Place) -> Any:
        """Return where a pixel of the image is seen."""
        from qtpy.QtCore import QPoint

        camera, size = self.viewer.scene.camera, np.array(self.viewer.canvas.size)
        row, column = (np.array(place) - camera.center[-2:]) * camera.zoom + size / 2
        return QPoint(round(column), round(row))

    def drag(self, start: Place, end: Place, done: Callable[[], bool] = lambda: True) -> None:
        """Click, or drag where the places differ."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QApplication

        begun, left = time.perf_counter(), Qt.MouseButton.LeftButton
        QTest.mouseMove(self.canvas, self.at(start))
        QTest.mousePress(self.canvas, left, pos=self.at(start))
        if start != end:
            point = QPointF(self.at(end))
            where, none = self.canvas.mapToGlobal(point), Qt.KeyboardModifier.NoModifier
            QApplication.sendEvent(self.canvas, QMouseEvent(QEvent.Type.MouseMove, point, where, left, left, none))
        QTest.mouseRelease(self.canvas, left, pos=self.at(end))
        self.clicks += 1
        self._shown(begun, done)

    def press(self, key: str) -> None:
        """Press a key."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        begun = time.perf_counter()
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"))
        self.keys += 1
        self._shown(begun, lambda: True)

    def _shown(self, begun: float, done: Callable[[], bool]) -> None:
        from qtpy.QtWidgets import QApplication

        wait(done)
        QApplication.processEvents()
        self.seconds += time.perf_counter() - begun
        rest(0.3)  # no double clicks

    def total(self) -> float:
        """Return the seconds of a practised person, without those that the program takes."""
        return self.clicks * (POINT_S + CLICK_S) + self.keys * KEY_S + PLACES * THINK_S


@dataclass(frozen=True)
class Wrong:
    """A place where a result is wrong: what is to be done there, and where."""

    what: str
    first: Place
    second: Place


def corrupted(right: Labels) -> tuple[Labels, list[Wrong]]:
    """Return a result that is wrong in ten places."""
    labels, wrong, used = right.copy(), [], set()
    middles = ndimage.center_of_mass(right > 0, right, np.arange(1, right.max() + 1))
    places = {number: place for number, place in enumerate(middles, 1) if inner(place, right.shape)}
    pairs = sorted((np.hypot(*np.subtract(places[a], places[b])), a, b) for a in places for b in places if a < b)
    for _, a, b in pairs:
        if len(wrong) < 2 and not {a, b} & used:
            labels[labels == b] = a
            wrong.append(Wrong("separate", places[a], places[b]))
            used |= {a, b}
    alone = [n for n in places if n not in used and min(gap for gap, a, b in pairs if n in (a, b)) > 12]
    for number in alone[:4]:
        labels[labels == number] = 0
        wrong.append(Wrong("add", places[number], places[number]))
    y, x = places[alone[4]]
    half = np.argwhere(labels == alone[4])
    labels[tuple(half[half[:, 1] > x].T)] = labels.max() + 1
    wrong.append(Wrong("merge", (y, x - 2), (y, x + 2)))
    rows, columns = np.ogrid[: labels.shape[0], : labels.shape[1]]
    for _ in range(3):
        free = ndimage.distance_transform_edt(labels == 0)
        free[:15], free[-15:], free[:, :30], free[:, -30:] = 0, 0, 0, 0
        y, x = np.unravel_index(int(np.argmax(free)), free.shape)
        labels[np.hypot(rows - y, columns - x) <= 3] = labels.max() + 1
        wrong.append(Wrong("remove", (float(y), float(x)), (float(y), float(x))))
    return labels, wrong


def inner(place: Place, shape: tuple[int, ...]) -> bool:
    """Tell whether a place is well inside the image."""
    return 10 < place[0] < shape[0] - 10 and 30 < place[1] < shape[1] - 30


def ten_places() -> None:
    """Correct the same wrong result in both ways, and print the table."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    scratch = tempfile.TemporaryDirectory()
    widget = counted(viewer, Path(scratch.name))
    live = widget.image.live
    right = live.session.labels(0).copy()
    wrong, places = corrupted(right)
    live.session.labels(0)[...] = wrong
    live._show()
    rest(1.0)
    hand = Hand(viewer)
    found = with_bead_tool(hand, widget, places)
    rows = [("bead tool of Count", hand, right_beads(right, found))]
    live.stop()
    labels = viewer.add_labels(wrong.copy(), name="plain")
    hand = Hand(viewer)
    with_brush(hand, labels, places)
    rows.append(("napari's brush and fill", hand, right_beads(right, labels.data)))
    viewer.close()
    names = (
        "how",
        "clicks and drags",
        "keys",
        "s by hand",
        "s of the program",
        "right beads",
        "overlap of those changed",
    )
    print(f"| {' | '.join(names)} |\n" + "| --- " * len(names) + "|")
    beads = len(np.unique(right)) - 1
    for how, hand, (hits, overlap) in rows:
        took = f"{hand.total():.0f} | {hand.seconds:.1f}"
        print(f"| {how} | {hand.clicks} | {hand.keys} | {took} | {hits} of {beads} | {overlap:.2f} |")
    clicks = FIJI_CLICKS + beads
    fiji = clicks * (POINT_S + CLICK_S)
    print(f"| Fiji's Cell Counter, on paper | {clicks} | 0 | {fiji:.0f} | | {beads} centres | none |", flush=True)


def with_bead_tool(hand: Hand, widget: Any, places: list[Wrong]) -> Labels:
    """Correct with the bead tool; return the labels."""
    live = widget.image.live
    hand.press("D")
    for number, place in enumerate(places, 1):
        hand.drag(place.first, place.second, lambda n=number: live.session.correction(0).steps >= n)
    wait(lambda: not live.busy)
    return np.asarray(live.session.labels(0))


def with_brush(hand: Hand, layer: Any, places: list[Wrong]) -> None:
    """Correct with what napari has: M takes a new label, 2 is the brush, 4 fills, 5 picks, X swaps with background."""
    layer.brush_size = 7  # by its slider: one drag
    hand.clicks += 1
    for what in ("add", "separate"):
        for place in (one for one in places if one.what == what):
            hand.press("M")
            if layer.mode != "paint":
                hand.press("2")
            hand.drag(place.second, place.second)
    for place in (one for one in places if one.what == "merge"):
        hand.press("5")
        hand.drag(place.first, place.first)
        hand.press("4")
        hand.drag(place.second, place.second)
    hand.press("X")
    for place in (one for one in places if one.what == "remove"):
        if layer.mode != "fill":
            hand.press("4")
        hand.drag(place.first, place.first)


def right_beads(right: Labels, found: Any) -> tuple[int, float]:
    """Return how many beads are found once with an overlap above one half, and the mean overlap of those changed."""
    found = np.asarray(found)
    hits, overlaps = 0, []
    for number in np.unique(right[right > 0]):
        inside = right == number
        values, counts = np.unique(found[inside], return_counts=True)
        best = values[np.argmax(counts)]
        overlap = np.count_nonzero(inside & (found == best)) / np.count_nonzero(inside | (found == best)) if best else 0
        hits += overlap > 0.5
        if overlap < 1:
            overlaps.append(overlap)
    return hits - max(0, len(np.unique(found)) - len(np.unique(right))), float(np.mean(overlaps or [1.0]))


# --- Kills ------------------------------------------------------------------------------------------------------------


def kills(number: int, moments: random.Random) -> int:
    """Kill viewers, and print what was lost; return 1 where anything was."""
    lost = []
    for kill in range(number):
        widget = ("Count", "Review")[kill % 2]
        with tempfile.TemporaryDirectory() as scratch:
            done, seen, after = killed(widget, Path(scratch), kill, moments.uniform(0.0, SLOWEST_S))
            kept, again = recovered(widget, Path(scratch))
            if kept < done or (kept == done and again != seen):
                lost.append(kill)
            print(f"kill {kill + 1}, {widget}, {after:.2f} s after the first: {done} seen, {kept} kept", flush=True)
    print(f"kills: {number}; corrections lost in {len(lost)} of them: {lost}")
    return int(bool(lost))


def killed(widget: str, folder: Path, seed: int, after: float) -> tuple[int, str, float]:
    """Return how many corrections a viewer had shown when it was killed, and the digest of the last labels."""
    command = [sys.executable, __file__, "--child", widget, str(folder), "--seed", str(seed)]
    environment = {**os.environ, "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    out = process.stdout
    assert out is not None
    lines = [out.readline()]
    end = time.monotonic() + after
    while (left := end - time.monotonic()) > 0:
        if select.select([out], [], [], left)[0]:
            lines.append(out.readline())
    process.send_signal(signal.SIGKILL)
    lines += out.read().splitlines(keepends=True)
    process.wait()
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return int(whole[-1][0]), whole[-1][1], after


def recovered(widget: str, folder: Path) -> tuple[int, str]:
    """Return how many corrections lie on the disk, and the digest of the labels with them."""
    place = folder / "data" / "beadseg" / "corrections" if widget == "Count" else unsaved_folder(folder / "beads")
    (path,) = place.glob("*.jsonl")
    found = read_unsaved(path)
    return found.strokes, digest(found.labels)


def digest(labels: Any) -> str:
    """Return what tells labels apart."""
    return hashlib.sha256(np.ascontiguousarray(labels, np.uint32).tobytes()).hexdigest()


def child(widget: str, folder: str, seed: int) -> None:
    """Correct without a pause; print a line for every correction that is shown."""
    import napari

    viewer = napari.Viewer(show=True)
    steps = in_count(viewer) if widget == "Count" else in_review(viewer, Path(folder))
    places = random.Random(seed)
    hand = Hand(viewer)
    for number, (tool, shown) in enumerate(steps, 1):
        height, width = shown().shape
        tool(hand, (places.uniform(2, height - 3), places.uniform(2, width - 3)))
        print(number, digest(shown()), flush=True)


Step = tuple["Callable[[Hand, Place], None]", "Callable[[], Labels]"]


def in_count(viewer: Any) -> Iterator[Step]:
    """Yield corrections of a count for ever."""
    from beadseg.widgets.common.settings import unsaved_corrections

    widget = counted(viewer, unsaved_corrections())
    live = widget.image.live
    widget.image.correction.act("correct")

    def click(hand: Hand, place: Place) -> None:
        before = live.session.correction(0).steps
        hand.drag(place, place)
        if live.session.correction(0).steps == before:  # no place for a bead there
            click(hand, (np.random.uniform(2, 125), np.random.uniform(2, 157)))

    while True:
        yield click, lambda: live.session.labels(0)


def in_review(viewer: Any, folder: Path) -> Iterator[Step]:
    """Yield corrections of a mask for ever."""
    from beadseg.widgets.review.widget import ReviewWidget

    image, labels = scene()
    for kind, pixels in (("images", image), ("masks", (labels > 0).astype(np.uint8) * 255)):
        (folder / "beads" / kind).mkdir(parents=True)
        iio.imwrite(folder / "beads" / kind / "a.png", pixels)
    widget = ReviewWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Review")
    widget.open(folder / "beads")
    wait(lambda: widget.controller is not None and widget.controller.sample is not None)
    controller = widget.controller
    controller.act("beads")

    def click(hand: Hand, place: Place) -> None:
        before = digest(controller.view.mask.data)
        hand.drag(place, place)
        wait(lambda: not controller._saving.isActive())
        if digest(controller.view.mask.data) == before:
            click(hand, (np.random.uniform(2, 125), np.random.uniform(2, 157)))

    while True:
        yield click, lambda: np.asarray(controller.view.mask.data)


if __name__ == "__main__":
    main()
