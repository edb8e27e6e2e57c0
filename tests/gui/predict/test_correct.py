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


class Keyboard(Counter):
    """Has no mouse."""

    @property
    def focus(self) -> Any:
        return self.widget.window().focusWidget()

    def press(self, key: str) -> None:
        from qtpy.QtCore import Qt

        self.qtbot.keyClick(self.focus, getattr(Qt.Key, f"Key_{key}"))
        if self.live.session is not None:
            self.settle()

    def tab_to(self, part: Any) -> None:
        """Press Tab until a part has the keyboard."""
        from qtpy.QtCore import Qt

        if self.focus is None:
            self.canvas.setFocus()
        for _ in range(150):
            if self.focus is part:
                return
            self.qtbot.keyClick(self.focus, Qt.Key.Key_Tab)
        raise AssertionError(f"Tab does not lead to {part.text()}")

    def go_to(self, cross: Any, place: tuple[int, int]) -> None:
        """Move the cross with the arrow keys."""
        y, x = (int(value) for value in cross.data[0])
        for steps, forth, back in ((place[0] - y, "Down", "Up"), (place[1] - x, "Right", "Left")):
            for _ in range(abs(steps)):
                self.press(forth if steps > 0 else back)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "tile.png"
    iio.imwrite(path, simulate(SceneConfig(height=96, width=128, beads=25, debris=0), 7).image)
    return path


