from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
from review_helpers import disk

from beadseg.annotation.review import Review, new_id, who, write_table
from beadseg.annotation.review.steps import BY_VARIABLE
from beadseg.data.dataset import Dataset
from beadseg.errors import ImageError, InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_written_before_the_first_decision(root: Path) -> None:
    review = Review.open(root)
    assert review.counts() == {"pending": 3, "accepted": 0, "rejected": 0, "corrected": 0}
    assert not (root / "review").exists()
    assert not Review.exists(root)


def test_decisions_are_there_for_everybody_and_after_a_restart(root: Path) -> None:
    ours, theirs = Review.open(root), Review.open(root)
    ours.decide("a", "accepted", by="ada", why="sharp, =1+1\nand round")
    theirs.decide(["b", "c"], "rejected", by="ben")
    for review in (ours, theirs, Review.open(root)):
        assert {name: state.state for name, state in review.states().items()} == {
            "a": "accepted", "b": "rejected", "c": "rejected",
        }  # fmt: skip
    state = Review.open(root).state("a")
    assert (state.by, state.why, state.stale, state.notes) == ("ada", "sharp, =1+1\nand round", False, ())


def test_names_and_states_that_do_not_exist_are_refused_before_anything_is_written(root: Path) -> None:
    review = Review.open(root)
    with pytest.raises(InputError, match="no sample 'x'"):
        review.decide(["a", "x"], "accepted")
    with pytest.raises(InputError, match=r"Use correct\(\)"):
        review.decide("a", "corrected")
    with pytest.raises(InputError, match="not a decision"):
        review.decide("a", "perfect")  # type: ignore[arg-type]
    assert not (root / "review").exists()


def test_a_correction_is_a_new_file_and_the_original_stays(root: Path) -> None:
    before = (root / "masks" / "a.png").read_bytes()
    review = Review.open(root)
    first, second = disk((12, 15)), disk((30, 40))
    review.correct("a", first > 0, by="ada", why="one is dirt")
    review.correct("a", second > 0, by="ben")
    assert (root / "masks" / "a.png").read_bytes() == before
    assert len(list((root / "review" / "masks").iterdir())) == 2
    state = review.state("a")
    assert (state.state, state.by) == ("corrected", "ben")
    assert np.array_equal(state.sample.read_target().foreground, second > 0)
    review.undo("a")
    assert np.array_equal(review.state("a").sample.read_target().foreground, first > 0)


def test_corrections_of_one_group_are_undone_together(root: Path) -> None:
    review = Review.open(root)
    group = new_id()
    for name in ("a", "b"):
        review.correct(name, disk((12, 15)) > 0, by="audit", group=group)
    assert sorted(step.sample for step in review.undo(by="audit")) == ["a", "b"]
    assert review.counts()["corrected"] == 0


def test_labels_stay_labels(root: Path) -> None:
    labels = np.where(disk((12, 15)) > 0, 1, np.where(disk((30, 40)) > 0, 70000, 0)).astype(np.uint32)
    review = Review.open(root)
    review.correct("a", labels)
    sample = review.state("a").sample
    assert sample.has_labels
    read = sample.read_target().labels
    assert read is not None
    assert np.array_equal(read, labels)
    # One number painted on two beads is not clear by itself, but may be said to be meant.
    review.correct("b", np.where(labels > 0, 7, 0) + (disk((40, 10)) > 0) * 3, kind="labels")
    assert review.state("b").sample.read_target().objects == 2


def test_a_mask_of_another_size_is_refused(root: Path) -> None:
    review = Review.open(root)
    with pytest.raises(ImageError, match="same size"):
        review.correct("a", np.zeros((10, 10), bool))
    with pytest.raises(ImageError, match="same size"):
        review.ignore("a", np.zeros((10, 10), bool))
    assert review.counts()["pending"] == 3


def test_ignored_regions_add_up_and_leave_the_state(root: Path) -> None:
    (root / "ignore").mkdir()
    import imageio.v3 as iio

    iio.imwrite(root / "ignore" / "a.png", disk((40, 50)))
    review = Review.open(root)
    review.decide("a", "accepted")
    review.ignore("a", disk((12, 15)), why="out of focus")
    state = review.state("a")
    assert state.state == "accepted"
    ignored = state.sample.read_target().ignore
    assert ignored is not None
    assert np.array_equal(ignored, (disk((12, 15)) | disk((40, 50))) > 0)
    review.undo("a")
    assert review.state("a").sample.ignore_path == root / "ignore" / "a.png"
    review.redo("a")
    assert review.state("a").sample.ignore_path != root / "ignore" / "a.png"


