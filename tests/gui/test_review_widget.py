"""The Review widget as a person uses it: fields, keys, clicks and drags in a real window."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from review_helpers_gui import CENTRES, Person, disks, make_dataset, write_audit

from beadseg import files
from beadseg.annotation.review import Review

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


@pytest.fixture
def person(open_widget: Callable[..., tuple[Any, Any]], qtbot: Any) -> Person:
    return Person(qtbot, *open_widget("Review"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_dataset(tmp_path / "beads")


def labels(person: Person) -> np.ndarray:
    return np.asarray(person.viewer.layers["review: mask"].data)


def states(root: Path) -> dict[str, str]:
    return {name: state.state for name, state in Review.open(root).states().items()}


def test_every_decision_by_its_key(person: Person, root: Path, tmp_path: Path) -> None:
    """Queue, places, proposal, comment, accept, correct, reject, skip, undo, redo, the end; undo after a restart."""
    widget = person.widget
    assert widget.start.isVisible()
    person.click_button(widget.start.open)
    assert "Choose a dataset folder first" in widget.messages.text
    person.open(root, write_audit(root, tmp_path / "audit"))
    controller, viewer = widget.controller, person.viewer
    assert [item.name for item in controller.session.items] == ["b", "c", "a", "d"]
    assert controller.current == "b"
    assert "Lies 4 px down." in widget.work.findings.text()
    assert widget.work.progress.format() == "0 of 4 decided, 4 left"

    mask = viewer.layers["review: mask"]
    assert mask.contour == 1
    person.key("O")
    person.key("T")
    proposal = viewer.layers["review: proposal"]
    assert (mask.contour, proposal.contour) == (0, 0)
    assert (mask.visible, proposal.visible) == (False, True)
    person.key("T")
    person.qtbot.waitUntil(lambda: mask.visible and not proposal.visible, timeout=3000)
    person.qtbot.waitUntil(lambda: proposal.visible and not mask.visible, timeout=3000)
    person.key("T")
    assert viewer.canvas.grid.enabled
    assert mask.visible
    assert proposal.visible
    person.key("C")
    assert controller.current == "c"
    assert not viewer.canvas.grid.enabled
    assert states(root)["b"] == "corrected"
    assert (Review.open(root).state("b").sample.read_mask().foreground == disks(CENTRES)).all()

    assert np.allclose(viewer.scene.camera.center[-2:], (75, 75), atol=1)
    zoomed = viewer.scene.camera.zoom
    person.key("W")
    assert viewer.scene.camera.zoom < zoomed
    person.key("N")
    assert widget.window().focusWidget() is widget.work.comment
    person.qtbot.keyClicks(widget.work.comment, "not all marked")
    person.qtbot.keyClick(widget.work.comment, "\r")
    assert widget.window().focusWidget() is not widget.work.comment
    person.key("R")
    rejected = Review.open(root).state("c")
    assert (rejected.state, rejected.why, rejected.by) == ("rejected", "not all marked", "ada")
    assert widget.work.comment.text() == ""

    assert controller.current == "a"
    person.key("S")
    assert controller.current == "d"
    person.key("Q")
    assert controller.current == "a"
    person.key("C")
    assert "Nothing was changed" in widget.messages.text
    person.key("A")
    person.key("U")
    assert states(root)["a"] == "pending"
    assert controller.current == "a"
    person.key("Y")
    assert states(root)["a"] == "accepted"
    person.click_button(widget.work.table.viewport())
    widget.work.table.valueChanged.emit("d")
    person.settle()
    person.click_button(widget.work.buttons["accept"])
    assert widget.messages.tone == "good"
    assert "All 4 samples are decided on: 2 accepted, 1 corrected, 1 rejected." in widget.messages.text
    assert "ada 4" in widget.messages.text
    assert (root / files.REVIEW / files.REVIEW_TABLE).exists()

    widget.work.state.setCurrentText("rejected")
    assert controller.current == "c"
    widget.work.state.setCurrentIndex(0)
    widget.work.finding.setCurrentIndex(widget.work.finding.findData("shift"))
    assert controller.current == "b"

    person.click_button(widget.work.other)
    assert widget.start.isVisible()
    assert len(viewer.layers) == 0
    widget.work.finding.setCurrentIndex(0)
    person.open(root)
    person.key("U")
    assert states(root)["d"] == "pending"


def test_bead_tool_brush_and_their_undo(person: Person, root: Path, tmp_path: Path) -> None:
    """A click adds the missing bead fitted to the image, a click removes it, a drag separates; a brush works too."""
    person.open(root, write_audit(root, tmp_path / "audit"))
    widget, viewer = person.widget, person.viewer
    widget.work.table.valueChanged.emit("c")
    person.settle()
    person.key("W")
    assert len(np.unique(labels(person))) == 1 + 3
    person.key("D")
    assert widget.work.buttons["beads"].isChecked()
    person.click(74, 76)
    assert len(np.unique(labels(person))) == 1 + 4
    new = labels(person) == labels(person)[75, 75]
    assert widget.work.name.text() == "c: 4 beads (3 before)"
    overlap = (new & disks(CENTRES[-1:])).sum() / (new | disks(CENTRES[-1:])).sum()
    assert overlap > 0.75
    assert any("fitted to the image" in said for said in person.said)
    saved = next((root / files.REVIEW / files.UNSAVED).glob("c--*.jsonl"))
    assert len(saved.read_text().splitlines()) == 3

    person.click(75, 75)
    assert labels(person)[75, 75] == 0
    person.key("U")
    assert labels(person)[75, 75] > 0
    person.drag((50, 39), (50, 48))
    assert labels(person)[50, 40] != labels(person)[50, 47]
    person.key("A")
    assert "C saves your strokes" in widget.messages.text

    person.key("2")
    assert not widget.work.buttons["beads"].isChecked()
    viewer.layers["review: mask"].brush_size = 5
    person.drag((80, 20), (80, 40))
    assert labels(person)[80, 30] > 0
    assert len(saved.read_text().splitlines()) == 7
    person.key("C")
    corrected = Review.open(root).state("c").sample
    assert corrected.has_labels
    found = corrected.read_mask().labels
    assert found is not None
    assert found[50, 40] != found[50, 47]
    assert len(np.unique(found)) == 1 + 6
    assert not saved.exists()


def test_strokes_are_kept_when_one_goes_on(person: Person, root: Path, tmp_path: Path) -> None:
    """Leaving a sample, the dataset or the layer keeps its strokes; U drops them."""
    person.open(root, write_audit(root, tmp_path / "audit"))
    widget, viewer = person.widget, person.viewer
    widget.work.table.valueChanged.emit("c")
    person.settle()
    person.key("W")
    person.key("D")
    person.click(75, 75)
    person.key("S")
    assert widget.controller.current != "c"
    assert widget.work.buttons["beads"].isChecked()
    widget.work.table.valueChanged.emit("c")
    person.settle()
    assert labels(person)[75, 75] > 0
    assert "1 unsaved stroke of" in widget.messages.text

    viewer.layers.remove("review: mask")
    assert "was removed" in widget.messages.text
    person.key("A")
    assert "cannot be shown" in widget.messages.text
    widget.work.table.valueChanged.emit("c")
    person.settle()
    assert labels(person)[75, 75] > 0

    other = make_dataset(tmp_path / "others", ("x", "y"))
    widget.open(other, None, "ada")
    person.qtbot.waitUntil(lambda: widget.controller is not None, timeout=20000)
    person.settle()
    assert widget.controller.current == "x"
    person.key("A")
    assert states(other)["x"] == "accepted"
    widget.open(root, None, "ada")
    person.qtbot.waitUntil(lambda: widget.controller is not None, timeout=20000)
    person.settle()
    assert widget.controller.current == "c"
    assert labels(person)[75, 75] > 0
    person.key("U")
    assert labels(person)[75, 75] == 0
    assert not list((root / files.REVIEW / files.UNSAVED).glob("*"))
    dock = viewer.window.dock_widgets
    viewer.window.remove_dock_widget(widget)
    assert len(viewer.layers) == 0
    assert dock is not None
    widget.deleteLater()
    person.qtbot.wait(50)


def test_a_region_is_ignored_by_a_drag(person: Person, root: Path) -> None:
    """It is on the disk at once, strokes stay, U takes it back, and it is shown again when the sample is."""
    person.open(root)
    widget, viewer = person.widget, person.viewer
    person.key("D")
    person.click(85, 15)
    person.key("I")
    assert widget.work.buttons["ignore"].isChecked()
    assert not widget.work.buttons["beads"].isChecked()
    person.click(30, 40)
    assert any("Drag a box" in said for said in person.said)
    assert labels(person)[30, 40] == 0
    person.drag((10, 30), (40, 90))
    review = Review.open(root)
    region = iio.imread(review.state("a").sample.ignore_path) > 0
    expected = np.zeros((96, 96), bool)
    expected[10:41, 30:91] = True
    assert np.abs(region.astype(int) - expected).sum() <= 2 * (31 + 61 + 2)
    assert region.sum() > 0.9 * expected.sum()
    assert np.array_equal(np.asarray(viewer.layers["review: ignored"].data) > 0, region)
    assert "part of it is ignored" in widget.work.about.text()
    assert review.state("a").state == "pending"
    assert labels(person)[85, 15] > 0
    person.drag((60, -20), (300, 20))
    assert (iio.imread(Review.open(root).state("a").sample.ignore_path)[60:, :20] > 0).sum() > 500
    person.key("C")
    done = Review.open(root).state("a")
    assert done.state == "corrected"
    assert not done.notes
    ((_, _, target),) = done.sample.planes()
    assert target.ignore.sum() == viewer.layers["review: ignored"].data.sum() > region.sum()
    assert not viewer.layers["review: ignored"].visible
    assert widget.work.buttons["ignore"].isChecked()
    person.key("Q")
    assert viewer.layers["review: ignored"].visible
    for left in (region.sum(), 0):
        person.key("U")  # the correction first, then the second box
        person.key("U") if left else None
        found = Review.open(root).state("a").sample.ignore_path
        assert (0 if found is None else (iio.imread(found) > 0).sum()) == left
    assert not viewer.layers["review: ignored"].visible


def test_what_goes_wrong_is_said(person: Person, root: Path, tmp_path: Path) -> None:
    """No folder, another dataset's audit, an exchanged, a deleted and a damaged file, a folder that is not writable."""
    widget = person.widget
    person.open(tmp_path / "nowhere")
    assert "No such folder" in widget.messages.text
    other = make_dataset(tmp_path / "others", ("x", "y"))
    person.open(other, write_audit(root, tmp_path / "audit"))
    assert "other samples than this dataset" in widget.messages.text
    assert widget.start.isVisible()
    (root / "masks" / "d.png").write_bytes(b"no image")
    person.open(root, tmp_path / "audit")
    assert widget.controller.current == "b"

    swapped = root / "images" / "b.png"
    content = swapped.read_bytes()
    swapped.write_bytes((other / "images" / "x.png").read_bytes())
    person.key("A")
    assert "exchanged meanwhile" in widget.messages.text
    assert states(root)["b"] == "pending"
    swapped.write_bytes(content)

    (root / "images" / "c.png").unlink()
    widget.controller.preload.forget(["c"])
    person.key("S")
    assert "cannot be found any more" in widget.messages.text.lower()
    person.key("A")
    assert "only be rejected or skipped" in widget.messages.text
    person.key("R")
    assert widget.controller.session.states["c"].state == "rejected"
    assert widget.controller.current == "a"
    person.key("S")
    assert widget.controller.current == "d"
    assert "d.png" in widget.messages.text

    widget.work.table.valueChanged.emit("a")
    person.settle()
    folder = root / files.REVIEW
    folder.rename(root / "elsewhere")
    folder.write_text("a file in the way, as good as a folder that may not be written in")
    person.key("A")
    assert "Cannot be written" in widget.messages.text
    assert widget.controller.current == "a"
    person.key("D")
    person.click(85, 10)
    assert "A file is in the way" in widget.messages.text
    for leave in (lambda: person.key("S"), lambda: person.click_button(widget.work.other)):
        leave()
        assert "A file is in the way" in widget.messages.text
        assert widget.controller.current == "a"
        assert labels(person)[85, 10] > 0
    folder.unlink()
    (root / "elsewhere").rename(folder)
    person.key("C")
    assert states(root)["a"] == "corrected"


