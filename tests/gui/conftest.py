"""A viewer with a widget of the plugin docked in it, and proof that nothing goes on after a test."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

pytest.importorskip("napari")
pytest.importorskip("qtpy")

PATIENCE_S = 10.0
"""Longest wait for threads and processes to end after a test."""
_THIRD_PARTY = ("TMonitor", "Dummy-", "asyncio_", "ThreadPoolExecutor-", "zarr_io")
"""Names of threads that other libraries keep on purpose: tqdm's monitor, Qt's pool, zarr's and dask's pools."""


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    """Fail a test that leaves threads or child processes behind."""
    threads, processes = set(_threads()), set(_processes())
    yield
    from qtpy.QtWidgets import QApplication

    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and (_threads() - threads or _processes() - processes):
        QApplication.processEvents()
        gc.collect(1)
        time.sleep(0.02)
    assert not (left := _threads() - threads), f"threads left: {left}"
    assert not (left := _processes() - processes), f"processes left: {left}"


def _threads() -> set[str]:
    found = {thread for thread in threading.enumerate() if thread.is_alive()}
    return {f"{thread.name} {thread.ident}" for thread in found if not thread.name.startswith(_THIRD_PARTY)}


def _processes() -> set[tuple[int, str]]:
    children = psutil.Process().children(recursive=True)
    return {(child.pid, " ".join(child.cmdline()[:4])) for child in children if _alive(child)}


def _alive(child: psutil.Process) -> bool:
    try:
        return bool(child.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def open_widget(make_napari_viewer: Any) -> Callable[..., tuple[Any, Any]]:
    """Open a widget of the plugin by its name in the menu; returns viewer and widget.

    ``open_widget("Review")`` makes a viewer of 1280x800 px, ``open_widget("Review", viewer)`` uses one.
    """

    def open_in(name: str, viewer: Any = None) -> tuple[Any, Any]:
        if viewer is None:
            viewer = make_napari_viewer(show=True, strict_qt=True)
            viewer.window.resize(1280, 800)
        _, widget = viewer.window.add_plugin_dock_widget("beadseg", name)
        return viewer, widget

    return open_in
