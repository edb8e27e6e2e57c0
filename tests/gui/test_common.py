"""What all widgets stand on, as a widget uses it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from beadseg.errors import BeadsegError, Cancelled, ExitCode, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, log, progress

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


def test_work_reports_and_returns_in_the_viewers_thread(qtbot: Any) -> None:
    from beadseg.widgets.common import Background, ProgressRow

    background = Background("counting")
    row = ProgressRow(background)
    qtbot.addWidget(row)
    seen: list[object] = []
    where: list[bool] = []
    background.happened.connect(seen.append)
    background.returned.connect(lambda value: where.append(threading.current_thread() is threading.main_thread()))

    def work(on_event: OnEvent, stop: StopFlag) -> str:
        on_event(log("begun"))
        on_event(progress("beads", 3, 7))
        return "done"

    with qtbot.waitSignal(background.returned) as blocker:
        background.start(work)
        assert background.running
        assert row.isVisibleTo(None)
    assert blocker.args == ["done"]
    assert where == [True]
    assert seen == [log("begun"), progress("beads", 3, 7)]
    assert row.bar.format() == "beads: 3 of 7"
    qtbot.waitUntil(lambda: not background.running and not row.isVisibleTo(None))


def test_progress_takes_the_place_of_its_button_and_gives_the_keyboard_back(qtbot: Any) -> None:
    """Else Qt passes the keyboard on: after Count the next letter went into the pixel size, after Save to a bead."""
    from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QPushButton, QWidget

    from beadseg.widgets.common import Background, ProgressRow

    background, window, buttons = Background("counting"), QWidget(), QWidget()
    button, field = QPushButton("Count"), QLineEdit()
    QHBoxLayout(buttons).addWidget(button)
    row = ProgressRow(background, instead=buttons)
    column = QHBoxLayout(window)
    for part in (buttons, row, field):
        column.addWidget(part)
    for signal, on in ((background.started, False), (background.ended, True)):
        signal.connect(lambda on=on: button.setEnabled(on))
    qtbot.addWidget(window)
    window.show()
    for end in ("returned", "cancelled", "elsewhere"):
        go_on = threading.Event()
        button.setFocus()
        background.start(lambda on_event, stop, go_on=go_on: go_on.wait(20))
        assert (button.isVisible(), row.isVisible()) == (False, True)
        assert window.focusWidget() is row.cancel
        if end == "cancelled":
            row.cancel.click()
            assert window.focusWidget() is row
        if end == "elsewhere":
            field.setFocus()
        go_on.set()
        qtbot.waitUntil(lambda: not background.running)
        assert (button.isVisible(), row.isVisible()) == (True, False)
        assert window.focusWidget() is (field if end == "elsewhere" else button)


def test_cancel_is_the_end_of_the_work(qtbot: Any) -> None:
    from beadseg.widgets.common import Background, ProgressRow

    background = Background("waiting")
    row = ProgressRow(background)
    qtbot.addWidget(row)

    def work(on_event: OnEvent, stop: StopFlag) -> None:
        while True:
            stop.check()

    background.start(work)
    with pytest.raises(InputError, match="waiting is still going on"):
        background.start(work)
    with qtbot.waitSignal(background.failed) as blocker:
        row.cancel.click()
    assert isinstance(blocker.args[0], Cancelled)
    assert not background.running


def test_work_ends_when_its_widget_is_gone(qtbot: Any) -> None:
    from qtpy.QtWidgets import QWidget

    from beadseg.widgets.common import Background

    widget = QWidget()
    ended = threading.Event()

    def work(on_event: OnEvent, stop: StopFlag) -> None:
        while not stop:
            on_event(log("still here"))
        ended.set()

    Background("listening", widget).start(work)
    widget.deleteLater()
    qtbot.waitUntil(ended.is_set)


def test_errors_are_messages(qtbot: Any, caplog: pytest.LogCaptureFixture) -> None:
    from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

    from beadseg.widgets.common import MessageArea, guarded

    class Widget(QWidget):
        def __init__(self) -> None:
            super().__init__()
            self.messages = MessageArea()
            self.wrong = QPushButton("wrong input")
            self.bug = QPushButton("bug")
            layout = QVBoxLayout(self)
            for part in (self.messages, self.wrong, self.bug):
                layout.addWidget(part)
            self.wrong.clicked.connect(self.refuse)
            self.bug.clicked.connect(self.divide)

        @guarded
        def refuse(self) -> None:
            raise InputError("Is not a dataset.", "beads", "Choose another folder.")

        @guarded
        def divide(self) -> None:
            raise ZeroDivisionError("division by zero")

    widget = Widget()
    qtbot.addWidget(widget)
    widget.show()
    assert not widget.messages.isVisible()
    widget.wrong.click()
    assert widget.messages.isVisible()
    assert widget.messages.text == "beads: Is not a dataset. Choose another folder."
    assert not caplog.records
    widget.bug.click()
    assert "ZeroDivisionError" in widget.messages.text
    assert caplog.records[-1].exc_info
    widget.messages.clear()
    assert not widget.messages.isVisible()


def test_child_process_says_what_is_wrong(tmp_path: Path) -> None:
    from beadseg.runtime.process import run_command

    seen: list[Event] = []
    with pytest.raises(BeadsegError, match="No such folder") as caught:
        run_command(
            ["audit", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")],
            tmp_path / "events",
            seen.append,
            StopFlag(),
        )
    assert caught.value.exit_code is ExitCode.INPUT
    assert caught.value.remedy
    assert [event.kind for event in seen] == ["process", "error"]


@pytest.mark.skipif(os.name == "nt", reason="has no signals to be ended by")
def test_child_process_that_is_killed_is_an_error(tmp_path: Path) -> None:
    from beadseg.runtime.process import run_command

    def kill(event: Event) -> None:
        for child in psutil.Process().children():
            if "beadseg" in child.cmdline():  # the window's display is a child too
                child.kill()

    arguments = ["simulate", str(tmp_path / "beads"), "--tiles", "200", "--size", "64"]
    with pytest.raises(MachineError, match=r"ended by the system \(SIGKILL\)"):
        run_command(arguments, tmp_path / "events", kill, StopFlag())


WIDGETS = ("Review", "Train", "Count", "Compare")
NARROW = 366
"""Width of a dock in which everything is reached without scrolling sideways, px."""


def callbacks(viewer: Any) -> list[int]:
    """Return how many listen to a viewer."""
    events = viewer.layers.events
    emitters = (events.inserted, events.removed, events.renamed, events.reordered, viewer.dims.events.current_step,
                viewer.layers.selection.events.active)  # fmt: skip
    return [len(emitter.callbacks) for emitter in emitters] + [len(viewer.mouse_drag_callbacks)]


def dock_of(widget: Any) -> Any:
    from qtpy.QtWidgets import QDockWidget

    while not isinstance(widget, QDockWidget):
        widget = widget.parent()
    return widget


@pytest.fixture
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what the widgets remember, and their temporary files, in a folder of the test."""
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def test_the_x_of_a_dock_ends_its_widget(open_widget: Any, qtbot: Any, own_settings: Path) -> None:
    """Nothing of it listens, waits or lies on the disk afterwards, however often it is opened and closed."""
    from qtpy.QtWidgets import QApplication

    from beadseg.widgets.layers import PluginWidget

    def left() -> list[Any]:
        return [part for part in QApplication.allWidgets() if isinstance(part, PluginWidget)]

    viewer = None
    before: list[int] = []
    for name in (*WIDGETS, *WIDGETS):
        if viewer is None:
            viewer, widget = open_widget(name)
            dock_of(widget).destroyOnClose()
            qtbot.waitUntil(lambda: not left())
            before = callbacks(viewer)
            continue
        _, widget = open_widget(name, viewer)
        qtbot.wait(20)
        dock_of(widget).destroyOnClose()
        qtbot.waitUntil(lambda: not left())
        assert callbacks(viewer) == before, name
    assert not list(own_settings.iterdir())


