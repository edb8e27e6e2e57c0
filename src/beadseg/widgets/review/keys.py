"""Single keys for the review, on the viewer and on the layers, whose own keys would come first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beadseg.widgets.review.actions import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Keys:
    """Binds every action's key while a dataset is open.

    Parameters
    ----------
    press : callable
        Gets the name of the action.
    """

    def __init__(self, press: Callable[[str], None]) -> None:
        self._press = press
        self._bound: list[Any] = []

    def bind(self, providers: Iterable[Any]) -> None:
        """Bind the keys on the viewer and these layers; what was bound before and is still there stays."""
        for provider in providers:
            if any(provider is known for known in self._bound):
                continue
            for action in ACTIONS:
                provider.bind_key(action.key, self._handler(action.name), overwrite=True)
            self._bound.append(provider)

    def release(self) -> None:
        """Give the keys back."""
        for provider in self._bound:
            for action in ACTIONS:
                provider.bind_key(action.key, None)
        self._bound = []

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(provider: Any) -> None:
            self._press(name)

        return handle
