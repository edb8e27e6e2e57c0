from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg.data.dataset import Dataset, Sample
from beadseg.data.scan import Problem
from beadseg.errors import Cancelled, InputError
from beadseg.events import Event, StopFlag
from beadseg.measure.beads import bead_table
from beadseg.measure.evaluation import Evaluation, evaluate

if TYPE_CHECKING:
    from pathlib import Path


def beads(count: int) -> np.ndarray:
    """A plane with `count` beads of 4x4 px in a row, numbered."""
    labels = np.zeros((12, 64), np.uint32)
    for index in range(count):
        labels[4:8, 2 + 6 * index : 6 + 6 * index] = index + 1
    return labels


def write(folder: Path, name: str, array: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if path.suffix == ".png":
        iio.imwrite(path, array)
    else:
        tifffile.imwrite(path, array, metadata={"axes": "TYX"[-array.ndim :]})
    return path


def sample(root: Path, name: str, labels: np.ndarray, field: str, instances: bool = True) -> Sample:
    image = write(root / "images", f"{name}.tif", np.zeros(labels.shape, np.uint8))
    if instances:
        mask = write(root / "labels", f"{name}.tif", labels)
    else:
        mask = write(root / "masks", f"{name}.tif", ((labels > 0) * 255).astype(np.uint8))
    return Sample(name, image, mask, None, field, has_labels=instances)


def predict(root: Path, name: str, labels: np.ndarray, kinds: str = "ml") -> None:
    mask = ((labels > 0) * 255).astype(np.uint8)
    if "m" in kinds:
        write(root / "masks", f"{name}.png" if mask.ndim == 2 else f"{name}.tif", mask)
    if "l" in kinds:
        write(root / "labels", f"{name}.tif", labels)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    root = tmp_path / "data"
    samples = (
        sample(root, "a1", beads(4), "a"),
        sample(root, "a2", beads(8), "a"),
        sample(root, "b1", beads(2), "b", instances=False),
    )
    return Dataset(root, samples)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    root = tmp_path / "predictions"
    predict(root, "a1", beads(5))
    predict(root, "a2", beads(6))
    predict(root, "b1", beads(2))
    return root


def test_scores_by_hand(predictions: Path, dataset: Dataset) -> None:
    evaluation = evaluate(predictions, dataset)
    assert evaluation.failures == ()
    assert [image.jaccard for image in evaluation.images] == [0.8, 0.75, 1.0]
    assert [image.count_error for image in evaluation.images] == [1, -2, 0]
    overall = evaluation.overall
    assert overall.jaccard_images == pytest.approx(0.85)
    assert overall.jaccard_fields == pytest.approx((0.775 + 1) / 2)
    assert overall.jaccard_pooled == pytest.approx((4 + 6 + 2) / (5 + 8 + 2))
    assert (overall.true_count, overall.predicted_count, overall.mae) == (14, 13, 1.0)
    assert [group.group for group in evaluation.by("field")] == ["a", "b"]


def test_predictions_equal_to_the_truth_are_perfect(tmp_path: Path, dataset: Dataset) -> None:
    for name, count in (("a1", 4), ("a2", 8), ("b1", 2)):
        predict(tmp_path / "same", name, beads(count))
    overall = evaluate(tmp_path / "same", dataset).overall
    assert (overall.jaccard_images, overall.dice_pooled, overall.f1, overall.mean_ap, overall.mae) == (1, 1, 1, 1, 0)


@pytest.mark.parametrize("kinds", ["m", "l"])
def test_masks_or_labels_alone_are_enough(tmp_path: Path, dataset: Dataset, predictions: Path, kinds: str) -> None:
    for name, count in (("a1", 5), ("a2", 6), ("b1", 2)):
        predict(tmp_path / "alone", name, beads(count), kinds)
    assert evaluate(tmp_path / "alone", dataset).images == evaluate(predictions, dataset).images


def test_a_stack_is_scored_plane_by_plane(tmp_path: Path) -> None:
    stack = np.stack([beads(3), beads(5)])
    dataset = Dataset(tmp_path / "data", (sample(tmp_path / "data", "s", stack, "s"),))
    predict(tmp_path / "p", "s", np.stack([beads(3), beads(4)]))
    images = evaluate(tmp_path / "p", dataset).images
    assert [(image.image, image.true_count, image.predicted_count) for image in images] == [
        ("s_t000", 3, 3),
        ("s_t001", 5, 4),
    ]


def test_what_cannot_be_scored_is_named_and_counted(predictions: Path, dataset: Dataset) -> None:
    for kind in ("masks/a1.png", "labels/a1.tif", "labels/a2.tif"):
        (predictions / kind).unlink()
    write(predictions / "masks", "a2.png", np.zeros((5, 5), np.uint8))
    predict(predictions, "stranger", beads(1))
    told: list[Event] = []
    dataset = Dataset(dataset.root, dataset.samples, (Problem(dataset.root / "images" / "c.png", "Has no mask."),))
    evaluation = evaluate(predictions, dataset, on_event=told.append)
    assert {(failure.kind, failure.name) for failure in evaluation.failures} == {
        ("unpaired", "c.png"),
        ("unknown", "stranger"),
        ("missing", "a1"),
        ("unreadable", "a2"),
    }
    assert (evaluation.samples, evaluation.failed_samples, evaluation.overall.images) == (3, ("a1", "a2"), 1)
    warned = " ".join(event.message for event in told if event.level == "warning")
    assert all(name in warned for name in ("c.png", "stranger", "a1", "a2", "5x5"))


def test_a_damaged_prediction_fails_alone(predictions: Path, dataset: Dataset) -> None:
    (predictions / "labels" / "a2.tif").write_bytes(b"II*\x00 no tiff")
    evaluation = evaluate(predictions, dataset)
    assert evaluation.failed_samples == ("a2",)
    assert len(evaluation.images) == 2


def test_nothing_scored_has_no_overall_score(tmp_path: Path, dataset: Dataset) -> None:
    predict(tmp_path / "other", "stranger", beads(1))
    evaluation = evaluate(tmp_path / "other", dataset)
    assert (evaluation.images, evaluation.groups) == ((), ())
    with pytest.raises(InputError, match="Nothing was scored"):
        evaluation.overall  # noqa: B018


def test_written_files_hold_the_same_scores(tmp_path: Path, predictions: Path, dataset: Dataset) -> None:
    evaluation = evaluate(predictions, dataset)
    evaluation.write(tmp_path / "out")
    read = Evaluation.read(tmp_path / "out")
    assert (read.predictions_relative, read.dataset_relative) == ("../predictions", "../data")
    assert read.replace(predictions_relative="", dataset_relative="") == evaluation
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text("utf-8"))["schema_version"] == 1
    images = pd.read_csv(tmp_path / "out" / "evaluation.csv")
    assert images[["image", "jaccard", "count_error"]].to_numpy().tolist() == [
        ["a1", 0.8, 1],
        ["a2", 0.75, -2],
        ["b1", 1.0, 0],
    ]
    groups = pd.read_csv(tmp_path / "out" / "evaluation_groups.csv")
    assert groups.loc[groups["by"] == "all", "mae"].tolist() == [1.0]
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_failures_file_goes_away_when_nothing_fails_any_more(
    tmp_path: Path, predictions: Path, dataset: Dataset
) -> None:
    predict(predictions, "stranger", beads(1))
    evaluate(predictions, dataset).write(tmp_path / "out")
    assert pd.read_csv(tmp_path / "out" / "failures.csv")["name"].tolist() == ["stranger"]
    (predictions / "masks" / "stranger.png").unlink()
    (predictions / "labels" / "stranger.tif").unlink()
    evaluate(predictions, dataset).write(tmp_path / "out")
    assert not (tmp_path / "out" / "failures.csv").exists()