def test_widgets_fit_a_small_screen_and_do_as_the_keyboard_says(
    open_widget: Any, qtbot: Any, own_settings: Path
) -> None:
    """Together they fit 1280x720, as tabs; the wheel changes nothing; every stop of the Tab key has a name."""
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QAbstractItemView, QAbstractSlider, QApplication, QComboBox, QScrollBar, QWidget

    viewer, first = open_widget("Review")
    widgets = [first]
    for name in WIDGETS[1:]:
        qtbot.wait(50)
        widgets.append(open_widget(name, viewer)[1])
    window = first.window()
    window.resize(1280, 720)
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(dock_of(first))) == len(WIDGETS) - 1, timeout=60_000)
    assert window.height() <= 720
    assert window.minimumSizeHint().height() <= 720
    assert window.minimumSizeHint().width() <= 1280
    for area in (
        *(widgets[1].tabs.widget(page) for page in range(3)),
        *(widgets[2].tabs.widget(page) for page in range(2)),
    ):
        assert area.widget().minimumSizeHint().width() <= NARROW, area.widget()
    train = widgets[1]
    for box in train.findChildren(QComboBox) + widgets[2].findChildren(QAbstractSlider):
        if isinstance(box, QScrollBar):
            continue
        value = box.currentIndex() if isinstance(box, QComboBox) else box.value()
        at = QPointF(box.rect().center())
        none = Qt.MouseButton.NoButton
        event = QWheelEvent(at, box.mapToGlobal(at), QPoint(), QPoint(0, -120), none, Qt.KeyboardModifier.NoModifier,
                            Qt.ScrollPhase.NoScrollPhase, False)  # fmt: skip
        QApplication.sendEvent(box, event)
        assert value == (box.currentIndex() if isinstance(box, QComboBox) else box.value())
    for widget in widgets:
        for part in widget.findChildren(QWidget):
            if part.focusPolicy() & Qt.FocusPolicy.TabFocus and part.isVisibleTo(widget):
                assert part.accessibleName(), (type(widget).__name__, type(part).__name__, part.toolTip())
            if isinstance(part, QAbstractItemView):
                assert not part.tabKeyNavigation()


