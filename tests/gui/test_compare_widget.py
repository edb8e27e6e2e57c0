"""Compare, as a person uses it: choose two layers, press the button, read the scores, go from error to error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from beadseg.data.dataset import Target
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.measure.scores import score_image

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


def truth_and_found(beads: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return an image, its labels, and labels in which two beads are missing and one is where none is."""
    scene = simulate(SceneConfig(height=160, width=200, beads=beads, debris=0, cluster_probability=0), 5)
    found = scene.labels.copy()
    found[np.isin(found, np.unique(found)[[3, 7]])] = 0
    free = np.argwhere(scene.labels[20:140, 20:180] == 0)[0] + 20
    found[free[0] : free[0] + 3, free[1] : free[1] + 3] = found.max() + 1
    return scene.image, scene.labels, found


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.mark.parametrize("beads", [60, 500])
def test_hits_misses_and_false_alarms(open_widget: Any, qtbot: Any, beads: int) -> None:
    from beadseg.widgets.compare import FALSE_ALARM, HIT, MISS
    from beadseg.widgets.layers import camera_of

    viewer, widget = open_widget("Compare")
    assert not widget.run.isEnabled()
    assert "choose" in widget.legend.text()
    image, true, found = truth_and_found(beads)
    viewer.add_image(image, rgb=True)
    viewer.add_labels(true, name="truth")
    viewer.add_labels(found, name="found")
    assert widget.found.currentText() == "found"
    assert widget.true.currentText() == "truth"
    with qtbot.waitSignal(widget.background.ended):
        click(qtbot, widget.run)
    expected = score_image("", "", "", found > 0, found, Target(true > 0, true))
    assert widget.scores.value() == expected
    assert (expected.fn, expected.fp) == (2, 1)
    picture = viewer.layers["Comparison"].data
    assert set(np.unique(picture)) == {0, HIT, MISS, FALSE_ALARM}
    assert len(np.unique(true[picture == MISS])) == 2
    assert "2 misses" in widget.legend.text()
    click(qtbot, widget.next)
    assert "Error 1 of 3: miss" in widget.where.text()
    centre = np.array(camera_of(viewer).center[-2:])
    assert abs(np.argwhere(picture == MISS) - centre).sum(axis=1).min() <= 1
    click(qtbot, widget.before)
    assert "Error 3 of 3: false alarm" in widget.where.text()