def test_a_folder_without_predictions_is_refused(tmp_path: Path, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="No such prediction folder"):
        evaluate(tmp_path / "nowhere", dataset)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="Holds no predictions"):
        evaluate(tmp_path / "empty", dataset)


def test_a_wrong_diameter_is_refused(predictions: Path, dataset: Dataset) -> None:
    with pytest.raises(InputError, match="-7"):
        evaluate(predictions, dataset, diameter_px=-7)


def test_stops_when_asked(predictions: Path, dataset: Dataset) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        evaluate(predictions, dataset, stop=stop)


def test_every_iou_threshold_has_its_average_precision(predictions: Path, dataset: Dataset) -> None:
    evaluation = evaluate(predictions, dataset)
    for table in (evaluation.image_table(), evaluation.group_table()):
        columns = [f"ap{percent}" for percent in range(50, 100, 5)]
        assert set(columns) <= set(table.columns)
        falling = table[columns].to_numpy()
        assert (np.diff(falling, axis=1) <= 0).all()
        assert table["mean_ap"].to_numpy() == pytest.approx(falling.mean(axis=1))


def test_points_score_centres_beside_masks_that_score_pixels(tmp_path: Path) -> None:
    root = tmp_path / "data"
    dataset = Dataset(root, (sample(root, "a1", beads(4), "a"), sample(root, "a2", beads(4), "a")))
    centres = bead_table(beads(4))[["y", "x"]]
    for name, table in (("a1", centres[:3]), ("a2", centres)):
        (root / "points").mkdir(exist_ok=True)
        table.to_csv(root / "points" / f"{name}.csv", index=False)
        predict(tmp_path / "p", name, beads(4))
    first = replace(dataset["a1"], mask_path=None, has_labels=False, points_path=root / "points" / "a1.csv")
    both = Dataset(root, (first, dataset["a2"]))
    heard: list[Event] = []
    evaluation = evaluate(tmp_path / "p", both, on_event=heard.append)
    one, two = evaluation.images
    assert (one.jaccard, one.ap50, one.average_precisions[0]) == (None, None, None)
    assert (one.tp, one.fp, one.fn, one.true_count, one.predicted_count) == (3, 1, 0, 3, 4)
    assert (two.jaccard, two.f1) == (1, 1)
    assert evaluation.overall.jaccard_images == 1
    assert evaluation.overall.bias == 0.5
    assert any("The truth of 1 image is points: no Jaccard, Dice or AP there." in event.message for event in heard)
    assert Evaluation.parse(json.loads(evaluation.model_dump_json())) == evaluation
    (root / "points" / "a1.csv").write_text("y,x\n", encoding="utf-8")
    assert evaluate(tmp_path / "p", both).images[0].fp == 4
