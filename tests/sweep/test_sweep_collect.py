"""Ranking, importance, figures and the page of a sweep."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest
from sweep_helpers import begun, end, near_a_rate

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.report.sweep_page import write_sweep_page
from beadseg.sweep.plan import Result
from beadseg.sweep.ranking import Standing, collect, importance, on_other_data
from beadseg.sweep.run import forget_failures


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_trials_are_ranked_and_the_best_one_can_be_trained_again(tmp_path: Path):
    sweep = begun(tmp_path)
    end(sweep)
    sweep.keep(Result(trial=3, error='a, "b"'))
    (sweep.trial_folder(4) / files.RESULT).unlink()
    standing = collect(sweep)
    rows = rows_of(tmp_path / files.TRIALS_TABLE)
    assert [row["rank"] for row in rows] == [*(str(rank) for rank in range(1, 15)), "", ""]
    scores = [float(row["score"]) for row in rows[:14]]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == max(near_a_rate(trial.values) for trial in sweep.trials if trial.number not in (3, 4))
    assert [(row["trial"], row["state"], row["error"]) for row in rows[14:]] == [
        ("3", "failed", "a, \"b\""), ("4", "not ended", ""),
    ]  # fmt: skip
    assert rows_of(tmp_path / files.FAILURES) == [{"trial": "3", "error": 'a, "b"'}]
    best = standing.finished[0].trial
    config = TrainConfig.from_file(tmp_path / files.BEST_CONFIG)
    assert config.optimizer.lr == best.values["optimizer.lr"]
    assert config == sweep.configured(best)
    assert standing.text() == "14 of 16 trials finished, 1 failed, 1 to come"
    assert not standing.complete


def test_of_errors_the_smallest_size_is_the_best(tmp_path: Path):
    sweep = begun(tmp_path, metric="count_bias")
    end(sweep, lambda values: 20 * (values["augment.flip"] - 0.5))
    best = Standing.of(sweep).finished[0]
    assert best.score is not None
    assert abs(best.score) == min(abs(one.score or 0.0) for one in Standing.of(sweep).finished)


def test_a_failure_is_forgotten_when_it_is_to_be_run_again(tmp_path: Path):
    sweep = begun(tmp_path)
    end(sweep)
    sweep.keep(Result(trial=3, error="broken"))
    collect(sweep)
    assert forget_failures(sweep) == [3]
    assert sweep.pending() == [3]
    collect(sweep)
    assert not (tmp_path / files.FAILURES).exists()


@pytest.mark.parametrize(("trials", "method"), [(16, "fANOVA"), (8, "ranks")])
def test_what_matters_is_found(tmp_path: Path, trials: int, method: str):
    sweep = begun(tmp_path, method={"kind": "sobol", "trials": trials})
    end(sweep, lambda values: 0.9 - 0.02 * values["network.width"] + 0.001 * values["augment.flip"])
    collect(sweep)
    rows = rows_of(tmp_path / files.IMPORTANCE)
    assert [row["method"] for row in rows] == [method] * 4
    assert rows[0]["parameter"] == "network.width"
    assert float(rows[0]["importance"]) > 2 * float(rows[1]["importance"])
    if method == "fANOVA":
        assert sum(float(row["importance"]) for row in rows) == pytest.approx(1, abs=0.01)


def test_of_few_trials_or_equal_scores_nothing_is_said():
    parameters = {"batch": begun_choices()}
    assert importance(parameters, [({"batch": 2}, 0.1), ({"batch": 4}, 0.2), ({"batch": 8}, 0.3)]) == []
    assert importance(parameters, [({"batch": 2}, 0.1)] * 20) == []


def begun_choices() -> Any:
    from beadseg.config.sweep import ChoicesConfig

    return ChoicesConfig(choices=(2, 4, 8))


def test_the_page_and_its_figures_are_made_from_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "a b'c\"d$e"
    sweep = begun(folder)
    end(sweep)
    sweep.keep(Result(trial=3, error="<b>broken</b>"))
    standing = collect(sweep)
    assert main(["report", str(folder)]) == 0
    page = (folder / files.REPORT_PAGE).read_text(encoding="utf-8")
    best = standing.finished[0].trial.number
    assert f"Best: trial {best}, f1 0." in page
    assert "&lt;b&gt;broken&lt;/b&gt;" in page
    assert "fANOVA" in page
    assert page.count("<svg") == 3
    for name in (files.IMPORTANCE_FIGURE, files.PARALLEL_FIGURE):
        assert imageio.imread(folder / name).std() > 0


@pytest.mark.parametrize("ended", [1, 2])
def test_a_page_of_hardly_anything(tmp_path: Path, ended: int):
    sweep = begun(tmp_path)
    for trial in sweep.trials[:ended]:
        sweep.keep(Result(trial=trial.number, score=0.0, best_epoch=1, epochs=1))
    collect(sweep)
    page = write_sweep_page(tmp_path).read_text(encoding="utf-8")
    assert "It has not finished." in page
    assert ("(1 more has the same score)" in page) == (ended == 2)


def test_a_page_of_failures_alone(tmp_path: Path):
    sweep = begun(tmp_path)
    sweep.keep(Result(trial=1, error="broken"))
    collect(sweep)
    assert "No trial reached a score." in write_sweep_page(tmp_path).read_text(encoding="utf-8")


def test_a_sweep_without_ended_trials_and_a_folder_without_a_sweep_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    begun(tmp_path / "new")
    assert main(["report", str(tmp_path / "new")]) == 2
    assert "No trial has ended yet." in capsys.readouterr().err
    (tmp_path / "space.yaml").write_text("")
    words = ["sweep", str(tmp_path), "--space", str(tmp_path / "space.yaml"), "--out", str(tmp_path), "--collect"]
    assert main(words) == 2
    assert "Holds no sweep." in capsys.readouterr().err


def test_trials_on_other_data_are_noticed(tmp_path: Path):
    sweep = begun(tmp_path, method={"kind": "sobol", "trials": 2})
    end(sweep)
    row = "sample,fold,image_sha256,mask_sha256,ignore_sha256\na,train,{},1,\n"
    for number in (1, 2):
        (sweep.trial_folder(number) / files.SAMPLES).write_text(row.format(0))
    assert on_other_data(Standing.of(sweep)) == []
    last = Standing.of(sweep).finished[1].trial.number
    (sweep.trial_folder(last) / files.SAMPLES).write_text(row.format(1))
    assert on_other_data(Standing.of(sweep)) == [last]
