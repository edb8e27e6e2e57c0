"""A viewer with a widget of the plugin docked in it, and proof that nothing goes on after a test."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.training import train

pytest.importorskip("napari")
pytest.importorskip("qtpy")

TINY = ["epochs=1", "epoch.steps=40", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
        "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip
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
    found = set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add((child.pid, " ".join(child.cmdline()[:4])))
    return found


@pytest.fixture
def open_widget(make_napari_viewer: Any) -> Callable[..., tuple[Any, Any]]:
    """Open a widget of the plugin by its name in the menu; returns viewer and widget.

    ``open_widget("Review")`` makes a viewer of 1280x800 px, ``open_widget("Review", viewer)`` uses one.
    """

    from beadseg.widgets.opening import WIDGETS, _loaded

    def open_in(name: str, viewer: Any = None) -> tuple[Any, Any]:
        if viewer is None:
            viewer = make_napari_viewer(show=True, strict_qt=True)
            viewer.window.resize(1280, 800)
        module, kind = WIDGETS[name]
        _loaded[name] = getattr(import_module(module), kind)  # as it is from the second time on
        _, widget = viewer.window.add_plugin_dock_widget("beadseg", name)
        return viewer, widget

    return open_in


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run; not to be changed."""
    folder = tmp_path_factory.mktemp("gui")
    scene = SceneConfig(height=96, width=96, beads=20, debris=0)
    write_dataset(folder / "beads", SeriesConfig(scene=scene, tiles=6, dilutions=(80,), fields=2, seed=1))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = TrainConfig.preset("dense", "unet").with_overrides(TINY)
        return train(Dataset.open(folder / "beads"), config, folder / "run", device="cpu").folder
    finally:
        torch.set_num_threads(threads)