def test_a_mask_is_compared_by_its_pieces(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    _, true, _ = truth_and_found()
    viewer.add_labels((true > 0).astype(np.uint8), name="mask")
    viewer.add_labels(true, name="found")
    with qtbot.waitSignal(widget.background.ended):
        click(qtbot, widget.run)
    score = widget.scores.value()
    assert not score.instances
    assert score.jaccard == 1.0


def test_planes_of_a_stack(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    _, true, found = truth_and_found()
    viewer.add_labels(np.stack([true, true]), name="truth")
    viewer.add_labels(np.stack([true, found]), name="found")
    for plane, misses in ((0, 0), (1, 2)):
        viewer.dims.set_point(0, plane)
        with qtbot.waitSignal(widget.background.ended):
            click(qtbot, widget.run)
        assert widget.scores.value().fn == misses
    assert len(viewer.layers) == 3


def test_layers_of_different_size_are_a_message(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    viewer.add_labels(np.ones((30, 40), np.uint8), name="small")
    viewer.add_labels(np.ones((50, 40), np.uint8), name="large")
    click(qtbot, widget.run)
    assert "large 40x50 px, small 40x30 px" in widget.messages.text
    assert widget.run.isEnabled()


def test_a_removed_layer_is_no_longer_offered(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    viewer.add_labels(np.ones((30, 40), np.uint8), name="one")
    viewer.add_labels(np.ones((30, 40), np.uint8), name="two")
    assert widget.run.isEnabled()
    viewer.layers.remove("one")
    assert widget.found.count() == 1
    assert not widget.run.isEnabled()


def test_one_layer_is_not_compared_with_itself(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    for name in ("one", "two"):
        viewer.add_labels(np.ones((30, 40), np.uint8), name=name)
    widget.true.setCurrentText("two")
    widget.found.setCurrentText("two")
    click(qtbot, widget.run)
    assert "Two different labels layers are needed" in widget.messages.text
    viewer.add_labels(np.ones((30, 40), np.uint8), name="three")
    assert widget.found.currentText() != widget.true.currentText()


def test_roles_planes_and_place(open_widget: Any, qtbot: Any) -> None:
    """The truth is told by its name wherever it lies, can be swapped, and hits stand over their own plane alone."""
    viewer, widget = open_widget("Compare")
    _, true, found = truth_and_found()
    place = {"scale": (1.0, 0.5, 0.5), "rotate": np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])}
    viewer.add_labels(np.stack([found, true]), name="result", **place)
    viewer.add_labels(np.stack([true, true]), name="truth", **place)
    assert (widget.found.currentText(), widget.true.currentText()) == ("result", "truth")
    with qtbot.waitSignal(widget.background.ended):
        click(qtbot, widget.run)
    assert (widget.scores.value().fn, widget.scores.value().fp) == (2, 1)
    shown = viewer.layers["Comparison"]
    assert np.allclose(shown.data_to_world((10, 20)), viewer.layers["truth"].data_to_world((0, 10, 20))[1:])
    with qtbot.waitSignal(widget.background.ended):
        click(qtbot, widget.swap)
    assert (widget.scores.value().fn, widget.scores.value().fp) == (1, 2)
    assert "Found in <b>truth</b>" in widget.legend.text()
    viewer.dims.set_point(0, 1)
    assert not shown.visible
    assert not widget.scores.isVisibleTo(widget)
    assert "Another plane" in widget.legend.text()
    with qtbot.waitSignal(widget.background.ended):
        click(qtbot, widget.run)
    assert shown.visible
    assert widget.scores.value().fn == widget.scores.value().fp == 0
    viewer.layers.remove("truth")
    assert not widget.scores.isVisibleTo(widget)


def test_all_planes_are_compared(open_widget: Any, qtbot: Any) -> None:
    viewer, widget = open_widget("Compare")
    _, true, found = truth_and_found()
    viewer.add_labels(np.stack([true, true, true]), name="truth")
    viewer.add_labels(np.stack([true, found, np.zeros_like(found)]), name="found", scale=(1, 0.5, 0.5))
    assert widget.all.isVisibleTo(widget)
    widget.all.click()
    viewer.dims.set_point(0, 0)
    with qtbot.waitSignal(widget.background.ended, timeout=60000):
        click(qtbot, widget.run)
    beads = len(np.unique(true)) - 1
    score = widget.scores.value()
    assert (score.true_count, score.tp, score.fp, score.fn) == (3 * beads, 2 * beads - 2, 1, beads + 2)
    assert score.f1 == pytest.approx(2 * score.tp / (2 * score.tp + score.fp + score.fn))
    picture = viewer.layers["Comparison"]
    assert picture.data.shape == (3, *true.shape)
    assert tuple(picture.scale) == (1, 0.5, 0.5)
    viewer.dims.set_point(0, 2)
    assert widget.scores.isVisible()
    click(qtbot, widget.next)
    assert "miss at plane 1, " in widget.where.text()
    assert viewer.dims.current_step[0] == 1
    with qtbot.waitSignal(widget.background.ended, timeout=60000):
        click(qtbot, widget.swap)
    assert widget.scores.value().fp == beads + 2
    widget.all.click()
    with qtbot.waitSignal(widget.background.ended, timeout=60000):
        click(qtbot, widget.run)
    assert viewer.layers["Comparison"].data.shape == true.shape


def test_planes_are_chosen_only_of_stacks(open_widget: Any) -> None:
    viewer, widget = open_widget("Compare")
    viewer.add_labels(np.zeros((8, 9), int), name="truth")
    viewer.add_labels(np.zeros((8, 9), int), name="found")
    assert not widget.all.isVisibleTo(widget)


def test_an_empty_widget_offers_beads_to_try_it_on(open_widget: Any, qtbot: Any) -> None:
    _, widget = open_widget("Compare")
    click(qtbot, widget.practise)
    assert not widget.practise.isVisibleTo(widget)
    assert widget.found.currentText() == "Dense beads: found"
    with qtbot.waitSignal(widget.background.ended, timeout=60000):
        click(qtbot, widget.run)
    assert 0.5 < widget.scores.value().f1 < 1
    assert widget.scores.value().fp > 5
