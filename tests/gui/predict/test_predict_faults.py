"""What goes wrong while predicting is a message in the widget, and the widget can be used afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from beadseg import files

pytestmark = [pytest.mark.gui, pytest.mark.timeout(900)]
pytest.importorskip("napari")

PATIENCE_MS = 240_000


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def newer(run: Path) -> None:
    path = run / files.BEST
    with safe_open(path, framework="numpy") as file:
        meta = json.loads(file.metadata()["beadseg"])
    save_file({}, path, {"beadseg": json.dumps({**meta, "schema_version": 99})})


def damaged(run: Path) -> None:
    (run / files.BEST).write_bytes(b"no checkpoint")


def unfinished(run: Path) -> None:
    (run / files.BEST).unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(newer, "newer beadseg"), (damaged, "Damaged"), (unfinished, "no trained model"), (shutil.rmtree, "No such run")],
    ids=["newer", "damaged", "no model", "gone"],
)
def test_a_run_that_cannot_predict_is_a_message(
    open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    run = Path(shutil.copytree(run_folder, tmp_path / "run"))
    spoil(run)
    viewer, widget = open_widget("Count")
    viewer.add_image(np.zeros((64, 64), np.uint8))
    assert widget.run.line.text() == "general"
    assert "Comes with beadseg" in widget.about.text()
    widget.run.setValue(None)
    click(qtbot, widget.image.predict)
    assert "No model was chosen." in widget.messages.text
    widget.run.choose(run)
    assert said in widget.messages.text
    widget.messages.clear()
    click(qtbot, widget.image.predict)
    assert said in widget.messages.text
    assert not widget.image.background.running
    assert widget.image.predict.isEnabled()
    widget.run.choose(run_folder)
    assert widget.messages.text == ""
    assert "unet" in widget.about.text()


def predictions() -> list[psutil.Process]:
    """Return the child processes that predict; the window's display is a child too."""
    return [child for child in psutil.Process().children() if "beadseg" in words(child)]


