"""A model trained further on a few accepted samples: what is left out, what is forgotten, what a person is told."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.annotation.suggest import curve, curve_text, improvements, least_certain_first, suggested
from beadseg.data.dataset import Dataset
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.errors import InputError
from beadseg.predict.segmenter import Segmenter
from beadseg.training.improve import Improvement, improve, left_out


def make_dataset(root: Path, count: int) -> Path:
    """Write small images of one look with their true labels."""
    config = LookConfig(side=128, empty=0, cells=0, families={"opaque": 1}, arrangements={"free": 1})
    for folder in (files.IMAGES, files.LABELS):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        look = draw_look(config, 50 + number)
        kind = "rgb" if look.image.ndim == 3 else "minisblack"
        tifffile.imwrite(root / files.IMAGES / f"{number}.tif", look.image, photometric=kind)
        tifffile.imwrite(root / files.LABELS / f"{number}.tif", look.labels.astype(np.uint32))
    return root


@pytest.fixture(scope="module")
def improved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Improvement, list[Any]]:
    """A dataset of which five images are accepted, the run, and what came of it; not to be changed."""
    folder = tmp_path_factory.mktemp("improve")
    root = make_dataset(folder / "beads", 6)
    review = Review.open(root)
    for name in "01234":
        review.decide(name, "accepted", by="ada")
    events: list[Any] = []
    found = improve(root, folder / "run", seconds=1, device="cpu", on_event=events.append)
    return root, folder / "run", found, events


def test_a_model_is_trained_further_and_scored_on_what_was_left_out(improved: Any) -> None:
    root, run, found, _ = improved
    assert (found.trained, found.held) == (4, 1)
    held = Dataset.open(root)["1"]
    assert found.beads == held.read_target().objects
    assert found.f1_before is not None
    assert found.f1_after is not None
    present, new = Segmenter.load("general", device="cpu"), Segmenter.load(run, device="cpu")
    assert new.options == present.options
    assert new.model_sha256 != present.model_sha256
    assert new.predict(held.read_image().data).count > 0


def test_nothing_is_forgotten(improved: Any) -> None:
    _, _, found, _ = improved
    assert found.looks_after >= found.looks_before - 0.005
    assert 0 <= found.way <= 1


def test_what_came_of_it_is_kept_beside_the_review(improved: Any) -> None:
    root, run, found, _ = improved
    (kept,) = improvements(root)
    assert kept["model"] == str(run)
    assert kept["f1_after"] == found.f1_after
    assert curve([kept]) == [(0, found.f1_before), (5, found.f1_after)]


def test_one_in_four_is_left_out_and_stays_so(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads", 7)
    review = Review.open(root)
    held: list[tuple[str, ...]] = []
    for name in "3105264":
        review.decide(name, "accepted", by="ada")
        accepted = Dataset.open(root).subset(n for n, s in review.states().items() if s.state == "accepted")
        held.append(left_out(review, accepted).val)
    assert held == [(), ("1",), ("1",), ("1",), ("1",), ("1", "6"), ("1", "6")]
    for before, after in itertools.pairwise(held):
        assert set(before) <= set(after)


def test_without_accepted_images_nothing_is_trained(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads", 2)
    with pytest.raises(InputError, match="No sample is left"):
        improve(root, tmp_path / "run", seconds=1)
    assert not (tmp_path / "run").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="The folder is not empty"):
        improve(root, tmp_path / "full", seconds=1)


def result(**values: Any) -> Improvement:
    known: dict[str, Any] = {
        "model": "m", "before": "general", "trained": 3, "held": 1, "beads": 60, "f1_before": 0.9, "f1_after": 0.95,
        "looks_before": 0.9, "looks_after": 0.9, "way": 1.0, "seconds": 20.0, "when": "2026",
    }  # fmt: skip
    return Improvement(**{**known, **values})


def test_a_person_is_told_whether_it_is_better() -> None:
    assert result().better is True
    assert (
        result().text().startswith("The new model is better: F1 0.900 before, 0.950 now, on 1 accepted image left out")
    )
    assert result(f1_after=0.901).better is False
    assert "is not better" in result(f1_after=0.901).text()
    alone = result(trained=1, held=0, f1_before=None, f1_after=None)
    assert alone.better is None
    assert "accept a second image" in alone.text()
    assert "So few beads say little" in result(beads=12).text()


@pytest.mark.parametrize(
    ("f1", "ending"),
    [
        ([0.90, 0.95], "raised it by 0.050: further annotation pays."),
        ([0.94, 0.943], "raised it by 0.003: further annotation no longer pays."),
        ([0.95, 0.94], "raised it by 0.000: further annotation no longer pays."),
    ],
)
def test_the_curve_says_whether_more_images_pay(f1: list[float], ending: str) -> None:
    rows = [{"trained": 2, "held": 1, "f1_before": 0.8, "f1_after": f1[0]},
            {"trained": 6, "held": 2, "f1_before": f1[0], "f1_after": f1[1]}]  # fmt: skip
    assert curve_text([]) == ""
    assert curve_text(rows[:1]) == f"F1 on images left out: 0.800 at first, {f1[0]:.3f} (3 images)."
    assert curve_text(rows).endswith(f"The last 5 images {ending}")


def test_a_damaged_record_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / files.REVIEW).mkdir()
    for content in ("", "[]", '{"improvements": 3}', "{"):
        (tmp_path / files.REVIEW / files.IMPROVEMENTS).write_text(content)
        assert improvements(tmp_path) == []
    (tmp_path / files.REVIEW / files.IMPROVEMENTS).write_text(json.dumps({"improvements": [{"trained": 1}, 7]}))
    assert improvements(tmp_path) == [{"trained": 1}]


def test_drafts_come_least_certain_first(tmp_path: Path) -> None:
    root = make_dataset(tmp_path / "beads", 3)
    (root / files.LABELS / "0.tif").rename(tmp_path / "0.tif")
    (root / files.LABELS / "2.tif").rename(tmp_path / "2.tif")
    paths = sorted((root / files.IMAGES).iterdir())
    order = least_certain_first(Segmenter.load("general", device="cpu"), paths, root)
    assert sorted(order) == paths
    assert order[-1].stem == "1"
    assert sorted(suggested(root)) == ["0", "2"]
    assert suggested(tmp_path) == {}
