"""The page of an evaluation, from hand-made predictions: complete, escaped, honest about what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from page_reader import ReadPage, read

from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.measure.evaluation import Evaluation, evaluate
from beadseg.report.evaluation_page import MOST_SAMPLES, sample_section, worst_middle_best, write_evaluation_page
from beadseg.report.html import Page

HOSTILE = "<img src=x onerror=alert(1)> & $b$_grid_r0_c0"


def beads(count: int) -> np.ndarray:
    labels = np.zeros((24, 90), np.uint32)
    for index in range(count):
        labels[4 + 8 * (index % 2) : 9 + 8 * (index % 2), 2 + 7 * index : 7 + 7 * index] = index + 1
    return labels


def make(root: Path, counts: dict[str, tuple[int, int]], *, ids: bool = True) -> tuple[Path, Dataset, Evaluation]:
    """Write a dataset and predictions with so many (true, found) beads; return the evaluation folder and all else."""
    data, predictions = root / "data", root / "predictions"
    for folder in (data / "images", data / ("labels" if ids else "masks"), predictions / "labels"):
        folder.mkdir(parents=True)
    for name, (true, found) in counts.items():
        iio.imwrite(data / "images" / f"{name}.png", np.full((24, 90), 128, np.uint8))
        if ids:
            tifffile.imwrite(data / "labels" / f"{name}.tif", beads(true))
        else:
            iio.imwrite(data / "masks" / f"{name}.png", ((beads(true) > 0) * 255).astype(np.uint8))
        tifffile.imwrite(predictions / "labels" / f"{name}.tif", beads(found))
    dataset = Dataset.open(data)
    evaluation = evaluate(predictions, dataset)
    evaluation.write(predictions / "evaluation")
    return predictions / "evaluation", dataset, evaluation


def page_of(folder: Path, evaluation: Evaluation, dataset: Dataset | None = None) -> ReadPage:
    return read(write_evaluation_page(folder, evaluation, dataset).read_text(encoding="utf-8"))


def samples_of(folder: Path, evaluation: Evaluation, dataset: Dataset | None = None) -> ReadPage:
    return read(Page("t", "k", sections=(sample_section(evaluation, folder, dataset),)).render())


def test_a_page_says_everything_and_escapes_names(tmp_path: Path) -> None:
    counts = {HOSTILE: (5, 4), "b_grid_r0_c0": (3, 3), "c_grid_r0_c0": (8, 9)}
    folder, dataset, evaluation = make(tmp_path, counts)
    page = page_of(folder, evaluation, dataset)
    assert page.tags.count("img") == 3
    assert HOSTILE in page.text
    assert "16 beads counted where 16 are true (+0.0%)" in page.text
    assert "4 hits, 1 miss, 0 false alarms" in page.text
    assert "3 of 3" in page.text
    assert "What could not be scored" not in page.text
    assert {path.name for path in (folder / files.REPORT).iterdir()} == {
        "scores.png", "counts.png", "density.png", "agreement.png",
    }  # fmt: skip


def test_bland_altman_numbers_are_in_the_table(tmp_path: Path) -> None:
    folder, dataset, evaluation = make(tmp_path, {"a": (1, 2), "b": (3, 3), "c": (12, 9)}, ids=False)
    text = page_of(folder, evaluation, dataset).text
    # Differences 1, 0, -3: mean -2/3, standard deviation 2.0817.
    assert "\N{MINUS SIGN}0.667 (" in text
    assert "3.41 (" in text
    assert "\N{MINUS SIGN}4.75 (" in text
    assert "predicted / true" in text
    assert "The truth of 3 images is a mask without ids" in text


def test_one_image_has_no_limits_of_agreement(tmp_path: Path) -> None:
    folder, dataset, evaluation = make(tmp_path, {"a": (2, 2)})
    page = page_of(folder, evaluation, dataset)
    assert "Limits of agreement need at least two images." in page.text
    assert page.tags.count("img") == 1


def test_images_without_any_bead(tmp_path: Path) -> None:
    folder, dataset, evaluation = make(tmp_path, {"a": (0, 0), "b": (0, 0)})
    page = page_of(folder, evaluation, dataset)
    assert "0 beads counted where 0 are true;" in page.text
    assert "0 hits, 0 misses, 0 false alarms" in page.text


def test_nothing_scored_still_has_a_page_with_the_reasons(tmp_path: Path) -> None:
    folder, dataset, _ = make(tmp_path, {"a": (2, 2)})
    for path in (tmp_path / "predictions" / "labels").iterdir():
        path.rename(path.with_name("z<b>.tif"))
    evaluation = evaluate(tmp_path / "predictions", dataset)
    page = page_of(folder, evaluation, dataset)
    assert "No sample could be scored." in page.text
    assert "1 of 1 sample could not be scored." in page.text
    assert "z<b>: Predicted, but the dataset has no such sample" in page.text


def test_what_changed_since_is_not_shown_as_if_it_had_not(tmp_path: Path) -> None:
    folder, _, evaluation = make(tmp_path, {"a": (2, 2), "b": (3, 3)})
    tifffile.imwrite(tmp_path / "predictions" / "labels" / "a.tif", beads(5))
    page = samples_of(folder, evaluation)
    assert page.tags.count("img") == 1
    assert "a: The image, its annotation or its prediction has changed since then." in page.text


def test_a_dataset_that_is_gone_leaves_out_the_pictures_only(tmp_path: Path) -> None:
    folder, _, evaluation = make(tmp_path, {"a": (2, 2)})
    shutil.rmtree(tmp_path / "data")
    page = samples_of(folder, evaluation)
    assert page.tags.count("img") == 0
    assert "Left out, because the images or predictions are missing" in page.text


def test_predictions_that_were_moved_are_found_around_the_evaluation(tmp_path: Path) -> None:
    _, dataset, evaluation = make(tmp_path, {"a": (2, 2)})
    moved = (tmp_path / "predictions").rename(tmp_path / "moved")
    assert samples_of(moved / "evaluation", evaluation, dataset).tags.count("img") == 1


@pytest.mark.parametrize("number", [1, MOST_SAMPLES, 30])
def test_worst_middle_and_best_are_chosen(tmp_path: Path, number: int) -> None:
    _, _, evaluation = make(tmp_path, {f"i{n}": (12, n % 13) for n in range(number)})
    scores = [image.f1 for image in worst_middle_best(evaluation.images)]
    everything = sorted(image.f1 for image in evaluation.images)
    assert len(scores) == min(number, MOST_SAMPLES)
    assert scores == sorted(scores)
    assert (scores[0], scores[-1]) == (everything[0], everything[-1])
