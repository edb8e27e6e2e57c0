from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import perimeter_crofton

from beadseg.measure.beads import bead_shapes


def disc(radius: float, size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size / 2
    return y**2 + x**2 <= radius**2


@pytest.mark.parametrize("radius", [3.5, 8.0, 20.0])
def test_a_disc_is_round(radius: float):
    assert bead_shapes(disc(radius).astype(np.uint32))["circularity"][0] > 0.88


def test_a_bar_is_not_round():
    bar = np.zeros((20, 60), np.uint32)
    bar[8:12, 5:55] = 1
    expected = 4 * np.pi * 200 / perimeter_crofton(bar > 0, directions=4) ** 2
    assert bead_shapes(bar)["circularity"][0] == pytest.approx(expected, rel=0.01)
    assert expected < 0.3


def test_beads_that_touch_are_a_group():
    labels = np.zeros((12, 30), np.uint32)
    labels[1:4, 1:4], labels[1:4, 4:7], labels[4:7, 7:10], labels[8:10, 20:22] = 1, 2, 3, 4
    assert bead_shapes(labels)["group"].tolist() == [3, 3, 3, 1]


def test_a_sharp_bead_has_more_focus_whatever_its_contrast_and_light():
    bead = disc(5.0).astype(np.float32)
    labels = disc(5.0).astype(np.uint32)
    sharp, blurred = (ndimage.gaussian_filter(bead, sigma) for sigma in (0.7, 2.5))
    focus = [bead_shapes(labels, image)["focus"][0] for image in (sharp, 80 - 40 * sharp, blurred)]
    assert focus[0] == pytest.approx(focus[1], rel=1e-3)
    assert focus[2] < 0.7 * focus[0]


def test_without_brightness_or_contrast_the_focus_is_unknown():
    labels = disc(5.0).astype(np.uint32)
    assert bead_shapes(labels)["focus"].isna().all()
    assert bead_shapes(labels, np.ones(labels.shape))["focus"].isna().all()


def test_no_beads():
    assert len(bead_shapes(np.zeros((8, 8), np.uint32), np.zeros((8, 8)))) == 0
