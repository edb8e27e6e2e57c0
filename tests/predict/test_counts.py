"""The two counts and the intervals of ``counts.csv``: there for the choices that were calibrated, else empty."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg import files
from beadseg.config.predict import ObjectConfig
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import RunError
from beadseg.measure.calibration import Calibration, KnownImage, combined, poisson_interval
from beadseg.predict import Segmenter
from beadseg.predict.batch import predict_folder
from beadseg.predict.prediction import StoredMaps

SIDE = 128


def calibrated(segmenter: Segmenter, bead_area: float) -> Calibration:
    """Return a calibration of a model that misses a bead in a hundred and sees `bead_area` px² of each."""
    rng = np.random.default_rng(0)
    images = []
    for true in rng.poisson(np.resize([5, 15, 40, 80], 24)):
        misses = int(rng.binomial(true, 0.01))
        images.append(KnownImage(SIDE * SIDE, int(true) - misses, misses, 0, float(bead_area * true)))
    return Calibration.of(segmenter.options.objects, "validation", 24, images)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    scene = simulate(SceneConfig(height=SIDE, width=SIDE, beads=30, channels="grey", debris=0), 4)
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, scene.image, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    return path


def area_per_bead(segmenter: Segmenter, image: Path) -> float:
    prediction = segmenter.predict(iio.imread(image))
    return prediction.integral / prediction.count


def row_of(folder: Path) -> pd.Series:
    return pd.read_csv(folder / files.COUNTS).iloc[0]


def test_both_counts_and_all_intervals_are_written(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    segmenter.calibration = calibrated(segmenter, area_per_bead(segmenter, image))
    predict_folder(segmenter, [image], tmp_path / "out")
    row = row_of(tmp_path / "out")
    low, high = segmenter.calibration.interval(row["beads"], SIDE * SIDE)
    assert (row["beads_low"], row["beads_high"]) == (low, high)
    assert low < row["beads"] < high
    assert row["beads_integral"] == pytest.approx(row["beads"], rel=0.1)
    area = (SIDE * 0.5) ** 2 / 1e6
    assert row["pixel_size_um"] == 0.5
    assert row["beads_per_mm2"] == pytest.approx(row["beads"] / area, rel=1e-4)
    assert row["beads_per_mm2_low"] == pytest.approx(low / area, rel=1e-4)
    total = combined(row["beads"], (low, high), poisson_interval(row["beads"]))
    assert row["beads_per_mm2_total_low"] == pytest.approx(total[0] / area, rel=1e-4)
    assert row["beads_per_mpx_total_high"] == pytest.approx(total[1] / SIDE**2 * 1e6, rel=1e-4)
    assert row["beads_per_mpx_total_low"] < row["beads_per_mpx_low"] < row["beads_per_mpx"] < row["beads_per_mpx_high"]
    assert pd.isna(row["flags"])


def test_counts_that_disagree_are_flagged(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    segmenter.calibration = calibrated(segmenter, 0.5 * area_per_bead(segmenter, image))
    result = predict_folder(segmenter, [image], tmp_path / "out")
    assert "two counts disagree" in row_of(tmp_path / "out")["flags"]
    assert len(result.flagged) == 1


def test_other_choices_and_models_without_have_no_interval(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    predict_folder(segmenter, [image], tmp_path / "without")
    segmenter.calibration = calibrated(segmenter, 38.0)
    objects = segmenter.options.objects.replace(threshold=0.6)
    segmenter.options = segmenter.options.replace(objects=objects)
    predict_folder(segmenter, [image], tmp_path / "other")
    for name in ("without", "other"):
        row = row_of(tmp_path / name)
        assert row[["beads_low", "beads_high", "beads_integral", "beads_per_mm2_low"]].isna().all()
        assert row["beads_per_mm2"] > 0


def test_beads_that_do_not_count_keep_the_interval(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    """Of the beads inside an interval is told as of all; the area knows them all, so that no false flag is raised."""
    segmenter.calibration = calibrated(segmenter, area_per_bead(segmenter, image))
    predict_folder(segmenter, [image], tmp_path / "all")
    segmenter.options = segmenter.options.replace(objects=segmenter.options.objects.replace(border="exclude"))
    predict_folder(segmenter, [image], tmp_path / "inner")
    every, inner = row_of(tmp_path / "all"), row_of(tmp_path / "inner")
    assert inner["beads"] < every["beads"]
    assert inner["beads_low"] <= inner["beads"] <= inner["beads_high"] < every["beads_high"]
    assert inner["beads_integral"] == every["beads_integral"]
    assert pd.isna(inner["flags"])


def test_stored_maps_keep_the_calibration(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    segmenter.calibration = calibrated(segmenter, area_per_bead(segmenter, image))
    predict_folder(segmenter, [image], tmp_path / "kept", maps=True, source="run")
    stored = StoredMaps(tmp_path / "kept", "image")
    assert stored.calibration == segmenter.calibration
    predict_folder(stored, [image], tmp_path / "again", source="run")
    assert (tmp_path / "again" / files.COUNTS).read_bytes() == (tmp_path / "kept" / files.COUNTS).read_bytes()
    other = StoredMaps(tmp_path / "kept", "image", ObjectConfig(diameter=7, threshold=0.7))
    predict_folder(other, [image], tmp_path / "other", source="run")
    assert pd.isna(row_of(tmp_path / "other")["beads_low"])


def test_a_damaged_calibration_is_one_clear_error(segmenter: Segmenter, image: Path, tmp_path: Path) -> None:
    predict_folder(segmenter, [image], tmp_path / "kept", maps=True, source="run")
    path = tmp_path / "kept" / files.PREDICTION
    path.write_text(json.dumps({**json.loads(path.read_text()), "calibration": {"schema_version": 9}}))
    with pytest.raises(RunError, match="calibration of another version"):
        _ = StoredMaps(tmp_path / "kept", "image").calibration
