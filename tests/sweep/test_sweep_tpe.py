"""Rounds of TPE: each planned once, by what is known then."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from sweep_helpers import begun, end

from beadseg.errors import RunError
from beadseg.events import ignore
from beadseg.sweep.plan import Result, Sweep
from beadseg.sweep.run import plan_round

TPE = {"kind": "tpe", "rounds": 3, "trials": 12}


def second_round(folder: Path) -> Sweep:
    sweep = begun(folder, method=TPE)
    end(sweep)
    plan_round(sweep, 2, ignore)
    return sweep


def test_a_round_depends_on_seed_and_results_alone_and_is_planned_once(tmp_path: Path):
    one, other = second_round(tmp_path / "one"), second_round(tmp_path / "other")
    assert one.round(2) == other.round(2)
    assert [trial.number for trial in one.round(2).trials] == list(range(13, 25))
    assert len({str(trial.values) for trial in one.trials}) == 24
    end(one)
    assert plan_round(one, 2, ignore) == other.round(2)
    with pytest.raises(RunError, match="Round 3 is not planned"):
        one.trial(25)


def test_later_rounds_look_where_it_was_good(tmp_path: Path):
    sweep = second_round(tmp_path)
    end(sweep)
    plan_round(sweep, 3, ignore)

    def distance(number: int) -> float:
        away = sorted(abs(math.log10(trial.values["optimizer.lr"] / 0.003)) for trial in sweep.round(number).trials)
        return away[6]

    assert distance(3) < distance(1)


def test_failed_trials_are_left_out_and_a_round_without_a_score_ends_the_sweep(tmp_path: Path):
    sweep = begun(tmp_path, method=TPE)
    for trial in sweep.trials:
        sweep.keep(Result(trial=trial.number, error="no memory"))
    with pytest.raises(RunError, match=r"No trial of round 1 reached a score. The first one: no memory"):
        plan_round(sweep, 2, ignore)
    sweep.keep(Result(trial=5, score=0.5, best_epoch=1, epochs=1))
    assert len(plan_round(sweep, 2, ignore).trials) == 12


def test_a_small_space_is_never_tried_twice(tmp_path: Path):
    sweep = begun(tmp_path, method={"kind": "tpe", "rounds": 3, "trials": 2},
                  parameters={"loss.kind": ["dice", "focal"], "network.width": [4, 8, 16]})  # fmt: skip
    for number in (1, 2, 3):
        plan_round(sweep, number, ignore)
        end(sweep, lambda values: values["network.width"] / 100)
    assert len({str(trial.values) for trial in sweep.trials}) == 6