def test_a_review_that_may_not_be_written(person: Person, root: Path, read_only: Callable[[Path], Any]) -> None:
    """Decisions and strokes are refused with the reason, strokes stay in the window, and all goes on afterwards."""
    (root / files.REVIEW).mkdir()
    person.open(root)
    with read_only(root):
        person.key("A")
        assert "Permission denied" in person.widget.messages.text
        assert str(root / files.REVIEW) in person.widget.messages.text
        person.key("I")
        person.drag((10, 10), (40, 40))
        assert "Permission denied" in person.widget.messages.text
        assert "review: ignored" not in person.viewer.layers
        person.key("D")
        person.click(85, 15)
        assert "Permission denied" in person.widget.messages.text
        assert labels(person)[85, 15] > 0
        assert states(root) == dict.fromkeys("abcd", "pending")
    person.key("C")
    assert states(root)["a"] == "corrected"
    assert person.widget.controller.current == "b"


def test_stack_of_colour_images(person: Person, tmp_path: Path) -> None:
    """A finding about one plane shows it; the bead tool changes that plane alone."""
    import tifffile

    root = tmp_path / "stack"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    plane = np.where(disks(CENTRES), 90, 150).astype(np.uint8)
    image = np.stack([plane] * 3)[..., None].repeat(3, axis=-1)
    tifffile.imwrite(root / "images" / "s.tif", image, photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(
        root / "labels" / "s.tif", np.zeros((3, 96, 96), np.uint16), photometric="minisblack", metadata={"axes": "ZYX"}
    )
    person.open(root)
    assert person.widget.controller.sample.planes == ("z000", "z001", "z002")
    person.viewer.dims.set_current_step(0, 1)
    person.key("D")
    person.click(20, 20)
    assert [len(np.unique(one)) for one in labels(person)] == [1, 2, 1]
    person.key("C")
    found = Review.open(root).state("s").sample.read_mask().labels
    assert found is not None
    assert [len(np.unique(one)) for one in found] == [1, 2, 1]


def begin_strokes(person: Person, root: Path) -> None:
    """Open a dataset without an audit and paint two beads on its first sample."""
    person.open(root)
    person.key("D")
    person.click(85, 15)
    person.click(85, 60)
    assert labels(person)[85, 15] * labels(person)[85, 60] > 0


def reopen(person: Person, root: Path) -> None:
    person.click_button(person.widget.work.other)
    person.open(root)


def test_strokes_come_back_after_an_ignored_box(person: Person, root: Path) -> None:
    """A box that is marked as ignored decides nothing about the strokes, whether it holds or was taken back."""
    begin_strokes(person, root)
    person.key("I")
    person.drag((10, 30), (40, 90))
    assert Review.open(root).state("a").sample.ignore_path is not None
    reopen(person, root)
    assert "2 unsaved strokes" in person.widget.messages.text
    assert labels(person)[85, 15] * labels(person)[85, 60] > 0
    person.key("U")
    assert labels(person)[85, 15] == 0
    assert person.widget.messages.text == ""
    person.key("D")
    person.click(85, 15)
    person.widget.controller.session.undo()  # of the box, such as from the command line
    reopen(person, root)
    assert "1 unsaved stroke of" in person.widget.messages.text
    assert labels(person)[85, 15] > 0


@pytest.mark.parametrize(("key", "state"), [("A", "accepted"), ("R", "rejected")])
def test_a_decision_never_loses_strokes(person: Person, root: Path, key: str, state: str) -> None:
    """With unsaved strokes it is asked for twice, and undone it brings them back, also after a restart."""
    begin_strokes(person, root)
    controller = person.widget.controller
    person.key(key)
    assert states(root)["a"] == "pending"
    assert "C saves your strokes" in person.widget.messages.text
    person.click(30, 80)
    person.key(key)
    assert states(root)["a"] == "pending"
    person.key(key)
    assert states(root)["a"] == state
    assert controller.current == "b"
    person.key("U")
    assert controller.current == "a"
    assert states(root)["a"] == "pending"
    assert labels(person)[85, 15] * labels(person)[85, 60] * labels(person)[30, 80] > 0
    person.key(key)
    person.key(key)
    reopen(person, root)
    person.key("U")
    assert labels(person)[85, 15] * labels(person)[85, 60] * labels(person)[30, 80] > 0
    # what is said of these strokes goes with their sample
    assert "3 unsaved strokes" in person.widget.messages.text
    person.widget.work.table.valueChanged.emit("b")
    person.settle()
    assert person.widget.messages.text == ""


def test_nothing_is_decided_on_that_is_not_seen(person: Person, root: Path) -> None:
    """A hidden mask is not accepted, and in a hidden dock the keys are napari's."""
    from qtpy.QtWidgets import QDockWidget

    person.open(root)
    mask = person.viewer.layers["review: mask"]
    mask.visible = False
    person.key("A")
    assert "review: mask is hidden" in person.widget.messages.text
    assert states(root)["a"] == "pending"
    mask.visible = True
    dock = person.widget
    while not isinstance(dock, QDockWidget):
        dock = dock.parent()
    dock.hide()
    person.key("A")
    assert states(root)["a"] == "pending"
    dock.show()
    person.key("A")
    assert states(root)["a"] == "accepted"


def test_the_queue_and_the_buttons_by_keyboard(person: Person, root: Path) -> None:
    from qtpy.QtCore import Qt

    person.open(root)
    work = person.widget.work
    work.table.setFocus()
    person.qtbot.keyClick(work.table, Qt.Key.Key_Down)
    person.settle()
    assert person.widget.controller.current == "b"
    person.qtbot.keyClick(work.table, Qt.Key.Key_R)
    person.settle()
    assert states(root)["b"] == "rejected"
    work.buttons["accept"].setFocus()
    assert person.widget.window().focusWidget() is work.buttons["accept"]
    person.qtbot.keyClick(work.buttons["accept"], Qt.Key.Key_Space)
    assert states(root)["c"] == "accepted"


SESSION = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from types import SimpleNamespace
import napari
from review_helpers_gui import Person
from pytestqt.qt_compat import qt_api
from pytestqt.qtbot import QtBot
qt_api.set_qt_api(os.environ.get("QT_API", "pyqt6"))
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=True)
viewer.window.resize(1280, 800)
_, widget = viewer.window.add_plugin_dock_widget("beadseg", "Review")
while getattr(widget, "content", widget) is None:  # it is being loaded
    QApplication.processEvents()
