"""Hits, misses and false alarms: the same as in the scores, and in the picture where they are."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.data.dataset import Target
from beadseg.measure.scores import score_image
from beadseg.report.samples import (
    FALSE_ALARM,
    HIT,
    MISS,
    Window,
    fullest_window,
    match,
    matched_picture,
)


def discs(shape: tuple[int, int], centres: list[tuple[int, int]]) -> np.ndarray:
    labels = np.zeros(shape, np.uint32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    for number, (y, x) in enumerate(centres, start=1):
        labels[(rows - y) ** 2 + (columns - x) ** 2 <= 12] = number
    return labels


def colour(hexadecimal: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(hexadecimal[1:]))


def holds(picture: np.ndarray, hexadecimal: str) -> np.ndarray:
    return (picture == colour(hexadecimal)).all(axis=-1)


TRUE = [(10, 10), (10, 40), (40, 10)]
FOUND = [(11, 10), (40, 40), (10, 41)]


def test_one_of_each_kind() -> None:
    true, found = discs((64, 64), TRUE), discs((64, 64), FOUND)
    matched = match(found > 0, found, Target(true > 0, true))
    assert (matched.hits.tolist(), matched.false_alarms.tolist(), matched.misses.tolist()) == ([1, 3], [2], [3])
    assert matched.f1 == pytest.approx(4 / 6)
    assert matched.caption() == "2 hits, 1 miss, 1 false alarm"


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("ignored", [True, False])
def test_counts_are_those_of_the_score(ids: bool, ignored: bool) -> None:
    generator = np.random.default_rng(3)
    true, found = (discs((128, 128), generator.integers(4, 124, (60, 2)).tolist()) for _ in range(2))
    hidden = np.zeros((128, 128), bool)
    hidden[:, 64:] = True
    target = Target(true > 0, true if ids else None, hidden if ignored else None)
    labels = found if ids else None
    score = score_image("a", "a", "f", found > 0, labels, target)
    matched = match(found > 0, labels, target, score.tolerance_px)
    assert matched.counts == (score.tp, score.fp, score.fn)
    assert matched.f1 == pytest.approx(score.f1)


def test_nothing_on_either_side_is_right() -> None:
    nothing = np.zeros((16, 16), np.uint32)
    matched = match(nothing > 0, nothing, Target(nothing > 0, nothing))
    assert matched.f1 == 1
    assert fullest_window(matched.errors, (16, 16)) == Window(0, 0, 16, 16)


def test_the_picture_has_each_colour_where_it_belongs() -> None:
    true, found = discs((64, 64), TRUE), discs((64, 64), FOUND)
    matched = match(found > 0, found, Target(true > 0, true))
    pixels = np.full((1, 64, 64), 128, np.uint8)
    picture = matched_picture(pixels, matched, Window(0, 0, 64, 64))
    scale = len(picture) // 64
    assert scale == 12
    for wanted, labels, ids in ((HIT, found, [1, 3]), (MISS, true, [3]), (FALSE_ALARM, found, [2])):
        inside = np.isin(labels, ids).repeat(scale, axis=0).repeat(scale, axis=1)
        drawn = holds(picture, wanted)
        assert drawn.any()
        assert not drawn[~inside].any()


def test_the_window_is_where_the_points_are() -> None:
    points = np.array([[900.0, 900.0], [910.0, 880.0], [10.0, 10.0]])
    window = fullest_window(points, (1000, 1200), side=200)
    rows, columns = window.slices
    assert rows.start <= 900 < rows.stop
    assert columns.start <= 880 < 900 < columns.stop
    assert rows.stop <= 1000
    assert window.caption((1000, 1200)).startswith("Shown: 200 x 200 px at x ")
    assert Window(0, 0, 5, 5).caption((5, 5)) == ""