def test_a_message_moves_nothing(open_widget: Any, qtbot: Any, own_settings: Path) -> None:
    viewer = None
    for name in WIDGETS:
        viewer, widget = open_widget(name) if viewer is None else open_widget(name, viewer)
        dock_of(widget).raise_()
        qtbot.wait(50)
        from qtpy.QtWidgets import QPushButton

        def places(widget: Any = widget) -> list[Any]:
            buttons = [button for button in widget.findChildren(QPushButton) if button.isVisible()]
            return [button.mapTo(widget, button.rect().topLeft()) for button in buttons]

        before: list[Any] = []
        while not before or before != places():  # the window is laid out
            before = places()
            qtbot.wait(300)
        widget.messages.show_text("What went wrong, in a sentence that needs several lines. " * 4, "error")
        qtbot.wait(50)
        assert places() == before, name


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Give a new --out folder.", "Give a new folder for the results."),
        ("Train with --set annotations=trust.", "Train with the setting annotations = trust."),
        ("Use --device cpu.", "Use the device cpu (in the preferences)."),
        ("Give --set tiling.tile=512 or more memory.", "Give the setting tiling.tile = 512 or more memory."),
        ("a--b and 3 -- 4 stay", "a--b and 3 -- 4 stay"),
    ],
)
def test_a_window_names_its_fields_in_place_of_options(qtbot: Any, told: str, shown: str) -> None:
    from beadseg.widgets.common import MessageArea

    messages = MessageArea()
    qtbot.addWidget(messages)
    messages.show_error(InputError(told))
    assert messages.text == shown
