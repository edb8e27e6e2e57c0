from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import InputError, RunError
from beadseg.report.compare import (
    PER_TABLE,
    Comparison,
    Point,
    compare,
    comparison_figure,
    distinct_names,
    draw_comparison,
)
from beadseg.training.run import train

TINY = ["epochs=2", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=8", "network.depth=3", "precision=fp32"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs that differ in their learning rate."""
    root = tmp_path_factory.mktemp("runs")
    scene = SceneConfig(height=96, width=96, beads=25, debris=0)
    write_dataset(root / "beads", SeriesConfig(scene=scene, tiles=4, dilutions=(320,), fields=2, seed=3))
    dataset = Dataset.open(root / "beads")
    for name, rate in (("fast", "1e-2"), ("slow", "1e-3")):
        config = TrainConfig.preset("dense", "unet").with_overrides([*TINY, f"optimizer.lr={rate}"])
        train(dataset, config, root / "all" / name, device="cpu")
    return root / "all"


def many(comparison: Comparison, count: int) -> Comparison:
    """So many copies of the first run, with learning rates and curves of their own."""
    first = comparison.columns[0]
    columns = tuple(
        first.model_copy(
            update={
                "name": f"run {index}",
                "settings": {**first.settings, "Learning rate": f"{index}e-4"},
                "curve": tuple(Point(epoch=e, step=9 * e, jaccard=0.02 * index + 0.01 * e) for e in range(1, 6)),
            }
        )
        for index in range(count)
    )
    return Comparison(columns=columns, failures=())


def rows(text: str) -> dict[str, list[str]]:
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in cells}


def test_runs_stand_side_by_side_with_what_differs(runs: Path) -> None:
    comparison = compare([str(runs / "slow"), str(runs / "fast")])
    table = rows(comparison.text())
    assert table["Hyperparameter"] == ["slow", "fast", ""]
    assert table["Learning rate"] == ["1e-3", "1e-2", "differs"]
    assert table["Batch size"] == ["2", "2", "same"]
    assert table["Image size"][0].startswith("64")
    assert table["Max epochs"] == ["2", "2", "same"]
    assert table["Optimizer steps"] == ["4", "4", ""]
    assert table["Noticed"][0].startswith("few-steps")


def test_measured_values_are_those_of_the_run_folder(runs: Path) -> None:
    column = compare([str(runs / "fast")]).columns[0]
    history = pd.read_csv(runs / "fast" / "history.csv")
    best = history.loc[history["val_jaccard_images"].idxmax()]
    assert column.measured["Best epoch"] == str(int(best["epoch"]))
    assert column.measured["Best val Jaccard"] == f"{best['val_jaccard_images']:.4f}"
    assert column.measured["Pooled, best epoch"] == f"{best['val_jaccard_pooled']:.4f}"
    last = history.iloc[-1]
    assert column.measured["Final val Jaccard"] == f"{last['val_jaccard_images']:.4f}"
    gap = last["train_jaccard_images"] - last["val_jaccard_images"]
    assert column.measured["Gap to training, final"] == f"{gap:+.4f}"
    assert [point.jaccard for point in column.curve] == history["val_jaccard_images"].tolist()
    judged = json.loads((runs / "fast" / "criteria.json").read_text("utf-8"))["criteria"]
    held = next(item for item in judged if item["name"] == "no validation collapse")
    assert column.verdicts["no validation collapse"] == f"{held['verdict']} ({held['measured']:.3f})"


def test_a_folder_of_runs_gives_all_of_them_once(runs: Path) -> None:
    comparison = compare([str(runs), str(runs / "slow")])
    assert [column.name for column in comparison.columns] == ["fast", "slow"]


