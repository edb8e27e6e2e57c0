from __future__ import annotations

import numpy as np
import pytest

from beadseg.config import ObjectConfig
from beadseg.errors import ConfigError, InputError
from beadseg.predict.instances import separate
from beadseg.predict.prediction import Maps, Prediction

CONFIG = ObjectConfig(diameter=7.0, min_area=1)


def bumps(*centres: tuple[float, float], heights: tuple[float, ...], size: int = 48, sigma: float = 2.0) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    maps = [
        h * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
        for (cy, cx), h in zip(centres, heights, strict=True)
    ]
    return np.max(maps, axis=0).astype(np.float32)


TWO = bumps((12, 12), (30, 30), heights=(0.9, 0.4))


def test_every_threshold_selects_from_one_separation():
    separation = separate(TWO, CONFIG)
    assert [int(separation.select(threshold=at).max()) for at in (0.1, 0.3, 0.5, 0.95)] == [2, 2, 1, 0]
    assert ((separation.select(threshold=0.3) > 0) == (np.float32(0.3) <= TWO)).all()


def test_a_bead_keeps_its_candidate_at_every_threshold():
    touching = bumps((20, 16), (20, 22), (20, 28), heights=(0.9, 0.8, 0.9))
    separation = separate(touching, CONFIG)
    low, high = (separation.select(threshold=at) for at in (0.1, 0.6))
    assert low.max() == high.max() == 3
    assert (low[high > 0] == high[high > 0]).all()


def test_smallest_area_and_confidence_select():
    separation = separate(TWO, CONFIG)
    assert separation.select(threshold=0.1, min_confidence=0.5).max() == 1
    areas = np.bincount(separation.select(threshold=0.1).ravel())[1:]
    assert separation.select(threshold=0.1, min_area=int(areas.min()) + 1).max() == 1
    assert separation.confidence == pytest.approx([0.9, 0.4])
    assert separation.positions.tolist() == [[12, 12], [30, 30]]


def test_a_threshold_below_the_lowest_is_refused():
    with pytest.raises(InputError, match="is below"):
        separate(TWO, CONFIG).select(threshold=0.05)
    with pytest.raises(ConfigError, match="lowest"):
        CONFIG.parse({"threshold": 0.05})


def test_a_centre_map_says_where_one_bead_ends_and_the_next_begins():
    probability = np.zeros((48, 48), np.float32)
    probability[20:27, 10:30] = 1.0
    centre = bumps((23, 13), (23, 26), heights=(0.9, 0.8), sigma=1.5)
    separation = separate(probability, CONFIG, centre)
    labels = separation.select(threshold=0.5)
    assert labels.max() == 2
    assert labels[23, 18:22].tolist() == [1, 1, 2, 2]
    assert separation.confidence == pytest.approx([0.9, 0.8])


def test_what_hangs_together_without_a_peak_is_still_a_candidate():
    probability = bumps((12, 12), (30, 30), heights=(0.9, 0.9))
    centre = bumps((12, 12), heights=(0.8,), sigma=1.5)
    separation = separate(probability, CONFIG, centre)
    assert separation.select(threshold=0.5).max() == 2
    assert separation.select(threshold=0.5, min_confidence=0.2).max() == 1


def test_a_bridge_below_the_level_does_not_join_two_objects():
    probability = bumps((20, 12), (20, 34), heights=(0.9, 0.9))
    probability[20, 12:35] = np.maximum(probability[20, 12:35], 0.2)
    centre = bumps((20, 12), heights=(0.8,), sigma=1.5)
    assert separate(probability, CONFIG, centre).select(threshold=0.5).max() == 2


def test_another_choice_needs_no_network():
    maps = Maps(TWO)
    first = Prediction.of(maps, 255 * (1 - TWO), None, CONFIG)
    lower = first.select(CONFIG.replace(threshold=0.3))
    assert (first.count, lower.count) == (1, 2)
    assert lower.separation is first.separation
    joined = first.select(CONFIG.replace(separate=False))
    assert joined.separation is not first.separation
    assert joined.objects.separate is False


def test_only_what_can_be_bead_is_stored():
    probability = np.zeros((300, 400), np.float32)
    probability[100:110, 100:120] = 0.9
    separation = separate(probability, CONFIG)
    assert [len(part) for part in (separation.pixels, separation.owner, separation.probability)] == [200] * 3