widget = getattr(widget, "content", widget)
person = Person(QtBot(SimpleNamespace()), viewer, widget)
person.open(Path(sys.argv[1]), Path(sys.argv[1]).parent / "audit")
person.key("R")
person.key("S")
person.key("W")
widget.work.table.valueChanged.emit("c")
person.settle()
person.key("W")
person.key("D")
person.click(75, 75)
person.click(85, 15)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_killed_review_loses_nothing(person: Person, root: Path, tmp_path: Path) -> None:
    write_audit(root, tmp_path / "audit")
    command = [sys.executable, "-c", SESSION, str(root), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == -9, done.stderr
    assert states(root)["b"] == "rejected"
    person.open(root, tmp_path / "audit")
    assert person.widget.controller.current == "c"
    assert "2 unsaved strokes" in person.widget.messages.text
    assert labels(person)[75, 75] > 0
    assert labels(person)[85, 15] > 0
    person.key("C")
    assert states(root)["c"] == "corrected"
    person.key("U")
    person.key("U")
    assert set(states(root).values()) == {"pending"}


def test_audit_runs_beside_the_review(person: Person, root: Path) -> None:
    """The audit is a child process; the review goes on meanwhile; cancelled it says so and leaves nothing running."""
    widget = person.widget
    person.open(root)
    assert "Not audited yet" in widget.work.findings.text()
    person.click_button(widget.work.audit)
    assert widget.auditing.running
    person.key("A")
    assert states(root)["a"] == "accepted"
    widget.auditing.cancel()
    person.qtbot.waitUntil(lambda: not widget.auditing.running, timeout=8000)
    assert "Stopped on request" in widget.messages.text
    person.click_button(widget.work.audit)
    person.qtbot.waitUntil(lambda: not widget.auditing.running, timeout=250000)
    person.settle()
    assert "samples have findings" in widget.messages.text
    audit = json.loads((root / files.REVIEW / files.REVIEW_AUDIT / files.AUDIT).read_text())
    worst = [finding["sample"] for finding in audit["findings"] if finding["sample"] != "a"]
    assert widget.controller.current == worst[0]


def test_new_sample_without_a_mask(person: Person, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads", ("a",))
    iio.imwrite(root / "images" / "new.png", iio.imread(root / "images" / "a.png"))
    person.open(root)
    person.key("S")
    assert person.widget.controller.current == "new"
    person.key("A")
    assert "no mask that could be accepted" in person.widget.messages.text
    person.key("D")
    person.click(20, 20)
    person.key("C")
    assert states(root) == {"a": "pending", "new": "corrected"}
