"""Python's collector of cycles, called less often while the viewer must answer."""

from __future__ import annotations

import gc

RARER = 50
"""Factor by which full collections are made rarer."""

_asked: set[int] = set()
"""Who asked for it."""
_before: list[tuple[int, int, int]] = []
"""The thresholds that are given back."""


def keep_collections_short(owner: int) -> None:
    """Let full collections come seldom until `owner` (its `id`) calls `collect_all_again`.

    A collection of all that a viewer holds stops it for a quarter of a second. Nothing is taken from the collector: the
    viewer and other plugins go on as they are, and what they leave is collected, later.
    """
    if not _asked:
        _before.append(gc.get_threshold())
        first, second, third = _before[0]
        gc.set_threshold(first, second, RARER * max(1, third))
    _asked.add(owner)


def collect_all_again(owner: int) -> None:
    """End what `owner` asked for, if it did."""
    if owner in _asked:
        _asked.remove(owner)
        if not _asked:
            gc.set_threshold(*_before.pop())