def test_a_stack_is_corrected_plane_by_plane(tmp_path: Path) -> None:
    root = tmp_path / "stack"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    planes = np.stack([disk((12, 15)), disk((30, 40))])
    tifffile.imwrite(root / "images" / "s.tif", 200 - planes // 2, metadata={"axes": "TYX"}, photometric="minisblack")
    tifffile.imwrite(root / "masks" / "s.tif", planes, metadata={"axes": "TYX"}, photometric="minisblack")
    review = Review.open(root)
    review.correct("s", planes[::-1] > 0)
    review.ignore("s", planes > 0)
    targets = [target for _, _, target in review.state("s").sample.planes()]
    assert [np.array_equal(target.foreground, plane > 0) for target, plane in zip(targets, planes[::-1], strict=True)]
    assert all(target.ignore is not None for target in targets)


def test_a_decision_about_a_mask_that_changed_is_stale(root: Path) -> None:
    review = Review.open(root)
    review.decide("a", "accepted")
    (root / "masks" / "a.png").write_bytes((root / "masks" / "b.png").read_bytes() + b"\0")
    for seen in (review, Review.open(root)):
        assert seen.state("a").stale
        assert seen.state("a").notes == ("its mask changed since",)
    review.decide("a", "accepted")
    assert not review.state("a").stale


def test_a_lost_correction_is_named_and_cannot_be_accepted(root: Path) -> None:
    review = Review.open(root)
    review.correct("a", disk((12, 15)) > 0)
    next((root / "review" / "masks").iterdir()).unlink()
    assert "is missing from" in review.state("a").notes[0]
    with pytest.raises(InputError, match="is missing"):
        review.decide("a", "accepted")
    review.undo("a")
    assert review.state("a").notes == ()


def test_an_image_without_a_mask_can_be_given_one(root: Path) -> None:
    (root / "masks" / "a.png").unlink()
    review = Review.open(root)
    with pytest.raises(InputError, match="no mask"):
        review.decide("a", "accepted")
    review.decide("a", "rejected")
    review.correct("a", disk((12, 15)) > 0)
    assert review.state("a").sample.read_target().objects == 1


def test_undo_and_redo_without_a_name_follow_the_person(root: Path) -> None:
    review = Review.open(root)
    review.decide(["a", "b"], "accepted", by="ada")
    review.decide("c", "rejected", by="ben")
    review.decide("b", "rejected", by="ada")
    assert [step.sample for step in review.undo(by="ada")] == ["b"]
    assert sorted(step.sample for step in Review.open(root).undo(by="ada")) == ["a", "b"]
    assert {name: state.state for name, state in review.states().items()} == {
        "a": "pending", "b": "pending", "c": "rejected",
    }  # fmt: skip
    with pytest.raises(InputError, match="nothing to undo"):
        review.undo(by="ada")
    assert sorted(step.sample for step in Review.open(root).redo(by="ada")) == ["a", "b"]
    assert [step.sample for step in review.redo(by="ada")] == ["b"]
    with pytest.raises(InputError, match="nothing to redo"):
        review.redo(by="ada")
    assert review.state("b").state == "rejected"
    assert len(review.history("b")) == 6


def test_what_somebody_did_not_see_is_a_conflict_for_all_to_see(root: Path) -> None:
    ours, theirs = Review.open(root), Review.open(root)
    seen = ours.state("a")
    theirs.correct("a", disk((12, 15)) > 0, by="ben", why="second is dirt")
    ours.decide("a", "accepted", by="ada", seen=seen)
    state = Review.open(root).state("a")
    assert (state.state, state.sample.mask_path) == ("accepted", root / "masks" / "a.png")
    assert [(other.state, other.by) for other in state.conflicts] == [("corrected", "ben")]
    assert "in conflict: corrected by ben" in state.notes[0]
    ours.decide("a", "accepted", by="ada")
    assert ours.state("a").conflicts == ()


def test_a_copy_of_the_whole_folder_is_reviewed_the_same(root: Path, tmp_path: Path) -> None:
    import shutil

    review = Review.open(root)
    review.correct("a", disk((12, 15)) > 0)
    review.decide("b", "rejected")
    copied = Review.open(shutil.copytree(root, tmp_path / "elsewhere"))
    state = copied.state("a")
    assert (state.state, state.notes) == ("corrected", ())
    assert state.sample.mask_path is not None
    assert state.sample.mask_path.is_relative_to(tmp_path / "elsewhere")


def test_names_that_the_dataset_lost_are_told(root: Path) -> None:
    Review.open(root).decide("a", "accepted")
    for folder in ("images", "masks"):
        (root / folder / "a.png").rename(root / folder / "new.png")
    assert Review.open(root).unknown == ("a",)


def test_long_and_odd_names_are_no_trouble(make_dataset, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    names = ("=cmd() ü & <b>", "x" * 240)
    review = Review.open(make_dataset(names, "odd"))
    for name in names:
        review.correct(name, disk((12, 15)) > 0)
        assert review.state(name).sample.read_target().objects == 1


def test_the_table_is_one_row_per_sample_and_runs_nothing(make_dataset) -> None:  # type: ignore[no-untyped-def]
    import pandas as pd

    root = make_dataset(("=1+1", "b"), "formulas")
    review = Review.open(root)
    review.decide("b", "rejected", by="@ada", why='=HYPERLINK("http://x"), "no"\nend')
    table = pd.read_csv(write_table(review), dtype=str, keep_default_na=False)
    assert table["sample"].tolist() == ["'=1+1", "b"]
    assert table["state"].tolist() == ["pending", "rejected"]
    assert table["by"].tolist() == ["", "'@ada"]
    assert table["why"].tolist()[1].startswith("'=HYPERLINK")
    assert len((root / "review" / "review.csv").read_text("utf-8").splitlines()) == 3


def test_the_folder_of_a_review_is_no_trouble_for_the_dataset(root: Path) -> None:
    Review.open(root).correct("a", disk((12, 15)) > 0)
    write_table(Review.open(root))
    assert Dataset.open(root).problems == ()
    plain = root.parent / "plain"
    (root / "images").rename(plain)
    (root / "review").rename(plain / "review")
    assert Dataset.open(plain, require_masks=False).problems == ()
    assert Review.open(plain).state("a").state == "corrected"


def test_who_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BY_VARIABLE, "  Ada Ł. ")
    assert who() == "Ada Ł."
    monkeypatch.delenv(BY_VARIABLE)
    assert who()
