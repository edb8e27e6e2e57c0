"""Every code of the audit: found where it is, and not where it is not."""

from __future__ import annotations

import imageio.v3 as iio
import numpy as np
import pytest
from audit_helpers import SIDE, Folder, scene
from scipy import ndimage

from beadseg.annotation.audit import Audit
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.data.split import Split

FIRST, SECOND, THIRD = "field0_grid_r0_c0", "field0_grid_r0_c1", "field1_grid_r0_c0"


def codes(result: Audit) -> dict[str, set[str]]:
    """Return the codes of every sample that has errors or warnings."""
    return {sample.sample: set(sample.codes) for sample in result.samples if sample.codes}


def only(result: Audit, sample: str, code: str) -> None:
    """Assert that this is the only sample with findings, and that it has this one."""
    found = codes(result)
    assert set(found) == {sample}, found
    assert code in found[sample]


def test_clean_samples_have_no_finding(folder: Folder) -> None:
    assert codes(folder.audit()) == {}


@pytest.mark.parametrize(("dy", "dx"), [(2, 0), (-5, 6)])
def test_shift(folder: Folder, dy: int, dx: int) -> None:
    folder.masks[FIRST] = ndimage.shift(folder.masks[FIRST], (dy, dx), order=0)
    result = folder.audit()
    only(result, FIRST, "shift")
    values = result.of(FIRST)[0].values
    assert values["dy"] == pytest.approx(dy, abs=0.5)
    assert values["dx"] == pytest.approx(dx, abs=0.5)


def test_local_shift(folder: Folder) -> None:
    dense = scene(50, 220)
    mask = np.where(dense.labels > 0, 255, 0).astype(np.uint8)
    mask[:96, :96] = np.roll(mask[:96, :96], 5, axis=1)
    folder.images[FIRST], folder.masks[FIRST] = dense.image, mask
    result = folder.audit()
    only(result, FIRST, "shift")
    finding = next(f for f in result.of(FIRST) if f.values.get("local"))
    assert finding.values["dx"] == pytest.approx(5, abs=0.7)
    assert finding.box is not None
    assert finding.box[0] < 96
    assert finding.box[1] < 96


@pytest.mark.parametrize("percent", [-3.0, 4.0])
def test_scale(folder: Folder, percent: float) -> None:
    folder.masks[FIRST] = affine(folder.masks[FIRST], np.eye(2) * (1 + percent / 100))
    result = folder.audit()
    only(result, FIRST, "scale")
    assert result.of(FIRST)[0].value == pytest.approx(percent, abs=0.5)


