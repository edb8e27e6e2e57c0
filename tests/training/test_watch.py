from __future__ import annotations

import math

import pytest

from beadseg.training.diagnosis import Watch, few_steps

METRIC = "jaccard_images"


def rows(scores: list[float], losses: list[float] | None = None, train: list[float] | None = None) -> list[dict]:
    losses = losses or [0.5] * len(scores)
    train = train or scores
    return [
        {"epoch": i, "train_loss": loss, f"val_{METRIC}": score, f"train_{METRIC}": fitted}
        for i, (score, loss, fitted) in enumerate(zip(scores, losses, train, strict=True), start=1)
    ]


def codes(history: list[dict]) -> list[str]:
    return [found.code for found in Watch(METRIC).all(history)]


def test_a_healthy_run_is_left_in_peace():
    assert codes(rows([0.3, 0.4, 0.5, 0.55, 0.6, 0.62, 0.63, 0.64, 0.64, 0.65, 0.65, 0.65])) == []


def test_the_laboratorys_collapse_is_named_when_it_happens():
    found = Watch(METRIC).all(rows([0.1427, 0.1089, 0.0512, 0.0023, 1e-12]))
    assert [(f.code, f.epoch) for f in found] == [("collapse", 4)]
    assert "0.143 (epoch 1) to 0.0023" in found[0].message
    assert "learning rate" in str(found[0])


def test_a_run_that_never_learns():
    assert codes(rows([0.0, 0.01, 0.0, 0.01, 0.0, 0.0])) == ["not-learning"]


def test_divergence_is_reported_once_when_it_begins():
    assert codes(rows([0.5] * 5, losses=[0.5, 0.3, 0.6, 0.7, 0.9])) == ["divergence"]


def test_gap_between_training_and_validation():
    history = rows([0.4] * 6, train=[0.4, 0.4, 0.5, 0.5, 0.6, 0.6])
    assert codes(history) == ["gap"]


def test_oscillation_but_not_steady_learning():
    assert codes(rows([0.4, 0.6] * 5)) == ["oscillation"]
    assert codes(rows([0.1 + 0.06 * i for i in range(10)])) == []


def test_a_loss_that_is_no_number():
    assert codes(rows([0.3, 0.3], losses=[0.5, math.nan])) == ["not-finite"]


@pytest.mark.parametrize(("steps", "warned"), [(2, True), (9, True), (10, False)])
def test_few_steps_per_epoch(steps: int, warned: bool):
    assert (few_steps(steps, 100) is not None) is warned
