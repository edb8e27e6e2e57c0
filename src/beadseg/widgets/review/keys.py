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
        self._replaced: list[tuple[dict[Any, Any], dict[Any, Any]]] = []

    def bind(self, providers: Iterable[Any]) -> None:
        """Bind the keys on the viewer and these layers; what was bound before and is still there stays."""
        for provider in providers:
            if any(provider is known for known in self._bound):
                continue
            before = dict(provider.keymap)
            for action in ACTIONS:
                provider.bind_key(action.key, self._handler(action.name), overwrite=True)
            self._bound.append(provider)
            ours = {key: bound for key, bound in provider.keymap.items() if before.get(key) is not bound}
            self._replaced.append((ours, before))

    def release(self) -> None:
        """Give the keys back to whom they belonged before; one that was bound again meanwhile stays so."""
        for provider, (ours, before) in zip(self._bound, self._replaced, strict=True):
            for key, bound in ours.items():
                if provider.keymap.get(key) is not bound:
                    continue
                if key in before:
                    provider.keymap[key] = before[key]
                else:
                    del provider.keymap[key]
        self._bound, self._replaced = [], []

    def _handler(self, name: str) -> Callable[[Any], None]:
        def handle(provider: Any) -> None:
            self._press(name)

        return handle
