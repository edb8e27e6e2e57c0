from __future__ import annotations

import json

import pytest

from beadseg.errors import Cancelled, ExitCode, InputError
from beadseg.events import Event, StopFlag, log, progress, track


def test_events_are_json() -> None:
    event = log("Reading.", "warning", path="a.png")
    assert json.loads(json.dumps(event.as_dict())) == {
        "kind": "log", "message": "Reading.", "level": "warning", "data": {"path": "a.png"},
    }  # fmt: skip
    assert progress("read", 1, 2).data == {"task": "read", "done": 1, "total": 2}


def test_track_reports_before_each_and_after_the_last() -> None:
    heard: list[Event] = []
    assert list(track("ab", "read", 2, heard.append)) == ["a", "b"]
    assert [event.data["done"] for event in heard] == [0, 1, 2]


def test_track_stops_between_items() -> None:
    stop = StopFlag()
    items = track("abc", "read", 3, lambda event: None, stop)
    assert next(items) == "a"
    stop.set()
    with pytest.raises(Cancelled, match="on request") as caught:
        next(items)
    assert caught.value.exit_code == ExitCode.CANCELLED


def test_error_says_what_where_remedy() -> None:
    assert str(InputError("Is empty.", "a.png", "Take another.")) == "a.png: Is empty. Take another."
    assert str(InputError("Is empty.")) == "Is empty."
