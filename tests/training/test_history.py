"""The history is read back as it was written, and a damaged one is said to be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from beadseg.config import METRICS, TrainConfig
from beadseg.errors import RunError
from beadseg.training.records import HISTORY_COLUMNS, gain, read_history, score_name, write_rows
from beadseg.training.run import Run


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "step": 10, "train_loss": 0.1}, {"epoch": 2, "step": 20, "train_loss": 1 / 3, "val_loss": 2.5}]
    write_rows(tmp_path / "history.csv", rows, ("epoch", "step", "train_loss", "val_loss"))
    assert read_history(tmp_path / "history.csv") == rows


@pytest.mark.parametrize("content", [b"epoch,step\none,2\n", b"epoch,step\n1,2,3\n", b"\xff\xfe\x00"])
def test_damage_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"history\.csv: The history cannot be read"):
        read_history(path)


def test_a_missing_history_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No history"):
        read_history(tmp_path / "history.csv")


@pytest.mark.parametrize(
    ("metric", "better", "worse"), [("f1", 0.9, 0.8), ("count_mae", 1.0, 2.0), ("count_bias", -1.0, 2.0)]
)
def test_gain_is_more_where_a_score_is_better(metric: str, better: float, worse: float) -> None:
    assert gain(metric, better) > gain(metric, worse)


@pytest.mark.parametrize("metric", METRICS)
def test_every_score_has_a_name_and_a_column(metric: str) -> None:
    assert score_name(metric)
    assert f"val_{metric}" in HISTORY_COLUMNS


def test_the_best_epoch_of_a_run_follows_the_configured_score(tmp_path: Path) -> None:
    values = {"epoch": [1, 2, 3], "step": [1, 2, 3], "val_f1": [0.5, 0.9, 0.7], "val_count_bias": [4.0, -3.0, -0.5]}
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    write_rows(tmp_path / "history.csv", rows, tuple(values))
    for metric, epoch in (("f1", 2), ("count_bias", 3)):
        config = TrainConfig.preset("dense", "unet").with_overrides([f"stop.metric={metric}"])
        (tmp_path / "config.yaml").write_text(config.to_yaml())
        assert Run(tmp_path).best["epoch"] == epoch
