"""Images of few and of many beads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import pytest

from beadseg.data.simulate import SceneConfig, simulate


@pytest.fixture(params=[12, pytest.param(260, marks=pytest.mark.slow)], ids=["few", "dense"])
def image_file(request: Any, tmp_path: Path) -> Path:
    """An image of few beads, and one of many that touch."""
    path = tmp_path / f"tile_{request.param}.png"
    iio.imwrite(path, simulate(SceneConfig(height=128, width=160, beads=request.param, debris=0), 7).image)
    return path


@pytest.fixture(autouse=True)
def unsaved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where corrections wait that were not saved: nothing of the person who runs the tests."""
    from beadseg.widgets.common.settings import unsaved_corrections

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return unsaved_corrections()