def test_presets_have_the_laboratorys_settings() -> None:
    table = rows(compare(["mitochondria", "microbeads"]).text())
    assert table["Hyperparameter"] == ["preset mitochondria", "preset microbeads", ""]
    assert table["Learning rate"] == ["1e-3 (unet), 1e-4 (others)", "1e-4", "differs"]
    assert table["Dropout"] == ["0", "0.3", "differs"]
    assert table["Loss function"] == ["Focal (gamma=2)", "Dice", "differs"]
    assert table["Train/val split"] == ["random 90/10", "stratified 85/15", "differs"]
    assert table["Optimizer"] == ["Adam", "Adam", "same"]
    assert table["Early stopping"] == ["20 epochs", "20 epochs", "same"]
    assert "Best val Jaccard" not in table


def test_what_is_no_run_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="Neither a run folder nor a preset"):
        compare([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="Holds no run"):
        compare([str(tmp_path / "empty")])


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.yaml", "epochs: many"), ("history.csv", "epoch,step\n1,none\n"), ("criteria.json", "{")],
)
def test_a_damaged_run_is_left_out_by_name(runs: Path, tmp_path: Path, name: str, content: str) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(runs / "slow", damaged)
    (damaged / name).write_text(content)
    comparison = compare([str(damaged), str(runs / "fast")])
    assert [column.name for column in comparison.columns] == ["fast"]
    assert len(comparison.failures) == 1
    assert "damaged" in comparison.failures[0]


def test_a_run_without_an_epoch_shows_its_settings(runs: Path, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(runs / "slow", begun)
    for name in ("history.csv", "times.csv", "criteria.json", "diagnosis.json"):
        (begun / name).unlink()
    column = compare([str(begun)]).columns[0]
    assert (column.settings["Learning rate"], column.measured) == ("1e-3", {"Epochs done": "0"})


def test_boxes_fit_the_terminal(runs: Path) -> None:
    comparison = compare([str(runs), "microbeads", "mitochondria"])
    lines = comparison.text(100).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert sum(line.startswith("┌") for line in lines) > 1


def test_many_runs_stand_below_each_other(runs: Path) -> None:
    comparison = many(compare([str(runs)]), PER_TABLE + 4)
    text = comparison.text()
    assert "Batch size: 2" in text.splitlines()[0]
    table = rows(text.split("\n\n")[1])
    assert table["Run"] == ["Learning rate"]
    assert table["run 11"] == ["11e-4"]
    assert rows(text.split("\n\n")[2])["run 3"][0] == "2"
    assert max(len(line) for line in comparison.text(160).splitlines()[1:]) <= 180


def test_written_files(runs: Path, tmp_path: Path) -> None:
    compare([str(runs), "dense"]).write(tmp_path)
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["name"].tolist() == ["fast", "slow", "preset dense"]
    assert table["Learning rate"].tolist() == [1e-2, 1e-3, 2e-3]
    assert "| Learning rate | 1e-2 | 1e-3 | 2e-3 | differs |" in (tmp_path / "comparison.md").read_text("utf-8")


@pytest.mark.parametrize("count", [1, 14])
def test_the_figure_has_every_curve_and_the_band(runs: Path, tmp_path: Path, count: int) -> None:
    comparison = many(compare([str(runs)]), count)
    by_epoch, by_step = comparison_figure(comparison).axes
    assert len(by_epoch.lines) == len(by_step.lines) == count
    assert by_epoch.lines[0].get_ydata().tolist() == [point.jaccard for point in comparison.columns[0].curve]
    assert by_step.lines[0].get_xdata().tolist() == [9, 18, 27, 36, 45]
    band = by_epoch.collections[0].get_paths()[0].vertices
    assert sorted({y for x, y in band.tolist() if x == 1}) == [0.30, 0.35]
    styles = {(line.get_color(), line.get_linestyle()) for line in by_epoch.lines}
    assert len(styles) == count
    assert len(np.unique(iio.imread(draw_comparison(comparison, tmp_path / "comparison.png")))) > 50


def test_presets_alone_have_no_curves() -> None:
    with pytest.raises(InputError, match="No run has a validation score"):
        comparison_figure(compare(["dense"]))


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    one, other, third = tmp_path / "a" / "unet", tmp_path / "b" / "unet", tmp_path / "c"
    assert list(distinct_names([one, other, third]).values()) == ["a/unet", "b/unet", "c"]
