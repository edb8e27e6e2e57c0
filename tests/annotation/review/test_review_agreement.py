from __future__ import annotations

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from review_helpers import disk

from beadseg.annotation.review.agreement import COLUMNS, agreement, other_annotations
from beadseg.data.dataset import Dataset
from beadseg.errors import InputError


@pytest.fixture
def two(make_dataset, tmp_path: Path) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """A dataset of two fields, and somebody else's masks: equal for one, a bead less for the other."""
    root = make_dataset(("f1_grid_r0_c0", "f2_grid_r0_c0", "f2_grid_r0_c1"), "two")
    theirs = tmp_path / "theirs"
    shutil.copytree(root / "masks", theirs)
    iio.imwrite(theirs / "f2_grid_r0_c0.png", disk((12, 15)))
    (theirs / "f2_grid_r0_c1.png").unlink()
    return root, theirs


def test_two_peoples_masks_are_compared_by_pixels_beads_and_counts(two: tuple[Path, Path]) -> None:
    root, theirs = two
    one = Dataset.open(root)
    found = agreement(one, other_annotations(one, theirs))
    assert [group.group for group in found.groups] == ["all", "f1", "f2"]
    everything, same, less = found.groups
    assert (same.jaccard_images, same.f1) == (1.0, 1.0)
    assert (less.jaccard_images, less.f1) == (pytest.approx(0.5), pytest.approx(2 / 3))
    assert (everything.true_count, everything.predicted_count) == (4, 3)
    assert found.only_one == ("f2_grid_r0_c1",)
    assert tuple(found.table().columns) == tuple(COLUMNS.values())


def test_it_is_the_same_the_other_way_round(two: tuple[Path, Path]) -> None:
    root, theirs = two
    one = Dataset.open(root)
    other = other_annotations(one, theirs)
    there, back = agreement(one, other).groups[0], agreement(other, one).groups[0]
    assert (there.jaccard_images, there.f1, there.mae) == (back.jaccard_images, back.f1, back.mae)


def test_ignored_regions_of_either_side_are_left_out(two: tuple[Path, Path]) -> None:
    root, theirs = two
    (root / "ignore").mkdir()
    iio.imwrite(root / "ignore" / "f2_grid_r0_c0.png", disk((30, 40)))
    one = Dataset.open(root)
    assert agreement(one, other_annotations(one, theirs)).groups[0].f1 == 1.0


def test_what_cannot_be_compared_is_named_and_the_rest_is(two: tuple[Path, Path]) -> None:
    root, theirs = two
    iio.imwrite(theirs / "f2_grid_r0_c0.png", np.zeros((10, 10), np.uint8))
    one = Dataset.open(root)
    found = agreement(one, other_annotations(one, theirs))
    assert list(found.failures) == ["f2_grid_r0_c0"]
    assert found.groups[0].images == 1


def test_nothing_in_common_is_an_error(two: tuple[Path, Path], tmp_path: Path) -> None:
    one = Dataset.open(two[0])
    with pytest.raises(InputError, match="No such folder"):
        other_annotations(one, tmp_path / "nowhere")
    with pytest.raises(InputError, match="annotated by both"):
        agreement(one.subset(one.names[:1]), one.subset(one.names[1:]))
