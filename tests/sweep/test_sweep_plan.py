"""What is planned: the right trials, the same with the same seed, and nothing that could not be trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sweep_helpers import SPACE, begun, space

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.sweep import SweepConfig
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.sweep.plan import begin, planned
from beadseg.sweep.space import assignments, configured, draw

METHODS = [
    {"kind": "random", "trials": 16},
    {"kind": "sobol", "trials": 16},
    {"kind": "tpe", "rounds": 2, "trials": 16},
]
DENSE = TrainConfig.preset("dense", "unet")


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method["kind"])
def test_the_plan_depends_on_the_seed_alone(method: dict[str, Any]):
    first = draw(space(method=method))
    assert first == draw(space(method=method))
    assert first != draw(space(method=method, seed=8))
    assert len({str(values) for values in first}) == 16
    for values in first:
        assert 1e-4 <= values["optimizer.lr"] <= 1e-1
        assert values["network.width"] in range(4, 33)
        assert configured(DENSE, space(), values).optimizer.lr == values["optimizer.lr"]


def test_sobol_fills_every_part_of_every_range():
    values = draw(space())
    for name, low, high in (("augment.flip", 0.0, 1.0), ("network.width", 3.5, 32.5)):
        parts = {int(16 * (item[name] - low) / (high - low) * 0.999999) for item in values}
        assert len(parts) >= 12, name
    assert sum(item["optimizer.lr"] < 10**-2.5 for item in values) == 8
    assert sum(item["loss"]["kind"] == "dice-ce" for item in values) == 8


def test_a_grid_has_every_combination_once():
    text = """
        method: {kind: grid}
        parameters:
          optimizer.lr: {low: 1e-4, high: 1e-2, log: true, points: 3}
          network.width: {low: 4, high: 7, integer: true, points: 9}
          loss.kind: [dice, focal]
    """
    values = draw(space(text))
    assert len(values) == 3 * 4 * 2
    assert {item["optimizer.lr"] for item in values} == {1e-4, 1e-3, 1e-2}
    assert {item["network.width"] for item in values} == {4, 5, 6, 7}
    assert len({str(item) for item in values}) == 24


def test_a_kind_is_set_before_its_fields():
    values = {"loss.alpha": 0.1, "optimizer.lr": 1e-5, "loss.kind": "tversky", "batch": None}
    changed = DENSE.with_overrides(assignments(values))
    assert changed.loss.kind == "tversky"
    assert changed.loss.alpha == 0.1
    assert changed.optimizer.lr == 1e-5
    assert changed.batch is None


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"optimiser.lr": [1e-3]}, "There is no field group 'optimiser'. Known here: accumulate"),
        ({"optimizer.lrr": [1e-3]}, "parameters.optimizer.lrr: There is no field 'optimizer.lrr'"),
        ({"optimizer.lr": {"low": 1e-3, "high": 5}}, "less than or equal to 1 (given: 5.0)"),
        ({"network.width": {"low": 8, "high": 32}}, "For whole numbers set integer: true."),
        ({"loss.kind": ["tverski"]}, "'tverski'"),
        ({"loss.kind": ["dice", "tversky"], "loss.alpha": [0.1]}, "(with loss.kind=dice)"),
        ({"split.val_fraction": [0.1, 0.2]}, "scored on different samples"),
        ({"stop.metric": ["f1"]}, "set `metric` of the sweep"),
        ({"optimizer.lr": {"low": 1e-2, "high": 1e-3}}, "low (0.01) must be below high (0.001)"),
        ({"augment.flip": {"low": 0, "high": 1, "log": True}}, "with log, low must be above 0"),
        ({"epochs": {"low": 2}}, "high: Field required"),
        ({"epochs": [2, 2]}, "2 is there twice"),
        ({"epochs": [2, 3]}, "There are only 2 different trials, and 16 are asked for."),
        ({}, "parameters"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, parameters: dict[str, Any], message: str
):
    with pytest.raises(ConfigError) as caught:
        begin(tmp_path / "sweep", space(parameters=parameters), DENSE, "space.yaml")
    assert message in str(caught.value)
    assert "space.yaml" in str(caught.value)
    assert not (tmp_path / "sweep").exists()


def test_a_range_in_a_grid_needs_points():
    with pytest.raises(ConfigError, match=r"how many points optimizer.lr has: set points"):
        space(method={"kind": "grid"})


def test_a_grid_that_nobody_can_train_is_refused():
    choices = [0.001 * (at + 1) for at in range(150)]
    with pytest.raises(ConfigError, match="The grid has 22,500 trials; at most 10,000 are allowed"):
        planned(
            space(method={"kind": "grid"}, parameters={"optimizer.lr": choices, "augment.flip": choices}), DENSE, ""
        )


def test_a_plan_is_written_once_and_only_continued_by_the_same_sweep(tmp_path: Path):
    sweep = begun(tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert {path.name for path in written} == {files.SWEEP, "1.json"}
    assert begun(tmp_path).trials == sweep.trials
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.json")} == written
    with pytest.raises(RunError, match=r"Was begun with another space \(differs in seed\)"):
        begun(tmp_path, seed=1)
    with pytest.raises(RunError, match=r"Was begun with another configuration \(differs in epochs\)"):
        begin(tmp_path, space(), DENSE.replace(epochs=3), "space.yaml")
    with pytest.raises(InputError, match="There is no trial 17"):
        sweep.trial(17)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path):
    (tmp_path / files.CONFIG).touch()
    with pytest.raises(InputError, match="of something else, so that a sweep cannot be written there"):
        begun(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [files.CONFIG]


def test_the_metric_of_the_sweep_decides_within_a_trial_too(tmp_path: Path):
    sweep = begun(tmp_path)
    assert sweep.metric == "f1"
    assert sweep.configured(sweep.trials[0]).stop.metric == "f1"
    other = begun(tmp_path / "other", SPACE.replace("metric: f1", ""))
    assert other.metric == DENSE.stop.metric


def test_the_example_of_the_documentation_can_be_swept():
    path = Path(__file__).parents[2] / "docs" / "sweep.yaml"
    assert len(planned(SweepConfig.from_file(path), DENSE, path).trials) == 4
