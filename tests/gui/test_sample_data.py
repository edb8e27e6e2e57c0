"""The plugin in a real napari window: its sample data opens, and something is to be seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


@pytest.mark.parametrize(("key", "fewest", "most"), [("sparse", 20, 200), ("dense", 400, 2000)])
def test_sample_data_opens(make_napari_viewer: Any, key: str, fewest: int, most: int) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("beadseg", key)
    image, labels = viewer.layers
    assert image.rgb
    assert image.data.shape == (512, 512, 3)
    assert labels.data.shape == (512, 512)
    assert fewest <= len(np.unique(labels.data)) - 1 <= most
    shot = viewer.screenshot(canvas_only=False, flash=False)
    assert min(shot.shape[:2]) > 100
    canvas = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(canvas.reshape(-1, canvas.shape[-1]), axis=0)) > 50
