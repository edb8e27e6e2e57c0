from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from beadseg.errors import InputError
from beadseg.measure.scores import aggregate, count_overlap, jaccard
from beadseg.measure.spots import threshold_baseline


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Dark discs of 4 px radius on uneven, noisy ground, and where they are."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:128, :128]
    truth = np.zeros((128, 128), bool)
    for row, column in [(20, 20), (40, 90), (64, 64), (100, 30), (105, 110), (15, 115)]:
        truth |= (y - row) ** 2 + (x - column) ** 2 <= 16
    grey = 150 + 0.4 * x - 60 * ndimage.gaussian_filter(truth.astype(float), 1) + rng.normal(0, 2, truth.shape)
    return grey, truth


def test_finds_dark_beads_on_uneven_ground() -> None:
    grey, truth = scene()
    assert jaccard(threshold_baseline(grey), truth) > 0.8


def test_bright_beads_are_the_dark_ones_of_the_negative() -> None:
    grey, _ = scene()
    dark = threshold_baseline(grey, "dark")
    assert np.array_equal(threshold_baseline(255 - grey, "bright"), dark)
    assert not np.array_equal(threshold_baseline(grey, "bright"), dark)


def test_scale_and_offset_of_grey_values_do_not_matter() -> None:
    grey, _ = scene()
    # Powers of two, so that rounding cannot move a pixel over the threshold.
    assert np.array_equal(threshold_baseline(grey * 256 + 4096), threshold_baseline(grey))


@pytest.mark.parametrize("value", [0, 255])
def test_image_of_one_grey_value_holds_nothing(value: int) -> None:
    assert not threshold_baseline(np.full((20, 30), value, np.uint8)).any()


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        threshold_baseline(np.array([[np.nan, 1.0]]))
    with pytest.raises(InputError, match="polarity"):
        threshold_baseline(np.eye(4), "both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one grey plane"):
        threshold_baseline(np.zeros((4, 4, 3)))


@pytest.mark.skipif("BEADSEG_DATA" not in os.environ, reason="BEADSEG_DATA (the folder of real tiles) is not set")
def test_scores_on_the_real_validation_tiles() -> None:
    import imageio.v3 as iio

    root = Path(os.environ["BEADSEG_DATA"])
    with (root / "split.csv").open(encoding="utf-8", newline="") as file:
        names = [row["sample"] for row in csv.DictReader(file) if row["fold"] == "val"]
    overlaps = []
    for name in names:
        grey = iio.imread(root / "images" / f"{name}.png")[..., :3] @ np.array([0.299, 0.587, 0.114])
        overlaps.append(count_overlap(threshold_baseline(grey), iio.imread(root / "masks" / f"{name}.png") > 127))
    scores = aggregate(overlaps, names)
    assert scores["jaccard_images"] == pytest.approx(0.48, abs=0.02)
    assert scores["jaccard_pooled"] == pytest.approx(0.40, abs=0.01)
