"""The rest is drawn again after layers were removed: in a process of its own, which may be ended by that."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(300)]
pytest.importorskip("napari")

OTHERS = ("Train", "Review", "Compare")
REMOVE_AND_DRAW = """
import sys
import napari
import numpy as np
from qtpy.QtTest import QTest
viewer = napari.Viewer()
viewer.window.add_plugin_dock_widget("beadseg", sys.argv[1])
rng = np.random.default_rng(0)
viewer.add_image(rng.random((600, 800)))
QTest.qWait(300)
for _ in range(4):
    labels = viewer.add_labels(np.kron(np.arange(48).reshape(6, 8), np.ones((100, 100), int)))
    labels.contour = 1
    QTest.qWait(150)
    image = viewer.add_image(rng.random((600, 800)), blending="additive")
    points = viewer.add_points(rng.random((800, 2)) * 600)
    QTest.qWait(150)
    for layer in (labels, image, points):
        viewer.layers.remove(layer)
    QTest.qWait(150)
    viewer.layers[0].data = rng.random((600, 800))
    QTest.qWait(150)
print("still here", flush=True)
viewer.close()
"""


@pytest.mark.parametrize("widget", ["Count", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_the_rest_is_drawn_after_layers_were_removed(widget: str, qapp: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REMOVE_AND_DRAW, widget], capture_output=True, text=True, timeout=240, check=False
    )
    assert "still here" in done.stdout, done.stderr[-2000:]