def words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_layers_that_are_no_images(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    viewer, widget = open_widget("Count")
    viewer.add_labels(np.ones((32, 32), np.uint8))
    assert widget.image.layer.count() == 0
    assert not widget.image.predict.isEnabled()
    widget.run.choose(run_folder)
    viewer.add_image(np.zeros((2, 2, 2, 32, 32), np.uint8), name="five axes")
    click(qtbot, widget.image.predict)
    assert "3 axes before y and x" in widget.messages.text
    assert widget.image.predict.isEnabled()


def test_cancel_ends_the_process_and_leaves_nothing(
    open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from beadseg.widgets.common import ProgressRow

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    viewer, widget = open_widget("Count")
    viewer.add_image(np.zeros((3000, 3000), np.uint8), name="large")
    widget.run.choose(run_folder)
    click(qtbot, widget.image.predict)
    qtbot.waitUntil(lambda: len(predictions()) > 0, timeout=PATIENCE_MS)
    row = next(row for row in widget.image.findChildren(ProgressRow) if not row.isHidden())
    with qtbot.waitSignal(widget.image.background.ended, timeout=PATIENCE_MS):
        click(qtbot, row.cancel)
    assert "Cancelled." in widget.messages.text
    assert not list(tmp_path.glob("beadseg-viewer-*"))
    assert len(viewer.layers) == 1
    assert widget.image.predict.isEnabled()


def test_a_process_that_is_killed_is_a_message(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    viewer, widget = open_widget("Count")
    viewer.add_image(np.zeros((3000, 3000), np.uint8), name="large")
    widget.run.choose(run_folder)
    click(qtbot, widget.image.predict)
    qtbot.waitUntil(lambda: len(predictions()) > 0, timeout=PATIENCE_MS)
    with qtbot.waitSignal(widget.image.background.ended, timeout=PATIENCE_MS):
        for child in predictions():
            child.kill()
    assert "ended by the system (SIGKILL)" in widget.messages.text
    assert "smaller tiles" in widget.messages.text
    assert widget.image.predict.isEnabled()


def test_a_folder_that_may_not_be_written_in(
    open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path, read_only: Any
) -> None:
    """Nothing is kept there, and what was predicted is still there to be kept elsewhere."""
    locked = tmp_path / "locked"
    locked.mkdir()
    viewer, widget = open_widget("Count")
    viewer.add_image(np.zeros((64, 64), np.uint8), name="dark")
    widget.run.choose(run_folder)
    with qtbot.waitSignal(widget.image.background.ended, timeout=PATIENCE_MS):
        click(qtbot, widget.image.predict)
    qtbot.waitUntil(lambda: not widget.image.live.busy, timeout=PATIENCE_MS)
    keep = widget.image.keep
    for out, said in ((locked / "saved", "Permission denied"), (tmp_path / "saved", "Saved")):
        keep.folder.choose(out)
        with read_only(locked), qtbot.waitSignal(keep.background.ended, timeout=PATIENCE_MS):
            click(qtbot, keep.save)
        assert said in widget.messages.text
        assert keep.save.isEnabled()
    keep.folder.choose(locked / "dataset")
    with read_only(locked), qtbot.waitSignal(keep.background.ended, timeout=PATIENCE_MS):
        click(qtbot, keep.draft)
    assert "Permission denied" in widget.messages.text
    assert str(locked) in widget.messages.text
    assert not list(locked.iterdir())


def test_a_folder_is_predicted_and_opened(open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    shutil.copytree(run_folder.parent / "beads" / files.IMAGES, images)
    (images / "broken.png").write_text("no picture")
    viewer, widget = open_widget("Count")
    widget.tabs.setCurrentIndex(1)  # Folder
    widget.run.choose(run_folder)
    click(qtbot, widget.folder.predict)
    assert "Two folders are needed." in widget.messages.text
    qtbot.keyClicks(widget.folder.images.line, str(tmp_path / "nowhere"))
    qtbot.keyClicks(widget.folder.out.line, str(tmp_path / "out"))
    click(qtbot, widget.folder.predict)
    assert "No such folder." in widget.messages.text
    widget.folder.images.choose(images)
    blocked = tmp_path / "a file"
    blocked.write_text("")
    for out, said in ((blocked, "A file is in the way"), (tmp_path / "out", "6 images")):
        widget.folder.out.choose(out)
        with qtbot.waitSignal(widget.folder.background.ended, timeout=PATIENCE_MS):
            click(qtbot, widget.folder.predict)
        assert said in widget.messages.text
    assert "broken.png" in widget.folder.lines.toPlainText()
    assert "1 failed" in widget.messages.text
    with qtbot.waitSignal(widget.folder.background.ended, timeout=PATIENCE_MS):
        click(qtbot, widget.folder.predict)
    told = widget.folder.lines.toPlainText()
    assert "Skipped 6 images" in told
    assert "--" not in told + widget.messages.text, "a window has no options of a command"
    assert widget.folder.again.text() in told
    widget.folder.again.setChecked(True)
    with qtbot.waitSignal(widget.folder.background.ended, timeout=PATIENCE_MS):
        click(qtbot, widget.folder.predict)
    assert "Skipped" not in widget.folder.lines.toPlainText()
    click(qtbot, widget.folder.open)
    image, labels, centres = viewer.layers
    assert image.data.shape == (6, 96, 96, 3)
    assert labels.data.shape == (6, 96, 96)
    assert len(centres.data) == sum(int(np.asarray(plane).max()) for plane in labels.data)


def test_a_run_folder_opens_with_what_it_was_validated_on(make_napari_viewer: Any, run_folder: Path) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open(str(run_folder), plugin="beadseg")
    names = [layer.name for layer in viewer.layers]
    assert any("validation" in name for name in names)
    assert {layer._type_string for layer in viewer.layers} == {"image", "labels"}
