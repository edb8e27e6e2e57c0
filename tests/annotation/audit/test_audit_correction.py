"""Corrected masks: computed, better than the original, written beside the audit, and accepted only when asked for."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from audit_helpers import Folder, scene
from scipy import ndimage

from beadseg import files
from beadseg.annotation.audit import Audit
from beadseg.annotation.audit.correction import apply, correction, known_codes, propose
from beadseg.annotation.review import Review
from beadseg.data.dataset import Dataset
from beadseg.errors import ConfigError
from beadseg.measure.scores import jaccard

FIRST, OTHER = "field0_grid_r0_c0", "field1_grid_r0_c0"


def scaled(mask: np.ndarray, factor: float) -> np.ndarray:
    centre = (np.array(mask.shape) - 1) / 2
    return ndimage.affine_transform(mask, np.eye(2) / factor, centre - centre / factor, order=0)


FAULTS = {
    "shift": lambda mask: ndimage.shift(mask, (4, -3), order=0),
    "scale": lambda mask: scaled(mask, 1.03),
    "orientation": lambda mask: np.ascontiguousarray(np.rot90(mask)),
    "inverted": lambda mask: 255 - mask,
    "soft": lambda mask: np.rint(ndimage.gaussian_filter(mask.astype(float), 0.8)).astype(np.uint8),
}


@pytest.mark.parametrize("code", list(FAULTS))
def test_correction_restores_the_mask(folder: Folder, code: str) -> None:
    true = folder.masks[FIRST] > 0
    folder.masks[FIRST] = FAULTS[code](folder.masks[FIRST])
    result, dataset = folder.audit(), Dataset.open(folder.root)
    made = correction(result, dataset, FIRST)
    assert made is not None
    assert code in made.codes
    assert made.after >= made.before
    # A bead of 7 px loses a fifth of its overlap to an error of half a pixel.
    assert jaccard(made.mask[8:-8, 8:-8], true[8:-8, 8:-8]) > 0.8


def test_swapped_masks_are_exchanged(folder: Folder) -> None:
    true = folder.masks[FIRST] > 0
    folder.masks[FIRST], folder.masks[OTHER] = folder.masks[OTHER], folder.masks[FIRST]
    made = correction(folder.audit(), Dataset.open(folder.root), FIRST)
    assert made is not None
    assert np.array_equal(made.mask, true)
    assert made.after > made.before + 0.3


def test_objects_of_a_shifted_part_move_as_wholes(folder: Folder) -> None:
    dense = scene(50, 220)
    true = dense.labels > 0
    mask = np.where(true, 255, 0).astype(np.uint8)
    mask[:96, :96] = np.roll(mask[:96, :96], 5, axis=1)
    folder.images[FIRST], folder.masks[FIRST] = dense.image, mask
    made = correction(folder.audit(), Dataset.open(folder.root), FIRST)
    assert made is not None
    assert made.codes == ("shift",)
    before, after = (jaccard(found[8:88, 8:88], true[8:88, 8:88]) for found in (mask > 0, made.mask))
    assert before < 0.35
    assert after > 0.7
    assert jaccard(made.mask[104:, 104:], true[104:, 104:]) == 1.0


def test_nothing_is_offered_for_a_clean_sample(folder: Folder) -> None:
    assert correction(folder.audit(), Dataset.open(folder.root), FIRST) is None


def test_labels_keep_their_ids(labelled: Folder) -> None:
    true = labelled.labels["t0"].copy()
    labelled.labels["t0"] = ndimage.shift(true, (0, 5), order=0)
    made = correction(labelled.audit(), Dataset.open(labelled.root), "t0")
    assert made is not None
    assert made.mask.dtype == np.uint32
    inner = (slice(12, -12), slice(12, -12))
    both = (made.mask[inner] > 0) & (true[inner] > 0)
    assert (made.mask[inner] == true[inner])[both].mean() > 0.95


def test_what_does_not_fit_better_is_not_offered(folder: Folder) -> None:
    folder.masks[FIRST] = ndimage.shift(folder.masks[FIRST], (4, 0), order=0)
    result, dataset = folder.audit(), Dataset.open(folder.root)
    lying = [s.replace(fit=s.fit.replace(dy=9.0, dx=9.0)) if s.fit else s for s in result.samples]
    assert correction(result.replace(samples=tuple(lying)), dataset, FIRST) is None


def faulty(folder: Folder, out: Path) -> tuple[Audit, Dataset]:
    folder.masks[FIRST] = FAULTS["shift"](folder.masks[FIRST])
    folder.masks[OTHER] = FAULTS["soft"](folder.masks[OTHER])
    result, dataset = folder.audit(out=out), Dataset.open(folder.root)
    return propose(result, dataset, out), dataset


def test_proposals_are_written_and_the_data_set_is_not_touched(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result, dataset = faulty(folder, out)
    assert {p.sample: p.codes for p in result.proposals} == {FIRST: ("shift",), OTHER: ("soft",)}
    assert Audit.read(out) == result
    mask = iio.imread(out / result.proposals[0].file)
    assert set(np.unique(mask)) == {0, 255}
    assert np.array_equal(iio.imread(folder.root / "masks" / f"{FIRST}.png"), folder.masks[FIRST])
    assert not Review.exists(dataset.root)


def test_apply_accepts_a_class_and_can_be_undone(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result, dataset = faulty(folder, out)
    assert apply(result, dataset, out, ("soft",), by="Ada") == (OTHER,)
    review = Review.open(dataset.root)
    assert {name: state.state for name, state in review.states().items() if state.state != "pending"} == {
        OTHER: "corrected"
    }
    assert review.state(OTHER).by == "Ada"
    review.undo(OTHER)
    assert review.state(OTHER).state == "pending"
    assert np.array_equal(iio.imread(folder.root / "masks" / f"{OTHER}.png"), folder.masks[OTHER])


def test_apply_respects_what_people_decided(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result, dataset = faulty(folder, out)
    Review.open(dataset).decide(FIRST, "rejected", by="Ada")
    assert apply(result, dataset, out, ("shift", "soft"), by="Bob") == (OTHER,)
    assert Review.open(dataset).state(FIRST).state == "rejected"


def test_labels_are_proposed_as_tiff(labelled: Folder, tmp_path: Path) -> None:
    labelled.labels["t0"] = ndimage.shift(labelled.labels["t0"], (0, 5), order=0)
    out = tmp_path / "out"
    result = propose(labelled.audit(out=out), Dataset.open(labelled.root), out)
    assert result.proposals[0].file == f"{files.PROPOSALS}/t0.tif"
    assert tifffile.imread(out / result.proposals[0].file).dtype == np.uint32
    assert apply(result, Dataset.open(labelled.root), out, ("shift",)) == ("t0",)


def test_codes_to_apply_are_checked() -> None:
    assert known_codes("soft, shift") == ("shift", "soft")
    with pytest.raises(ConfigError, match="'partial' cannot be corrected"):
        known_codes("shift,partial")
