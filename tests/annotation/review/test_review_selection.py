"""Training sees accepted masks and corrections, and never a draft that nobody looked at."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from review_helpers import disk

from beadseg.annotation.review import Review, reviewed
from beadseg.data.dataset import Dataset
from beadseg.errors import InputError
from beadseg.events import Event


@pytest.fixture
def decided(make_dataset) -> Path:  # type: ignore[no-untyped-def]
    """Samples accepted, rejected, corrected, pending, and a draft."""
    root: Path = make_dataset(("accepted", "corrected", "draft", "pending", "rejected"), "decided")
    review = Review.open(root)
    mask = root / "masks" / "draft.png"
    review.draft("draft", mask, hashlib.sha256(mask.read_bytes()).hexdigest(), by="detector")
    review.decide("accepted", "accepted")
    review.decide("rejected", "rejected")
    review.correct("corrected", disk((12, 15)) > 0)
    review.ignore("corrected", disk((30, 40)))
    return root


@pytest.mark.parametrize(
    ("which", "names"),
    [
        ("accepted", ("accepted", "corrected")),
        ("not-rejected", ("accepted", "corrected", "pending")),
        ("all", ("accepted", "corrected", "pending", "rejected")),
    ],
)
def test_each_choice_takes_what_it_says(decided: Path, which: str, names: tuple[str, ...]) -> None:
    events: list[Event] = []
    data = reviewed(Dataset.open(decided), which, events.append)
    assert data.names == names
    text = "\n".join(event.message for event in events)
    assert f"{len(names)} of 5 samples used" in text
    assert "drafts that nobody accepted: 1 (draft)" in text
    assert ("rejected: 1 (rejected)" in text) == (which != "all")


def test_the_corrected_files_are_used_and_hashed(decided: Path) -> None:
    sample = reviewed(Dataset.open(decided))["corrected"]
    target = sample.read_target()
    assert np.array_equal(target.foreground, disk((12, 15)) > 0)
    assert target.ignore is not None
    assert sample.mask_path is not None
    assert sample.sha256()["mask"] == hashlib.sha256(sample.mask_path.read_bytes()).hexdigest()
    assert set(sample.sha256()) == {"image", "mask", "ignore"}


def test_a_draft_counts_once_a_person_accepted_or_corrected_it(decided: Path) -> None:
    review = Review.open(decided)
    review.decide("draft", "accepted")
    assert "draft" in reviewed(Dataset.open(decided), "accepted").names
    review.undo("draft")
    assert "draft" not in reviewed(Dataset.open(decided), "all").names
    review.correct("draft", disk((12, 15)) > 0)
    assert "draft" in reviewed(Dataset.open(decided), "accepted").names


def test_what_changed_since_it_was_accepted_is_not_accepted(decided: Path) -> None:
    path = decided / "masks" / "accepted.png"
    path.write_bytes((decided / "masks" / "pending.png").read_bytes() + b"\0")
    events: list[Event] = []
    assert "accepted" not in reviewed(Dataset.open(decided), "accepted").names
    assert "accepted" in reviewed(Dataset.open(decided), "not-rejected", events.append).names
    assert "accepted: its mask changed since." in [event.message for event in events if event.level == "warning"]


def test_a_lost_correction_never_falls_back_to_the_original(decided: Path) -> None:
    next((decided / "review" / "masks").iterdir()).unlink()
    assert "corrected" not in reviewed(Dataset.open(decided), "all").names


def test_a_mask_given_in_review_makes_a_sample_of_an_image_without_one(decided: Path) -> None:
    (decided / "masks" / "pending.png").unlink()
    whole = Dataset.open(decided, require_masks=False)
    assert "pending" not in reviewed(whole).names
    Review.open(decided).correct("pending", disk((12, 15)) > 0)
    assert "pending" in reviewed(whole).names


def test_a_dataset_without_a_review_stays_as_it_is(root: Path) -> None:
    data = Dataset.open(root)
    assert reviewed(data) is data
    assert reviewed(data, "all") is data
    with pytest.raises(InputError, match=r"No sample is left \(3 pending\)"):
        reviewed(data, "accepted")
    assert not (root / "review").exists()


def test_nothing_left_is_said_with_its_reasons(root: Path) -> None:
    Review.open(root).decide(["a", "b", "c"], "rejected")
    with pytest.raises(InputError, match=r"No sample is left \(3 rejected\)"):
        reviewed(Dataset.open(root))
    with pytest.raises(InputError, match="not a choice of samples"):
        reviewed(Dataset.open(root), "good ones")
