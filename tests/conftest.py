"""What every test stands on."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

# napari raises when a layer is written to from another thread than the viewer's.
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"
# Figures are files in tests, never windows.
os.environ["MPLBACKEND"] = "Agg"
# What is remembered of this machine is neither read nor written.
os.environ["BEADSEG_CACHE"] = tempfile.mkdtemp(prefix="beadseg-cache-")
atexit.register(shutil.rmtree, os.environ["BEADSEG_CACHE"], ignore_errors=True)

CAPABILITIES_VERSION = 0x20080522
WRITES_ANYWHERE = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: why a superuser may write in every folder."""


@pytest.fixture
def read_only() -> Callable[[Path], AbstractContextManager[None]]:
    """Make a folder, with all below it, one that this process may not write in; also when a superuser tests."""
    return _read_only


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    if sys.platform == "win32":
        pytest.skip("permissions of a folder mean something else on Windows")
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    modes = [path.stat().st_mode for path in folders]
    for path in folders:
        path.chmod(0o555)
    before = _give_up(WRITES_ANYWHERE) if os.geteuid() == 0 else None
    try:
        yield
    finally:
        if before is not None:
            _set_capabilities(before)
        for path, mode in zip(folders, modes, strict=True):
            path.chmod(mode)


def _give_up(mask: int) -> ctypes.Array[ctypes.c_uint32]:
    """Drop capabilities of this thread, which those that it starts inherit; return what it had."""
    had, now = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capget") or libc.capget(header, had) != 0:
        pytest.skip("a superuser who cannot give up rights may write everywhere")
    now[:] = had[:]
    now[0] &= ~mask
    _set_capabilities(now)
    return had


def _set_capabilities(values: ctypes.Array[ctypes.c_uint32]) -> None:
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    if ctypes.CDLL(None, use_errno=True).capset(header, values) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


@pytest.fixture
def kept_open() -> Callable[[Path], AbstractContextManager[None]]:
    """Keep a file from being replaced or written to, as Windows does while another program has it open."""
    return _kept_open


@contextmanager
def _kept_open(path: Path) -> Iterator[None]:
    if sys.platform == "win32":
        import msvcrt

        with path.open("rb") as file:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            yield
        return
    if os.geteuid() != 0:
        pytest.skip("only a superuser can make a file that another user owns")
    folder, mode = path.parent, path.parent.stat().st_mode
    for place in (path, folder):
        os.chown(place, 12345, 12345)
    folder.chmod(0o1777)  # sticky: only its owner may replace a file
    path.chmod(0o644)
    before = _give_up(WRITES_ANYWHERE | 1 << 3)  # CAP_FOWNER: why a superuser owns every file
    try:
        yield
    finally:
        _set_capabilities(before)
        for place in (path, folder):
            os.chown(place, 0, 0)
        folder.chmod(mode)
