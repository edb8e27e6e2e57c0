"""Correct a count by hand: clicks and drags on the result, keys, what is saved, what is offered again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
from review_helpers_gui import Person

from beadseg import files
from beadseg.data.image_io import read_labels
from beadseg.data.simulate import SceneConfig, simulate

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]
pytest.importorskip("napari")

PATIENCE_MS = 240_000


class Counter(Person):
    """Counts an image and corrects the count."""

    @property
    def image(self) -> Any:
        return self.widget.image

    @property
    def live(self) -> Any:
        return self.image.live

    @property
    def labels(self) -> np.ndarray:
        return np.asarray(self.live.session.labels(self.live.number))

    @property
    def shown(self) -> str:
        return str(self.image.results.count.text())

    def count(self, path: Path) -> None:
        self.viewer.open(str(path), plugin="napari")
        with self.qtbot.waitSignal(self.image.background.ended, timeout=PATIENCE_MS):
            self.click_button(self.image.predict)
        self.settle()

    def settle(self) -> None:
        self.qtbot.waitUntil(lambda: self.live.shown.centres is not None and not self.live.busy, timeout=PATIENCE_MS)

    def save(self, out: Path) -> None:
        self.image.keep.folder.line.clear()
        self.qtbot.keyClicks(self.image.keep.folder.line, str(out))
        with self.qtbot.waitSignal(self.image.keep.background.ended, timeout=PATIENCE_MS):
            self.click_button(self.image.keep.save)

    def free_place(self) -> tuple[int, int]:
        """Return a place of background with no bead near it."""
        from scipy import ndimage

        apart = ndimage.distance_transform_edt(np.pad(self.labels == 0, 1))[1:-1, 1:-1]
        y, x = np.unravel_index(int(np.argmax(apart)), apart.shape)
        return int(y), int(x)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "tile.png"
    iio.imwrite(path, simulate(SceneConfig(height=96, width=128, beads=25, debris=0), 7).image)
    return path


def test_beads_are_corrected_and_saved_beside_the_automatic_result(
    open_widget: Any, qtbot: Any, picture: Path, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Predict")
    person = Counter(qtbot, viewer, widget)
    person.count(picture)
    automatic = person.labels.copy()
    found = int(automatic.max())
    assert person.shown == f"{found} beads"
    buttons = person.image.correction.buttons
    assert not buttons["undo"].isEnabled()
    person.click_button(buttons["correct"])
    assert viewer.layers.selection.active == person.live.shown.labels
    add_and_remove(person, found)
    undo_and_redo(person, found)
    split_and_merge(person)
    assert not person.image.sliders.isEnabled()
    assert "instead of" in person.image.correction.state.text()
    now = int(person.live.session.count(0))
    assert person.shown == f"{now} beads"
    assert len(person.image.results.beads.table) == len(viewer.layers[-1].data) == now
    assert f"Automatic: {found} beads" in person.image.results.detail.text()
    person.save(tmp_path / "out")
    assert f"corrected count, {now}" in widget.messages.text
    saved_is_right(person, tmp_path / "out", automatic, now)
    again_without_correction(person, tmp_path / "out")


def add_and_remove(person: Counter, found: int) -> None:
    place = person.free_place()
    person.click(*place)
    assert int(person.live.session.count(0)) == found + 1
    assert person.labels[place] > found
    assert person.shown == f"{found + 1} beads"
    assert len(person.image.results.beads.table) == found + 1
    y, x = (round(value) for value in person.image.results.beads.table[["y", "x"]].to_numpy()[2])
    person.click(y, x)
    assert person.labels[y, x] == 0
    assert person.shown == f"{found} beads"


def undo_and_redo(person: Counter, found: int) -> None:
    person.key("U")
    person.click_button(person.image.correction.buttons["undo"])
    person.settle()
    assert person.labels.max() == found
    assert not person.live.session.corrected
    assert person.image.sliders.isEnabled()
    person.key("Y")
    assert person.shown == f"{found + 1} beads"
    assert person.live.session.corrected


def split_and_merge(person: Counter) -> None:
    table = person.image.results.beads.table
    bead = table[~table["edge"] & (table["group"] == 1)].iloc[0]
    y, x, radius = bead["y"], bead["x"], bead["equivalent_diameter_px"] / 2
    before = person.live.session.count(0)
    person.drag((y - radius - 2, x), (y + radius + 2, x))
    assert person.live.session.count(0) == before + 1
    left, right = (round(y), round(x - radius / 2)), (round(y), round(x + radius / 2))
    assert person.labels[left] != person.labels[right]
    person.drag(left, right)
    assert person.live.session.count(0) == before
    assert person.labels[left] == person.labels[right]


def saved_is_right(person: Counter, out: Path, automatic: np.ndarray, now: int) -> None:
    row = pd.read_csv(out / files.COUNTS).iloc[0]
    assert (row["beads"], row["corrected"]) == (automatic.max(), now)
    assert row["corrected_by"]
    assert str(row["corrected_when"]).startswith("20")
    assert row["corrected_per_mpx_total_low"] < row["corrected_per_mpx"] < row["corrected_per_mpx_total_high"]
    assert np.array_equal(read_labels(out / files.LABELS / "tile.tif").labels, automatic)
    assert np.array_equal(read_labels(out / files.CORRECTED / "tile.tif").labels, person.labels)
    table = pd.read_csv(out / files.CORRECTED / "tile.csv")
    assert len(table) == now
    assert set(table["id"]) == set(np.unique(person.labels)) - {0}
    page = (out / files.REPORT_PAGE).read_text()
    assert "Corrected" in page


def again_without_correction(person: Counter, out: Path) -> None:
    """What was taken back is not left in the folder."""
    person.click_button(person.image.correction.discard)
    person.settle()
    assert not person.live.session.corrected
    person.save(out)
    assert not list((out / files.CORRECTED).iterdir())
    assert pd.read_csv(out / files.COUNTS)["corrected"].isna().all()


def test_corrections_come_again_after_the_widget_was_closed(
    open_widget: Any, qtbot: Any, picture: Path, unsaved: Path
) -> None:
    from qtpy.QtCore import Qt

    viewer, widget = open_widget("Predict")
    person = Counter(qtbot, viewer, widget)
    person.count(picture)
    found = int(person.labels.max())
    person.key("D")
    person.click(*person.free_place())
    person.click_button(person.image.correction.buttons["correct"])
    assert person.shown == f"{found + 1} beads"
    kept = person.labels.copy()
    viewer.layers.remove(person.live.below)
    qtbot.waitUntil(lambda: person.live.session is None)
    qtbot.wait(50)
    assert len(list(unsaved.glob("*.jsonl"))) == 1
    person.count(picture)
    assert "1 unsaved correction of this image is shown again" in widget.messages.text
    assert np.array_equal(person.labels, kept)
    assert person.shown == f"{found + 1} beads"
    person.image.results.choose_bead(0)
    qtbot.keyClick(person.image.results.bead_view, Qt.Key.Key_Delete)
    person.settle()
    assert person.shown == f"{found} beads"
    person.click_button(person.image.correction.discard)
    person.settle()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not list(unsaved.glob("*.jsonl")))
