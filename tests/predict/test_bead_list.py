from __future__ import annotations

import numpy as np
import pytest

from beadseg.config import ObjectConfig
from beadseg.predict.prediction import BEAD_COLUMNS, Maps, Prediction

CONFIG = ObjectConfig(diameter=7.0)


def prediction(*centres: tuple[float, float], **changes: object) -> Prediction:
    y, x = np.mgrid[:60, :80]
    probability = np.zeros((60, 80), np.float32)
    for cy, cx in centres:
        probability[(y - cy) ** 2 + (x - cx) ** 2 <= 3.5**2] = 0.9
    return Prediction.of(Maps(probability), 200 - 100 * probability, 0.5, CONFIG.replace(**changes))


CORNERS = ((0, 40), (30, 0), (59, 40), (30, 79), (30, 40))
"""Beads at the upper, left, lower and right border, and one inside."""


@pytest.mark.parametrize(("border", "count"), [("count", 5), ("exclude", 1), ("half", 3)])
def test_the_rule_at_borders_decides_what_counts_and_not_what_is_listed(border: str, count: int):
    found = prediction(*CORNERS, border=border)
    assert found.count == count
    assert len(found.beads) == found.labels.max() == 5
    assert found.beads["counted"].sum() == count


def test_half_counts_every_bead_of_a_mosaic_once():
    whole = prediction((30, 40), (20, 20), (10, 60), (45, 70), (30, 60))
    half = CONFIG.replace(border="half", min_area=1)
    windows = [(rows, columns) for rows in (slice(0, 30), slice(30, 60)) for columns in (slice(0, 40), slice(40, 80))]
    tiles = [Prediction.of(Maps(whole.probability[at]), whole.intensity[at], None, half) for at in windows]
    assert sum(len(tile.beads) for tile in tiles) > 5
    assert sum(tile.count for tile in tiles) == 5


def test_beads_out_of_focus_are_listed_and_do_not_count():
    found = prediction((20, 20), (20, 60))
    limit = float(found.beads["focus"].max()) + 1
    chosen = found.select(CONFIG.replace(min_focus=limit))
    assert (chosen.count, len(chosen.beads)) == (0, 2)
    assert chosen.separation is found.separation


def test_columns_and_confidence():
    table = prediction((20, 20), (20, 26), (40, 60)).beads
    assert tuple(table.columns[: len(BEAD_COLUMNS)]) == BEAD_COLUMNS
    assert table["confidence"].tolist() == pytest.approx([0.9] * 3)
    assert table["group"].tolist() == [2, 2, 1]
    assert table["x_um"].tolist() == pytest.approx((0.5 * table["x"]).tolist())


def test_nothing_found():
    assert len(prediction().beads) == 0
    assert prediction(border="half").count == 0


def test_large_and_ragged_beads_are_listed_and_do_not_count():
    found = prediction((20, 20), (20, 60), (40, 20))
    y, x = np.mgrid[:60, :80]
    probability = found.probability.copy()
    probability[(np.abs(y - 45) <= 9) & (np.abs(x - 60) <= 1)] = 0.9
    config = CONFIG.replace(separate=False)
    found = Prediction.of(Maps(probability), 200 - 100 * probability, None, config)
    assert found.count == 4
    roundness = found.beads["circularity"].to_numpy()
    assert found.select(config.replace(min_circularity=float(np.sort(roundness)[:2].mean()))).count == 3
    areas = np.sort(found.beads["area_px"].to_numpy())
    smaller = found.select(config.replace(max_area=int(areas[-1]) - 1))
    assert (smaller.count, len(smaller.beads)) == (int((areas < areas[-1]).sum()), 4)
    assert not config.replace(max_area=50).all_count
    assert config.replace(max_area=50).all_like == config