def test_beads_are_corrected_and_saved_beside_the_automatic_result(
    open_widget: Any, qtbot: Any, picture: Path, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Count")
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
    without_a_mouse(person, found)
    split_and_merge(person)
    assert not person.image.sliders.isEnabled()
    assert "instead of" in person.image.correction.state.text()
    everything_is_seen(person)
    now = int(person.live.session.count(0))
    assert person.shown == f"{now} beads"
    assert len(person.image.results.beads.table) == len(person.live.shown.centres.data) == now
    assert f"Automatic: {found} beads" in person.image.results.detail.text()
    person.save(tmp_path / "out")
    assert f"corrected count, {now}" in widget.messages.text
    saved_is_right(person, tmp_path / "out", automatic, now)
    again_without_correction(person, tmp_path / "out")


def everything_is_seen(person: Counter) -> None:
    """In a window of 1280x800: number, buttons and table, without scrolling."""
    image = person.image
    area = image.parent().parent()
    assert area.horizontalScrollBar().maximum() == 0
    for part in (image.results.count, image.correction.buttons["undo"], image.keep.save, image.results.bead_view):
        seen = part.visibleRegion().boundingRect()
        assert seen.size() == part.size(), (type(part).__name__, seen, part.size())


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


def without_a_mouse(person: Counter, found: int) -> None:
    """The arrow keys move a cross from the middle of what is seen, Enter clicks there."""
    person.key("Right")
    person.key("Left")
    cross = person.viewer.layers["cross"]
    place = tuple(int(value) for value in cross.data[0])
    shift = tuple(int(a - b) for a, b in zip(person.free_place(), place, strict=True))
    for key, back, steps in (("Down", "Up", shift[0]), ("Right", "Left", shift[1])):
        for _ in range(abs(steps)):
            person.key(key if steps > 0 else back)
    person.key("Return")
    assert person.shown == f"{found + 2} beads"
    person.key("U")
    assert person.shown == f"{found + 1} beads"


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

    viewer, widget = open_widget("Count")
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


def test_several_images_one_table_and_one_folder(open_widget: Any, qtbot: Any, picture: Path, tmp_path: Path) -> None:
    viewer, widget = open_widget("Count")
    person = Counter(qtbot, viewer, widget)
    other = tmp_path / "other.png"
    iio.imwrite(other, simulate(SceneConfig(height=96, width=96, beads=15, debris=0), 3).image)
    layers = [*viewer.open(str(picture), plugin="napari"), *viewer.open(str(other), plugin="napari")]
    image = person.image
    assert image.every.isVisibleTo(widget)
    viewer.layers.selection = set(layers)
    assert image.predict.text() == "Count 2 images"
    person.click_button(image.predict)
    qtbot.waitUntil(lambda: len(image.results.images.table) == 2 and not image.background.running, timeout=PATIENCE_MS)
    person.settle()
    table = image.results.images.table
    assert table["image"].tolist() == ["tile", "other"]
    assert image.results.image_view.isVisibleTo(widget)
    image.results.image_view.selectRow(0)
    assert person.live.below == layers[0]
    found = int(person.labels.max())
    assert table["beads"].iloc[0] == found
    person.key("D")
    person.click(*person.free_place())
    assert image.results.images.table.iloc[0][["beads", "automatic"]].tolist() == [found + 1, found]
    size_of_pixels_and_beads(person, layers[0])
    regions_are_counted_each(person)
    assert image.keep.folder.line.placeholderText() == str(tmp_path / "beadseg-general")
    with qtbot.waitSignal(image.keep.background.ended, timeout=PATIENCE_MS):
        person.click_button(image.keep.save)
    assert "2 images" in widget.messages.text
    assert image.results.images.table["saved"].tolist() == ["yes", "yes"]
    counts = pd.read_csv(tmp_path / "beadseg-general" / files.COUNTS)
    assert set(counts["image"]) == {"tile", "other"}
    assert counts["corrected"].notna().sum() == 1
    assert counts.set_index("image")["pixel_size_um"].to_dict()["tile"] == 0.5
    regions = pd.read_csv(tmp_path / "beadseg-general" / files.REGIONS)
    assert regions["shape"].isna().tolist() == [True, False, False]
    assert regions["corrected"].iloc[1:].sum() == regions["corrected"].iloc[0] == found + 1
    assert regions["beads"].iloc[0] == found
    assert (regions["corrected_per_mm2"] > regions["beads_per_mm2"]).any()


def size_of_pixels_and_beads(person: Counter, layer: Any) -> None:
    """The pixel size is a field; the circle shows the bead diameter."""
    from qtpy.QtCore import Qt

    sizes = person.image.sizes
    assert sizes.pixel.text() == "unknown"
    sizes.pixel.setFocus()  # Enter there is not the bead tool's
    sizes.pixel.setValue(0.5)
    person.qtbot.keyClick(sizes.pixel, Qt.Key.Key_Return)
    person.settle()
    assert layer.scale.tolist() == [0.5, 0.5]
    assert "per mm²" in person.image.results.detail.text()
    assert person.viewer.canvas.overlays.scale_bar.visible
    assert sizes.found.text().startswith("found: ")
    person.click_button(sizes.show_circle)
    circle = sizes.circle
    assert circle in person.viewer.layers
    assert np.ptp(circle.data[0][:, -1]) == pytest.approx(person.live.session.separations[0].diameter)
    assert "bead size" not in [person.image.region.itemText(at) for at in range(person.image.region.count())]
    person.click_button(sizes.show_circle)
    assert circle not in person.viewer.layers


def regions_are_counted_each(person: Counter) -> None:
    person.click_button(person.image.draw)
    shapes = person.image.region.layer
    shapes.add_rectangles([[-1, -1], [-1, 63.5], [200, 63.5], [200, -1]])
    shapes.add_rectangles([[-1, 63.5], [-1, 200], [200, 200], [200, 63.5]])
    person.qtbot.waitUntil(lambda: len(person.image.results.regions.table) == 3)
    table = person.image.results.regions.table
    assert table["shape"].tolist() == ["all", 1, 2]
    assert table["beads"].iloc[1:].sum() == table["beads"].iloc[0] == person.live.session.count(0)
    person.image.results.region_view.selectRow(2)
    assert shapes.selected_data == {1}


def test_a_dragged_circle_counts_again(open_widget: Any, qtbot: Any, picture: Path) -> None:
    viewer, widget = open_widget("Count")
    person = Counter(qtbot, viewer, widget)
    person.count(picture)
    sizes = person.image.sizes
    person.click_button(sizes.show_circle)
    before = person.live.session
    y, x = sizes.circle.data[0].mean(axis=0)[-2:]
    radius = np.ptp(sizes.circle.data[0][:, -1]) / 2
    with qtbot.waitSignal(person.image.background.started, timeout=PATIENCE_MS):
        person.drag((y, x + radius), (y, x + 1.5 * radius))
    qtbot.waitUntil(lambda: person.live.session is not before, timeout=PATIENCE_MS)
    person.settle()
    assert sizes.diameter.value() == pytest.approx(3 * radius, abs=0.3)
    assert person.live.session.separations[0].diameter == pytest.approx(sizes.diameter.value(), abs=0.1)
    assert sizes.found.text().startswith("used")


def test_count_correct_and_save_without_a_mouse(open_widget: Any, qtbot: Any, picture: Path) -> None:
    viewer, widget = open_widget("Count")
    person = Keyboard(qtbot, viewer, widget)
    viewer.open(str(picture), plugin="napari")
    person.tab_to(person.image.predict)
    with qtbot.waitSignal(person.image.background.ended, timeout=PATIENCE_MS):
        person.press("Space")
    person.settle()
    found = int(person.labels.max())
    assert person.focus is person.image.predict  # not the pixel size, which would take the next key
    person.press("D")
    assert person.image.correction.mouse.on
    person.press("Right")
    cross = viewer.layers["cross"]
    person.go_to(cross, person.free_place())
    person.press("Return")
    assert person.shown == f"{found + 1} beads"
    bead = person.image.results.beads.table.iloc[2]
    person.go_to(cross, (round(bead["y"]), round(bead["x"])))
    person.press("Return")
    assert person.shown == f"{found} beads"
    person.press("U")
    assert person.shown == f"{found + 1} beads"
    camera = tuple(viewer.scene.camera.center)
    person.tab_to(person.image.keep.save)
    with qtbot.waitSignal(person.image.keep.background.ended, timeout=PATIENCE_MS):
        person.press("Space")
    assert f"corrected count, {found + 1}" in widget.messages.text
    assert person.focus is person.image.keep.save
    assert tuple(viewer.scene.camera.center) == camera  # it once jumped to the first bead
    assert pd.read_csv(picture.parent / "beadseg-general" / files.COUNTS)["corrected"].tolist() == [found + 1]
