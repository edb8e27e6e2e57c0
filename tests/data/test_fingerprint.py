from __future__ import annotations

import os
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from beadseg.data.dataset import Dataset
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.errors import Cancelled, InputError
from beadseg.events import Event, StopFlag


def scene(diameter: float, number: int, sign: int = -1, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return a uint8 image and uint32 labels of discs on a grid, the first two of which touch."""
    y, x = np.mgrid[:size, :size]
    labels = np.zeros((size, size), np.uint32)
    step = int(diameter * 2)
    per_row = (size - step) // step
    for i in range(number):
        cy, cx = step + step * (i // per_row), step + step * (i % per_row)
        if i == 1:
            cx -= step - int(diameter)
        labels[np.hypot(y - cy, x - cx) <= diameter / 2] = i + 1
    noise = np.random.default_rng(number).normal(0, 3, labels.shape)
    return np.clip(130 + sign * 60 * (labels > 0) + noise, 0, 255).astype(np.uint8), labels


def write(root: Path, name: str, image: np.ndarray, labels: np.ndarray, binary: bool = False) -> None:
    for folder in ("images", "masks" if binary else "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(root / "images" / f"{name}.tif", image)
    if binary:
        iio.imwrite(root / "masks" / f"{name}.png", np.where(labels > 0, 255, 0).astype(np.uint8))
    else:
        tifffile.imwrite(root / "labels" / f"{name}.tif", labels)


@pytest.mark.parametrize("diameter", [5, 7, 15])
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("binary", [False, True])
def test_diameter_and_polarity(tmp_path: Path, diameter: int, sign: int, binary: bool) -> None:
    write(tmp_path, "a_grid_r0_c0", *scene(diameter, 9, sign), binary)
    found = fingerprint(Dataset.open(tmp_path))
    assert found.bead_diameter_px == pytest.approx(diameter, rel=0.1)
    assert found.polarity == ("dark" if sign < 0 else "bright")
    assert found.objects == (8 if binary else 9)
    assert (found.samples, found.fields, found.bit_depth, found.channels) == (1, 1, 8, 1)
    assert (found.height_min, found.width_min) == (128, 128)
    assert Fingerprint.model_validate_json(found.model_dump_json()) == found


def test_fields_count_alike(tmp_path: Path) -> None:
    """One field of many small beads does not outvote two fields of few larger ones."""
    write(tmp_path, "dense_grid_r0_c0", *scene(6, 60))
    write(tmp_path, "f1_grid_r0_c0", *scene(12, 8))
    write(tmp_path, "f2_grid_r0_c0", *scene(12, 9))
    found = fingerprint(Dataset.open(tmp_path))
    assert found.bead_diameter_px == pytest.approx(12, rel=0.1)
    assert (found.objects_per_image_min, found.objects_per_image_median, found.objects_per_image_max) == (8, 9, 60)
    assert found.objects_per_mpx_max == pytest.approx(60 / (128 * 128 / 1e6))
    assert found.objects_per_mpx_min == pytest.approx(8 / (128 * 128 / 1e6))


def test_positive_ratio_leaves_ignored_pixels_out(tmp_path: Path) -> None:
    image, labels = scene(9, 10)
    write(tmp_path, "a", image, labels)
    (tmp_path / "ignore").mkdir()
    hidden = np.zeros(labels.shape, np.uint8)
    hidden[:, 64:] = 255
    iio.imwrite(tmp_path / "ignore" / "a.png", hidden)
    found = fingerprint(Dataset.open(tmp_path))
    assert found.positive_ratio == pytest.approx((labels[:, :64] > 0).mean())
    assert found.objects == len(np.unique(labels[:, :64])) - 1


def test_no_beads_at_all(tmp_path: Path) -> None:
    image, labels = scene(7, 9)
    write(tmp_path, "a", image, np.zeros_like(labels))
    with pytest.raises(InputError, match="No bead is annotated"):
        fingerprint(Dataset.open(tmp_path))


def test_constant_image_and_an_empty_one_beside_it(tmp_path: Path) -> None:
    image, labels = scene(7, 9)
    write(tmp_path, "a", np.full_like(image, 200), labels)
    write(tmp_path, "b", image, np.zeros_like(labels))
    found = fingerprint(Dataset.open(tmp_path))
    assert found.bead_diameter_px == pytest.approx(7, rel=0.1)
    assert found.objects_per_image_min == 0


def test_specks_only_still_have_a_diameter(tmp_path: Path) -> None:
    image, labels = scene(7, 9)
    one = np.zeros_like(labels)
    one[5, 5] = 1
    write(tmp_path, "a", image, one)
    assert fingerprint(Dataset.open(tmp_path)).bead_diameter_px >= 1


def test_events_and_stop(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path, name, *scene(7, 9))
    events: list[Event] = []
    fingerprint(Dataset.open(tmp_path), events.append)
    assert [event.data["done"] for event in events] == [0, 1, 2]
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        fingerprint(Dataset.open(tmp_path), stop=stop)


@pytest.mark.skipif("BEADSEG_DATA" not in os.environ, reason="BEADSEG_DATA names no folder of real tiles")
def test_real_tiles() -> None:
    dataset = Dataset.open(Path(os.environ["BEADSEG_DATA"]), exclude=["synthetic_*"])
    assert (len(dataset), len(dataset.fields), dataset.problems) == (49, 6, ())
    found = fingerprint(dataset)
    assert 6 <= found.bead_diameter_px <= 9
    assert (found.polarity, found.bit_depth, found.channels) == ("dark", 8, 3)
