"""Teach: add an image to a dataset, improve the model by what was accepted, decide; drafts in Review."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.annotation.suggest import improvements, suggested
from beadseg.config import GENERAL
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.model.checkpoint import general_file

pytestmark = [pytest.mark.gui, pytest.mark.timeout(900)]
pytest.importorskip("napari")

LONG = 240_000


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path) -> None:
    """Keep what the widget remembers out of the user's own settings."""
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three small images without annotation, as a dataset folder."""
    root = tmp_path / "beads"
    (root / files.IMAGES).mkdir(parents=True)
    for number in range(3):
        scene = simulate(SceneConfig(height=96, width=96, beads=15 + 5 * number, debris=0), number)
        iio.imwrite(root / files.IMAGES / f"{number}.png", scene.image)
    return root


def test_drafts_are_made_and_the_model_is_improved_in_review(open_widget: Any, qtbot: Any, images: Path) -> None:
    _, widget = open_widget("Review")
    widget.open(images)
    qtbot.waitUntil(lambda: widget.controller is not None, timeout=LONG)
    teach = widget.teach
    teach.seconds = 1
    teach.improve.click()
    assert "No image of this dataset is accepted yet" in widget.messages.text
    teach.draft.click()
    qtbot.waitUntil(lambda: not teach.drafting.running and "drafts" in widget.messages.text, timeout=LONG)
    qtbot.waitUntil(lambda: widget.controller is not None and widget.controller.sample is not None, timeout=LONG)
    ranks = suggested(images)
    assert sorted(ranks) == ["0", "1", "2"]
    assert [item.name for item in widget.controller.session.items] == sorted(ranks, key=lambda name: ranks[name])
    assert widget.controller.sample.labels.max() > 5
    review = Review.open(images)
    review.decide(["0", "1"], "accepted", by="ada")
    teach.improve.click()
    qtbot.waitUntil(lambda: not teach.background.running and bool(improvements(images)), timeout=LONG)
    (found,) = improvements(images)
    assert (found["trained"], found["held"]) == (1, 1)
    assert "new model" in widget.messages.text
    assert teach.use.isVisible() == (found["f1_after"] > found["f1_before"] + 0.002)
    assert teach.about.text().startswith("F1 on images left out")


def test_a_person_decides_which_model_is_used(qtbot: Any, tmp_path: Path) -> None:
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.improve import TeachPanel, free_run, present_model

    assert present_model() == general_file()
    messages = MessageArea()
    panel = TeachPanel(present_model, messages, add=lambda dataset: lambda on_event, stop: f"added to {dataset}")
    for widget in (messages, panel):
        qtbot.addWidget(widget)
    panel.show()
    run = tmp_path / "runs" / "improved-1"
    run.mkdir(parents=True)
    assert free_run(tmp_path / "beads").name == "improved-2"
    panel._show(("The new model is not better: F1 …", {"model": str(run), "better": False}))
    assert not panel.use.isVisible()
    panel._show(("The new model is better: F1 …", {"model": str(run), "better": True}))
    assert panel.use.isVisible()
    assert present_model() == general_file()
    with qtbot.waitSignal(panel.used) as taken:
        panel.use.click()
    assert taken.args == [str(run)]
    assert present_model() == run
    panel.add.click()
    assert "No dataset was given" in messages.text
    panel.field.choose(tmp_path / "beads")
    panel.add.click()
    qtbot.waitUntil(lambda: messages.text == f"added to {tmp_path / 'beads'}")


def test_a_counted_image_is_added_to_the_accepted_ones(
    open_widget: Any, qtbot: Any, images: Path, tmp_path: Path
) -> None:
    from beadseg.widgets.opening import COUNT

    viewer, widget = open_widget(COUNT)
    widget.run.choose(Path(GENERAL))
    widget.teach.add.click()
    widget.teach.field.choose(tmp_path / "own")
    widget.teach.add.click()
    assert "Nothing was counted yet" in widget.messages.text
    viewer.open(str(images / files.IMAGES / "2.png"), plugin="napari")
    with qtbot.waitSignal(widget.image.background.ended, timeout=LONG):
        widget.image.predict.click()
    live = widget.image.live
    qtbot.waitUntil(lambda: live.measured_now is not None and not live.busy, timeout=LONG)
    beads = len(live.measured_now.beads)
    assert beads > 5
    assert len(widget.numbers.values) == beads
    for times in (1, 2):
        widget.teach.add.click()
        qtbot.waitUntil(lambda: not widget.teach.adding.running and "1 image to train on" in widget.messages.text)
        (state,) = Review.open(tmp_path / "own").states().values()
        assert state.state == ("accepted" if times == 1 else "corrected")
        assert state.sample.read_target().objects == beads
        widget.messages.clear()
    widget.numbers.shown_property.setCurrentIndex(0)
    widget.numbers.colour.setChecked(True)
    assert len(np.unique(np.asarray(live.shown.centres.face_color), axis=0)) > 2
