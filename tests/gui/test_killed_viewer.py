"""A viewer that is killed while it trains or predicts: a real one, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from beadseg import files
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.training.records import read_history

pytestmark = [
    pytest.mark.gui,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL"),
]
pytest.importorskip("napari")

LONG = 200_000
"""Longest wait for a process, ms."""
SETTINGS = ("epochs=400", "network.width=4", "network.depth=3", "epoch.size=64", "epoch.steps=3", "batch=2")
TRAINING = """
import os, sys, time
from pathlib import Path
import napari
from qtpy.QtWidgets import QApplication
from beadseg import files
beads, run, settings = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
viewer = napari.Viewer(show=True)
_, widget = viewer.window.add_plugin_dock_widget("beadseg", "Train")
while getattr(widget, "content", widget) is None:  # it is being loaded
    QApplication.processEvents()
widget = getattr(widget, "content", widget)
widget.setup.dataset.choose(beads)
widget.setup.run.choose(run)
for setting in settings:
    path, value = setting.split("=")
    editor = widget.form.editor(path)
    editor.setValue(int(value))
    editor.valueChanged.emit()
widget.buttons.start.click()
history = run / files.HISTORY
while not history.exists() or len(history.read_text().splitlines()) < 4:
    QApplication.processEvents()
    time.sleep(0.01)
print(widget.session.pid, flush=True)
os.kill(os.getpid(), 9)
"""
PREDICTING = """
import os, sys, time
from pathlib import Path
import napari, psutil
import numpy as np
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=True)
_, widget = viewer.window.add_plugin_dock_widget("beadseg", "Count")
while getattr(widget, "content", widget) is None:  # it is being loaded
    QApplication.processEvents()
widget = getattr(widget, "content", widget)
viewer.add_image(np.zeros((3000, 3000), np.uint8), name="large")
widget.run.choose(Path(sys.argv[1]))
widget.image.predict.click()
found = []
while not found:
    QApplication.processEvents()
    time.sleep(0.01)
    found = [child for child in psutil.Process().children() if "beadseg" in child.cmdline()]
print(found[0].pid, flush=True)
os.kill(os.getpid(), 9)
"""


def killed(program: str, folder: Path, *words: object) -> int:
    """Run a program that starts a process and kills itself; return the number of that process."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "TMPDIR": str(folder)}
    command = [sys.executable, "-c", program, *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == -9, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


def test_training_goes_on_and_is_taken_up_again(
    open_widget: Callable[..., tuple[Any, Any]], qtbot: Any, tmp_path: Path
) -> None:
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    beads, run = tmp_path / "beads", tmp_path / "run"
    scene = SceneConfig(height=96, width=96, beads=20, debris=0)
    write_dataset(beads, SeriesConfig(scene=scene, tiles=4, dilutions=(640,), fields=2, seed=3))
    pid = killed(TRAINING, tmp_path, beads, run, *SETTINGS)
    before = read_history(run / files.HISTORY)
    try:
        _, widget = open_widget("Train")
        widget.setup.run.choose(run)
        qtbot.waitUntil(lambda: widget.session.status == "running", timeout=LONG)
        assert widget.session.pid == pid
        assert widget.tabs.currentWidget().widget() is widget.progress
        qtbot.waitUntil(lambda: len(read_history(run / files.HISTORY)) > len(before), timeout=LONG)
        widget.buttons.stop.click()
        qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)
    finally:
        if psutil.pid_exists(pid):
            psutil.Process(pid).kill()
    kept = read_history(run / files.HISTORY)
    assert kept[: len(before)] == before
    assert not [path for path in run.iterdir() if files.is_unfinished(path)]
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: len(read_history(run / files.HISTORY)) > len(kept), timeout=LONG)
    widget.buttons.stop.click()
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)
    assert read_history(run / files.HISTORY)[: len(kept)] == kept


def test_a_prediction_ends_with_its_viewer(tmp_path: Path, run_folder: Path) -> None:
    pid = killed(PREDICTING, tmp_path, run_folder)
    if psutil.pid_exists(pid):
        psutil.Process(pid).wait(60)
    assert list(tmp_path.glob("beadseg-viewer-*"))
    assert tempfile.gettempdir() != str(tmp_path)
