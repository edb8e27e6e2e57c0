"""Connections to napari's events that end with the widget that made them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtCore import QObject


def connect_while_alive(owner: QObject, event: Any, slot: Callable[..., Any]) -> None:
    """Connect a slot of `owner` to an event of napari until `owner` is destroyed."""
    event.connect(slot)

    def forget() -> None:
        with suppress(ValueError, RuntimeError):
            event.disconnect(slot)

    owner.destroyed.connect(forget)
