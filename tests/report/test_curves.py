from __future__ import annotations

from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.report.figure import curves_figure, draw_curves

if TYPE_CHECKING:
    from pathlib import Path


def history(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "lr": 1e-3 / epoch,
            "train_loss": 1 / epoch,
            "val_loss": 2 / epoch,
            "train_jaccard_images": "",
            "val_jaccard_images": 0.7 - 0.05 * abs(epoch - 3),
            "val_jaccard_pooled": 0.5,
        }
        for epoch in range(1, epochs + 1)
    ]


def drawn(figure: Any, panel: int) -> dict[str, list[float]]:
    return {line.get_label(): line.get_ydata().tolist() for line in figure.axes[panel].lines}


def test_curves_hold_the_history() -> None:
    figure = curves_figure(history(4))
    assert drawn(figure, 0)["training"] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])
    assert drawn(figure, 0)["validation"] == pytest.approx([2, 1, 2 / 3, 1 / 2])
    assert drawn(figure, 1)["validation, mean over images"] == pytest.approx([0.6, 0.65, 0.7, 0.65])
    assert figure.axes[1].get_title() == "Jaccard: best 0.700 in epoch 3"


def test_empty_and_missing_columns_are_left_out() -> None:
    lines = drawn(curves_figure(history(4)), 1)
    assert set(lines) == {"validation, mean over images", "validation, pooled"}


def test_scores_of_every_second_epoch_are_joined() -> None:
    rows = history(6)
    for row in rows[1::2]:
        row["train_jaccard_images"] = 0.8
    assert drawn(curves_figure(rows), 1)["training, mean over images"] == [0.8, 0.8, 0.8]


def test_a_loss_that_is_not_finite_leaves_a_gap() -> None:
    rows = history(3)
    rows[1]["train_loss"] = float("nan")
    rows[2]["train_loss"] = "inf"
    assert np.isfinite(drawn(curves_figure(rows), 0)["training"]).tolist() == [True, False, False]


def test_the_laboratorys_band_is_drawn() -> None:
    band = curves_figure(history(50)).axes[1].collections[0].get_paths()[0].vertices
    assert sorted({y for x, y in band.tolist() if x == 1}) == [0.30, 0.35]
    assert sorted({y for x, y in band.tolist() if x == 40}) == [0.60, 0.70]


def test_values_read_from_a_csv_as_text_are_drawn_as_numbers() -> None:
    rows = [{name: str(value) for name, value in row.items()} for row in history(3)]
    assert drawn(curves_figure(rows), 0) == drawn(curves_figure(history(3)), 0)


@pytest.mark.parametrize("epochs", [1, 100])
def test_png_is_written(tmp_path: Path, epochs: int) -> None:
    path = draw_curves(history(epochs), tmp_path / "report" / "curves.png")
    picture = iio.imread(path)
    assert picture.shape[1] > picture.shape[0] > 300
    assert len(np.unique(picture)) > 50


def test_no_epoch_is_refused() -> None:
    with pytest.raises(InputError, match="no epoch"):
        curves_figure([])
