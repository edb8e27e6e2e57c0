"""Review: comments outlive a kill, an inverted mask is seen as one, drafts come by their rank."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from review_helpers_gui import CENTRES, RADIUS, Person, make_dataset

from beadseg.annotation.review import Review
from beadseg.annotation.review.autosave import save_comment, saved_comment

pytestmark = pytest.mark.gui
pytest.importorskip("napari")


def test_a_comment_outlives_a_kill(open_widget: Any, qtbot: Any, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads")
    viewer, widget = open_widget("Review")
    person = Person(qtbot, viewer, widget)
    person.open(root)
    name = widget.controller.current
    widget.work.comment.setFocus()
    qtbot.keyClicks(widget.work.comment, "rim of a drop, see Ada")
    qtbot.waitUntil(lambda: saved_comment(root, name, "ada") == "rim of a drop, see Ada")
    assert saved_comment(root, name, "bob") == ""
    widget.controller.show("d")
    person.settle()
    assert widget.work.comment.text() == ""
    widget.controller.show(name)
    person.settle()
    assert widget.work.comment.text() == "rim of a drop, see Ada"
    person.key("A")
    assert Review.open(root).state(name).why == "rim of a drop, see Ada"
    assert saved_comment(root, name, "ada") == ""
    assert widget.work.comment.text() == ""


@pytest.mark.parametrize("name", ["a_b", "ä" * 200, "x"])
def test_comments_are_kept_by_person_and_sample(tmp_path: Path, name: str) -> None:
    save_comment(tmp_path, name, "ada", "why not")
    save_comment(tmp_path, name, "bob", "because")
    save_comment(tmp_path, f"{name}2", "ada", "another")
    assert saved_comment(tmp_path, name, "ada") == "why not"
    assert saved_comment(tmp_path, name, "bob") == "because"
    save_comment(tmp_path, name, "ada", "  ")
    assert saved_comment(tmp_path, name, "ada") == ""
    assert saved_comment(tmp_path, f"{name}2", "ada") == "another"


def test_an_inverted_mask_is_seen_as_one(open_widget: Any, qtbot: Any, tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads")
    mask = iio.imread(root / "masks" / "b.png")
    iio.imwrite(root / "masks" / "b.png", np.asarray(255 - mask, np.uint8))
    viewer, widget = open_widget("Review")
    person = Person(qtbot, viewer, widget)
    person.open(root)
    controller = widget.controller
    controller.show("b")
    person.settle()
    assert controller.view.mask.contour == 0
    assert "the mask may be inverted" in widget.messages.text
    controller.view._layers.remove("review: mask")  # made again, as for a sample of other axes
    controller.view._layers.show_labels("review: mask", controller.sample.labels)
    assert controller.view.mask.contour == 0
    controller.show("a")
    person.settle()
    assert controller.view.mask.contour == 1
    assert not widget.messages.text


@pytest.fixture
def marked(tmp_path: Path) -> Path:
    """A dataset whose images are annotated by centres alone."""
    root = make_dataset(tmp_path / "beads", ("a", "b"))
    shutil.rmtree(root / "masks")
    (root / "points").mkdir()
    for name, centres in (("a", CENTRES), ("b", CENTRES[:2])):
        rows = "".join(f"{y},{x}\n" for y, x in centres)
        (root / "points" / f"{name}.csv").write_text(f"y,x\n{rows}")
    return root


def test_centres_are_shown_as_beads_and_corrected(open_widget: Any, qtbot: Any, marked: Path) -> None:
    viewer, widget = open_widget("Review")
    person = Person(qtbot, viewer, widget)
    person.open(marked)
    widget.controller.show("a")
    person.settle()
    labels = np.asarray(widget.controller.view.mask.data)
    assert [int(labels[place]) for place in CENTRES] == [1, 2, 3, 4, 5]
    areas = np.bincount(labels.ravel())[1:]
    assert (np.abs(areas / (np.pi * RADIUS**2) - 1) < 0.4).all()
    assert "annotated by centres" in widget.work.about.text()
    person.key("D")
    person.click(*CENTRES[0])
    person.key("C")
    state = Review.open(marked).state("a")
    assert state.state == "corrected"
    assert len(np.unique(state.sample.read_mask().labels)) == 5


def test_centres_of_a_dataset_are_opened(marked: Path) -> None:
    from beadseg.widgets.io.folder_layers import read_dataset

    image, _, (places, shown, kind) = read_dataset(marked)
    assert (image[0].shape, kind, shown["ndim"]) == ((2, 96, 96), "points", 3)
    assert places.tolist() == [[0, y, x] for y, x in CENTRES] + [[1, y, x] for y, x in CENTRES[:2]]
