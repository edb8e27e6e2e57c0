from __future__ import annotations

import numpy as np
import pytest

from beadseg.config import ObjectConfig
from beadseg.errors import ConfigError
from beadseg.predict.instances import grow, separate, smallest_area

CONFIG = ObjectConfig(diameter=7.0)


def found(probability: np.ndarray, config: ObjectConfig = CONFIG) -> np.ndarray:
    return separate(probability, config).chosen(config)


def discs(*centres: tuple[float, float], size: int = 64, radius: float = 3.5) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    inside = np.zeros((size, size), bool)
    for cy, cx in centres:
        inside |= (y - cy) ** 2 + (x - cx) ** 2 <= radius**2
    return inside.astype(np.float32)


def test_single_beads_are_one_object_each():
    assert found(discs((10, 10), (30, 40), (50, 20))).max() == 3


@pytest.mark.parametrize("gap", [5.5, 6.0, 7.0])
def test_touching_beads_are_cut_apart_near_the_middle(gap: float):
    labels = found(discs((30, 30), (30, 30 + gap)))
    assert labels.max() == 2
    assert labels[30, 30] != labels[30, round(30 + gap)] != 0
    areas = np.bincount(labels.ravel())[1:]
    assert abs(areas[0] - areas[1]) <= 8


def test_foreground_far_from_the_only_bead_comes_to_an_end():
    """8,192 px from its seed a squared distance has more digits than a float32 holds."""
    strip = np.ones((4, 8300), np.float32)
    centre = np.zeros_like(strip)
    centre[2, 3] = 1.0
    parts = separate(strip, CONFIG, centre)
    assert parts.chosen(CONFIG).max() >= 1
    owners = grow(strip.shape, np.arange(strip.size), np.array([3]))
    assert (owners == 1).all()


def test_a_row_of_five_touching_beads():
    assert found(discs(*[(30, 8 + 6 * i) for i in range(5)])).max() == 5


def test_without_separation_touching_beads_stay_one_object():
    assert found(discs((30, 30), (30, 36)), CONFIG.replace(separate=False)).max() == 1


def test_every_foreground_pixel_of_a_kept_object_has_a_label():
    probability = discs((30, 30), (30, 36), (12, 12))
    assert ((found(probability) > 0) == (probability >= 0.5)).all()


def test_no_foreground_is_lost_where_an_object_hangs_together_at_corners_only():
    generator = np.random.default_rng(0)
    probability = (generator.random((80, 80)) < 0.45).astype(np.float32)
    whole = found(probability, CONFIG.replace(separate=False, min_area=1))
    assert ((found(probability, CONFIG.replace(min_area=1)) > 0) == (whole > 0)).all()


def test_specks_below_the_smallest_area_are_dropped():
    probability = discs((30, 30))
    probability[5, 5] = 1.0
    assert found(probability).max() == 1
    assert smallest_area(CONFIG) == 6


def test_diagonal_neighbours_are_one_object():
    probability = np.zeros((20, 20), np.float32)
    probability[5:9, 5:9] = probability[9:13, 9:13] = 1
    assert found(probability, CONFIG.replace(separate=False)).max() == 1


def test_nothing_and_everything():
    assert found(np.zeros((40, 40), np.float32)).max() == 0
    labels = found(np.ones((40, 40), np.float32))
    assert labels.dtype == np.uint32
    assert (labels > 0).all()


def test_an_unknown_diameter_is_refused():
    with pytest.raises(ConfigError, match="diameter"):
        found(discs((30, 30)), ObjectConfig())
