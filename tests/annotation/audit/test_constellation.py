"""Sets of beads that look alike are found whatever their turn, and however many are compared at once."""

import numpy as np
import pytest

from beadseg.annotation.audit import duplicates
from beadseg.annotation.audit.duplicates import candidates, correspondences, tokens
from beadseg.annotation.audit.registration import ORIENTATIONS, STEPS, oriented_points

RADIUS = 3.5
SHAPE = (300, 300)


@pytest.fixture
def sets():
    """Forty different sets of beads, and the first eight again, each turned in another way and measured anew."""
    rng = np.random.default_rng(0)
    different = [rng.uniform(0, 300, (int(rng.integers(60, 200)), 2)) for _ in range(40)]
    turned = [oriented_points(different[k], SHAPE, k) + rng.normal(0, 0.1, different[k].shape) for k in range(8)]
    return different + turned


def test_turned_sets_are_candidates_and_few_others(sets):
    found = list(candidates([tokens(points, RADIUS) for points in sets]))

    assert {(k, 40 + k) for k in range(8)} <= set(found)
    assert len(found) < 50


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_the_block_of_sets_does_not_matter(sets, block, monkeypatch):
    marks = [tokens(points, RADIUS) for points in sets]
    whole, across = list(candidates(marks)), list(candidates(marks[:5], marks[5:]))
    monkeypatch.setattr(duplicates, "BLOCK", block)

    assert list(candidates(marks)) == whole
    assert list(candidates(marks[:5], marks[5:])) == across
    assert {(k, 35 + k) for k in range(5)} <= set(across)


def test_corresponding_beads_are_moved_alike(sets):
    first, second = sets[3], sets[43]
    here, there = correspondences(first, second, tokens(first, RADIUS), tokens(second, RADIUS))
    moves = oriented_points(here, SHAPE, 3) - there

    assert np.mean(np.abs(moves).max(axis=1) < 1) > 0.9


def test_too_few_beads_have_no_tokens(sets):
    few = tokens(sets[0][:4], RADIUS)

    assert len(few.values) == 0
    assert list(candidates([few, few])) == []
    assert len(correspondences(sets[0][:4], sets[0], few, tokens(sets[0], RADIUS))[0]) == 0
    assert len(correspondences(sets[0], sets[0][:4], tokens(sets[0], RADIUS), few)[0]) == 0


@pytest.mark.parametrize("orientation", range(len(ORIENTATIONS)))
def test_steps_turn_as_points_do(orientation):
    points = np.random.default_rng(1).uniform(0, 50, (5, 2))
    turned = oriented_points(points, (60, 80), orientation)

    np.testing.assert_allclose(np.diff(points, axis=0) @ STEPS[orientation], np.diff(turned, axis=0))
