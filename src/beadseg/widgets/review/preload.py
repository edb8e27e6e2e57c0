"""Pages read ahead in a thread, so that the next sample is there when it is asked for. No Qt."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beadseg.widgets.review.page import Page

KEPT = 6
"""Pages in memory: the one shown, those ahead, and some to go back to."""


class Preload:
    """Reads pages by name, each once as long as it is kept.

    Parameters
    ----------
    read : callable
        Reads a page; called in a thread of its own.
    """

    def __init__(self, read: Callable[[str], Page]) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beadseg preload")
        self._pages: OrderedDict[str, Future[Page]] = OrderedDict()

    def page(self, name: str) -> Page:
        """Return a page, waiting for it where it was not read ahead; raises what reading it raised."""
        future = self._future(name)
        try:
            return future.result()
        except Exception:
            self.forget([name])  # perhaps the file is there again when it is asked for the next time
            raise

    def ahead(self, names: Iterable[str]) -> None:
        """Begin to read these pages."""
        for name in names:
            self._future(name)

    def ready(self, name: str) -> bool:
        """Tell whether `page` would return at once."""
        return name in self._pages and self._pages[name].done()

    def forget(self, names: Iterable[str]) -> None:
        """Read these pages again when they are asked for: what they show has changed."""
        for name in names:
            self._pages.pop(name, None)

    def close(self) -> None:
        """End the thread; what it is reading is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pages.clear()

    def _future(self, name: str) -> Future[Page]:
        if name not in self._pages:
            self._pages[name] = self._pool.submit(self._read, name)
            while len(self._pages) > KEPT:
                self._pages.popitem(last=False)[1].cancel()
        self._pages.move_to_end(name)
        return self._pages[name]
