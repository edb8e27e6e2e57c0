"""Python's collector of cycles, kept short while the viewer must answer."""

from __future__ import annotations

import gc

_asked: set[int] = set()
"""Who asked for it."""


def keep_collections_short(owner: int) -> None:
    """Let the collector look only at what is made from now on, until `owner` (its `id`) calls `collect_all_again`.

    A collection of all that a viewer holds stops it for a quarter of a second. What lives now and becomes a cycle that
    nobody uses is only collected afterwards.
    """
    if not _asked:
        gc.freeze()
    _asked.add(owner)


def collect_all_again(owner: int) -> None:
    """End what `owner` asked for, if it did."""
    if owner in _asked:
        _asked.remove(owner)
        if not _asked:
            gc.unfreeze()
