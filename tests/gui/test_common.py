"""What all widgets stand on, as a widget uses it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from beadseg.errors import Cancelled, InputError
from beadseg.events import OnEvent, StopFlag, log, progress

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
            raise InputError("Is no dataset.", "beads", "Choose another folder.")

        @guarded
        def divide(self) -> None:
            raise ZeroDivisionError("division by zero")

    widget = Widget()
    qtbot.addWidget(widget)
    widget.show()
    assert not widget.messages.isVisible()
    widget.wrong.click()
    assert widget.messages.isVisible()
    assert widget.messages.text == "beads: Is no dataset. Choose another folder."
    assert not caplog.records
    widget.bug.click()
    assert "ZeroDivisionError" in widget.messages.text
    assert caplog.records[-1].exc_info
    widget.messages.clear()
    assert not widget.messages.isVisible()
