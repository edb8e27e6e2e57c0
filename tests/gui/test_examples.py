"""Every script of docs/examples runs, and does what it says; each widget has one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from beadseg import files

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
LONG = 200_000
"""Longest wait for a process, ms."""


def example(name: str) -> ModuleType:
    """Return an example as a module, without running its last lines."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def viewer(make_napari_viewer: Any) -> Any:
    return make_napari_viewer(show=True, strict_qt=True)


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path) -> None:
    """Keep what a widget remembers out of the user's own settings."""
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


def test_every_example_is_tested() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_count_beads() -> None:
    true, found = example("count_beads").main()
    assert abs(found - true) <= 0.2 * true


def test_train_a_model(tmp_path: Path) -> None:
    assert 0 <= example("train_a_model").main(tmp_path) <= 1
    assert (tmp_path / "run" / files.BEST).is_file()


@pytest.mark.gui
def test_widget_predict(viewer: Any, qtbot: Any) -> None:
    widget = example("widget_predict").show(viewer)
    widget.image.predict.click()
    qtbot.waitUntil(lambda: widget.image.live.session is not None, timeout=LONG)
    qtbot.waitUntil(lambda: not widget.image.live.busy, timeout=LONG)
    assert widget.image.results.count.text()


@pytest.mark.gui
def test_widget_train(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    widget = example("widget_train").show(viewer, tmp_path)
    qtbot.waitUntil(lambda: "Planned from the data" in widget.plan.toPlainText(), timeout=LONG)
    assert widget.buttons.start.isEnabled()


@pytest.mark.gui
def test_widget_review(viewer: Any, qtbot: Any, tmp_path: Path) -> None:
    widget = example("widget_review").show(viewer, tmp_path)
    qtbot.waitUntil(lambda: widget.controller is not None, timeout=LONG)


@pytest.mark.gui
def test_widget_compare(viewer: Any, qtbot: Any) -> None:
    widget = example("widget_compare").show(viewer)
    qtbot.waitUntil(lambda: not widget.background.running, timeout=LONG)
    assert widget.legend.text()