def test_affine(folder: Folder) -> None:
    angle = np.radians(2.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    folder.masks[FIRST] = affine(folder.masks[FIRST], turn)
    result = folder.audit()
    only(result, FIRST, "affine")
    assert abs(result.of(FIRST)[0].value) == pytest.approx(2.0, abs=0.3)


def affine(mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    inverse, centre = np.linalg.inv(matrix), (np.array(mask.shape) - 1) / 2
    return ndimage.affine_transform(mask, inverse, centre - inverse @ centre, order=0)


@pytest.mark.parametrize("number", [1, 2, 4, 5])
def test_orientation(folder: Folder, number: int) -> None:
    mask = folder.masks[FIRST]
    folder.masks[FIRST] = np.ascontiguousarray(np.rot90(np.fliplr(mask) if number >= 4 else mask, number % 4))
    only(folder.audit(), FIRST, "orientation")


def test_swapped_masks_name_each_other(folder: Folder) -> None:
    folder.masks[FIRST], folder.masks[THIRD] = folder.masks[THIRD], folder.masks[FIRST]
    result = folder.audit()
    assert codes(result) == {FIRST: {"mismatch"}, THIRD: {"mismatch"}}
    assert [f.partner for f in result.findings] == [THIRD, FIRST]


def test_mask_of_an_unknown_image(folder: Folder) -> None:
    folder.masks[FIRST] = np.where(scene(90).labels > 0, 255, 0).astype(np.uint8)
    result = folder.audit()
    assert codes(result) == {FIRST: {"mismatch"}}
    assert result.of(FIRST)[0].partner is None


def test_dilated(folder: Folder) -> None:
    folder.masks[FIRST] = 255 * ndimage.binary_dilation(folder.masks[FIRST]).astype(np.uint8)
    only(folder.audit(), FIRST, "dilated")


def test_eroded(folder: Folder) -> None:
    folder.masks[FIRST] = 255 * ndimage.binary_erosion(folder.masks[FIRST]).astype(np.uint8)
    only(folder.audit(), FIRST, "eroded")


def test_partial(folder: Folder) -> None:
    folder.masks[FIRST] = np.where(scene(0).labels > 15, 255, 0).astype(np.uint8)
    result = folder.audit()
    only(result, FIRST, "partial")
    assert result.of(FIRST)[0].value == pytest.approx(25, abs=8)
    assert result.of(FIRST)[0].box is not None


def test_extra(folder: Folder) -> None:
    other = scene(91, 20).labels > 0
    free = ndimage.binary_dilation(folder.masks[FIRST], iterations=6)
    folder.masks[FIRST] = np.where(other & ~free, 255, folder.masks[FIRST]).astype(np.uint8)
    only(folder.audit(), FIRST, "extra")


def test_ignored_regions_are_not_judged(folder: Folder) -> None:
    folder.masks[FIRST][:, :96] = 0
    dataset = folder.write()
    assert codes(folder.audit())[FIRST] == {"partial"}
    (dataset.root / "ignore").mkdir()
    ignore = np.zeros((SIDE, SIDE), np.uint8)
    ignore[:, :100] = 255
    folder.root = dataset.root
    iio.imwrite(dataset.root / "ignore" / f"{FIRST}.png", ignore)
    assert codes(folder.audit()) == {}


def test_soft(folder: Folder) -> None:
    soft = ndimage.gaussian_filter(folder.masks[FIRST].astype(float), 0.8)
    folder.masks[FIRST] = np.rint(soft).astype(np.uint8)
    result = folder.audit()
    assert codes(result) == {FIRST: {"soft"}}
    assert "cutting at half of white" in result.findings[0].message


def test_empty_full_inverted(folder: Folder) -> None:
    folder.masks[FIRST] = np.zeros_like(folder.masks[FIRST])
    folder.masks[SECOND] = np.full_like(folder.masks[SECOND], 255)
    folder.masks[THIRD] = 255 - folder.masks[THIRD]
    assert codes(folder.audit()) == {FIRST: {"empty"}, SECOND: {"full"}, THIRD: {"inverted"}}


def test_empty_mask_of_an_empty_image_is_right(folder: Folder) -> None:
    folder.images[FIRST] = scene(0, 0).image
    folder.masks[FIRST] = np.zeros_like(folder.masks[FIRST])
    assert codes(folder.audit()) == {}


def test_merged(labelled: Folder) -> None:
    labels = labelled.labels["t0"]
    assert codes(labelled.audit()) == {}
    for one, other in touching(labels)[:4]:
        labels[labels == other] = one
    labelled.root = labelled.root.parent / "merged"
    only(labelled.audit(), "t0", "merged")


def touching(labels: np.ndarray) -> list[tuple[int, int]]:
    """Return pairs of neighbouring beads, each bead once; the pixels between them are filled."""
    centres = {int(i): c for i, c in zip(np.unique(labels)[1:], ndimage.center_of_mass(labels > 0, labels,
               np.unique(labels)[1:]), strict=True)}  # fmt: skip
    pairs, used = [], set()
    for i, a in centres.items():
        for j, b in centres.items():
            if i < j and 6.5 < np.hypot(a[0] - b[0], a[1] - b[1]) < 14 and not {i, j} & used:
                pairs.append((i, j))
                used |= {i, j}
    return pairs


def test_broken(labelled: Folder) -> None:
    labels = labelled.labels["t0"]
    for number in range(1, 7):
        rows = np.flatnonzero((labels == number).any(axis=1))
        half = np.zeros_like(labels, bool)
        half[: rows.mean().round().astype(int)] = True
        labels[(labels == number) & half] = 1000 + number
    only(labelled.audit(), "t0", "broken")


def test_label_in_pieces_is_broken(labelled: Folder) -> None:
    labels = labelled.labels["t0"]
    for number in range(1, 13, 2):
        labels[labels == number + 1] = number
    result = labelled.audit()
    only(result, "t0", "broken")


def test_size(folder: Folder) -> None:
    folder.masks[FIRST] = folder.masks[FIRST][:-10]
    result = folder.audit()
    assert codes(result) == {FIRST: {"size"}}
    assert f"{SIDE}x{SIDE - 10} px" in result.findings[0].message


def test_dtype(folder: Folder) -> None:
    dataset = folder.write()
    (dataset.root / "masks" / f"{FIRST}.png").unlink()
    iio.imwrite(dataset.root / "masks" / f"{FIRST}.jpg", folder.masks[FIRST], quality=95)
    folder.masks.pop(FIRST)
    assert "dtype" in codes(folder.audit())[FIRST]


def test_duplicates_also_across_the_split(folder: Folder) -> None:
    folder.images["zz"] = folder.images[FIRST][:, ::-1]
    folder.masks["zz"] = folder.masks[FIRST][:, ::-1]
    folder.images["zzz"], folder.masks["zzz"] = folder.images[THIRD], folder.masks[THIRD]
    split = Split(train=tuple(n for n in folder.images if n != "zz"), val=("zz",))
    result = folder.audit(split=split)
    assert codes(result) == {"zz": {"duplicate"}, "zzz": {"duplicate"}}
    mirrored, same = result.of("zz")[0], result.of("zzz")[0]
    assert (mirrored.partner, same.partner) == (FIRST, THIRD)
    assert (mirrored.severity, same.severity) == ("error", "warning")
    assert "both sides of the split" in mirrored.message


def test_cut_out_duplicate(folder: Folder) -> None:
    big = simulate(SceneConfig(height=300, width=SIDE, beads=100, debris=0.0), 7)
    folder.images["a1"], folder.masks["a1"] = big.image[:SIDE], (255 * (big.labels[:SIDE] > 0)).astype(np.uint8)
    folder.images["b1"], folder.masks["b1"] = big.image[-SIDE:], (255 * (big.labels[-SIDE:] > 0)).astype(np.uint8)
    result = folder.audit()
    only(result, "b1", "duplicate")
    assert result.of("b1")[0].value == pytest.approx(100 * (2 * SIDE - 300) / SIDE, abs=3)


def test_leak(folder: Folder) -> None:
    split = Split(train=tuple(n for n in folder.images if n != SECOND), val=(SECOND,))
    assert codes(folder.audit(split=split)) == {SECOND: {"leak"}}
    apart = Split(train=tuple(n for n in folder.images if not n.startswith("field0")), val=(FIRST, SECOND))
    assert codes(folder.audit(split=apart)) == {}


def test_focus(folder: Folder) -> None:
    folder.images[FIRST] = scene(0, defocus_px=4.0).image
    folder.masks[FIRST] = np.where(scene(0, defocus_px=4.0).labels > 0, 255, 0).astype(np.uint8)
    only(folder.audit(), FIRST, "focus")


def test_saturated(folder: Folder) -> None:
    image = folder.images[FIRST].copy()
    image[:20] = 255
    folder.images[FIRST] = image
    assert "saturated" in codes(folder.audit())[FIRST]


def test_polarity(folder: Folder) -> None:
    folder.images[FIRST] = 255 - folder.images[FIRST]
    only(folder.audit(), FIRST, "polarity")


def test_light(folder: Folder) -> None:
    slope = np.linspace(0.35, 1.3, SIDE)[:, np.newaxis, np.newaxis]
    folder.images[FIRST] = np.clip(folder.images[FIRST] * slope, 0, 255).astype(np.uint8)
    only(folder.audit(), FIRST, "light")


def test_few_beads_are_not_assessable(folder: Folder) -> None:
    few = scene(0, 4)
    folder.images[FIRST] = few.image
    folder.masks[FIRST] = np.roll(np.where(few.labels > 0, 255, 0).astype(np.uint8), 3, 0)
    result = folder.audit()
    assert FIRST not in codes(result)
    sample = next(sample for sample in result.samples if sample.sample == FIRST)
    assert any("shift" in missing.codes for missing in sample.not_assessable)


def test_habits_of_a_whole_data_set_are_no_faults(folder: Folder) -> None:
    for name, mask in folder.masks.items():
        folder.masks[name] = ndimage.shift(255 * ndimage.binary_dilation(mask).astype(np.uint8), (1, -1), order=0)
    result = folder.audit()
    assert codes(result) == {}
    assert result.baseline is not None
    assert (result.baseline.dy, result.baseline.dx) == pytest.approx((1, -1), abs=0.4)


def test_all_masks_shifted_far_are_no_habit(folder: Folder) -> None:
    for name, mask in folder.masks.items():
        folder.masks[name] = ndimage.shift(mask, (-2, -3), order=0)
    assert codes(folder.audit()) == {name: {"shift"} for name in folder.masks}


def test_bright_halo_beside_which_masks_lie_is_no_other_polarity(folder: Folder) -> None:
    for name, image in folder.images.items():
        grey = image.astype(float)
        wide = ndimage.gaussian_filter(grey, (4, 4, 0))
        folder.images[name] = np.clip(grey + 1.5 * (grey - wide), 0, 255).astype(np.uint8)
        folder.masks[name] = ndimage.shift(folder.masks[name], (-4, -4), order=0)
    assert codes(folder.audit()) == {name: {"shift"} for name in folder.masks}


def test_worst_come_first(folder: Folder) -> None:
    folder.masks[FIRST] = np.roll(folder.masks[FIRST], 1, 0)
    folder.masks[SECOND] = np.roll(folder.masks[SECOND], 6, 0)
    folder.masks[THIRD] = np.zeros_like(folder.masks[THIRD])
    assert [f.sample for f in folder.audit().findings if f.severity != "note"] == [THIRD, SECOND, FIRST]
