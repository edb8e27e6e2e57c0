"""A widget is shown at once and filled when its modules were loaded in a thread; its help is in the package."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import beadseg

pytestmark = pytest.mark.gui
pytest.importorskip("napari")

COLD = """
import importlib.abc, json, sys, threading, time

seen = {}

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        seen.setdefault(name, threading.current_thread() is threading.main_thread())

sys.meta_path.insert(0, Watch())
import napari
from qtpy.QtWidgets import QApplication

viewer = napari.Viewer(show=True)
for _ in range(20):
    QApplication.processEvents()
before = set(seen)
dock, first = viewer.window.add_plugin_dock_widget("beadseg", "Compare")
found = []
first.when_filled(found.append)
shown = len(found)
end = time.monotonic() + 120
while not found and time.monotonic() < end:
    QApplication.processEvents()
    time.sleep(0.005)
content = found[0]
ended = []
content.end = lambda: ended.append(1)
visible = content.isVisible()
viewer.window.remove_dock_widget(dock)
for _ in range(20):
    QApplication.processEvents()
in_main = [name for name in ("pandas", "beadseg.measure", "beadseg.data.dataset") if name not in before and seen[name]]
print(json.dumps({"shown": shown, "name": type(content).__name__, "in_main": in_main, "visible": visible,
                  "ended": len(ended)}))
viewer.close()
"""


def test_the_window_answers_while_a_widget_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"shown": 0, "name": "CompareWidget", "in_main": [], "visible": True, "ended": 1}


def test_a_widget_that_is_loaded_is_made_at_once(open_widget: Any) -> None:
    from beadseg.widgets.compare import CompareWidget

    _, widget = open_widget("Compare")
    assert isinstance(widget, CompareWidget)


@pytest.mark.parametrize("name", ["Review", "Train", "Count", "Compare"])
def test_every_widget_has_help(open_widget: Any, qtbot: Any, name: str) -> None:
    from qtpy.QtCore import QPoint, Qt, QUrl

    from beadseg.widgets.common import HelpButton

    _, widget = open_widget(name)
    qtbot.waitUntil(lambda: any(part.isVisible() for part in widget.findChildren(HelpButton)))
    button = next(part for part in widget.findChildren(HelpButton) if part.isVisible())
    assert button.accessibleName() == "Help"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    page = button.window_.page

    def top() -> str:
        return str(page.cursorForPosition(QPoint(8, 12)).block().text())

    qtbot.waitUntil(lambda: top().startswith(name))
    page.setSource(page.source().resolved(QUrl("training.md#what-is-planned-from-the-data")))
    qtbot.waitUntil(lambda: "planned" in top())
    button.window_.close()


def test_pages_of_the_help_are_packaged() -> None:
    root = Path(beadseg.__file__).parents[2]
    packaged = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    kept = packaged["force-include"]
    assert all((root / source).exists() and target == f"beadseg/{source}" for source, target in kept.items())
    page = (root / "docs" / "napari.md").read_text("utf-8")
    linked = {part.split(")")[0].split("#")[0] for part in page.split("](")[1:]}
    assert [link for link in linked if link.endswith(".md") and f"docs/{link}" not in kept] == []
    assert "docs/images" in kept
