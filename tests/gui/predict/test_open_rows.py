"""Counting: an opened image fills the view, a stack tells its files, thousands of rings never hide an image."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


def test_a_hidden_layer_makes_no_stamp_of_an_opened_image(open_widget: Any, qtbot: Any) -> None:
    from beadseg.widgets.layers import camera_of
    from beadseg.widgets.opening import COUNT

    viewer, _ = open_widget(COUNT)
    viewer.add_image(np.zeros((4000, 4000), np.uint8), visible=False)
    camera_of(viewer).center = (0, 2000, 2000)
    camera_of(viewer).zoom = 0.1
    viewer.add_image(np.zeros((64, 96), np.uint8))
    camera = camera_of(viewer)
    assert camera.zoom > 1
    assert np.allclose(camera.center[-2:], (31.5, 47.5), atol=1)


def test_a_stack_tells_the_file_of_the_plane() -> None:
    from beadseg.widgets.predict.controller import title_of

    session: Any = SimpleNamespace(planes=["t000", "t001"])
    stack: Any = SimpleNamespace(name="2 samples", metadata={"beadseg": {"samples": ["first_tile", "second_tile"]}})
    assert title_of(session, stack, 1) == "2 samples: second_tile (2 of 2)"
    plain: Any = SimpleNamespace(name="series", metadata={})
    assert title_of(session, plain, 0) == "series: t000 (1 of 2)"


def test_thousands_of_beads_have_no_rings_but_the_chosen_one(make_napari_viewer: Any) -> None:
    from beadseg.widgets.io.folder_layers import SIZE
    from beadseg.widgets.predict.result_layers import MOST_RINGS, ShownLayers

    viewer = make_napari_viewer()
    shown = ShownLayers(viewer)
    shown.centres = viewer.add_points(np.random.default_rng(0).uniform(0, 900, (MOST_RINGS + 1, 2)), size=SIZE)
    shown._ring(None)
    assert not np.asarray(shown.centres.shown).any()
    shown.mark(7)
    assert np.flatnonzero(np.asarray(shown.centres.shown)).tolist() == [7]
    assert np.asarray(shown.centres.size)[7] > 2 * SIZE
    shown.deleteLater()
