"""Images are resampled so that beads have the size that the network knows; results are in the image's own pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from predict_helpers import FINGERPRINT, Darkness
from scipy.spatial import cKDTree

from beadseg import files
from beadseg.cli.predict import changes_of
from beadseg.config import TilingConfig, TrainConfig
from beadseg.data.simulate import Scene, SceneConfig, simulate
from beadseg.errors import ConfigError
from beadseg.predict.batch import predict_folder
from beadseg.predict.prediction import StoredMaps
from beadseg.predict.segmenter import Segmenter


class Looked(Darkness):
    """Knows centres as what is darkest over several px, and remembers the height of every input."""

    def __init__(self) -> None:
        super().__init__()
        self.heights: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.heights.append(x.shape[-2])
        smooth = x
        for _ in range(3):
            smooth = torch.nn.functional.avg_pool2d(smooth, 5, stride=1, padding=2)
        return torch.cat([super().forward(x), -3.0 * smooth - 2.0], dim=1)


def looking() -> tuple[Segmenter, Looked]:
    config = TrainConfig.preset("dense", "unet").with_overrides(
        ["image.channels.kind=grey", "image.bead_px=8", "predict.objects.diameter=8", "predict.precision=fp32"]
    )
    network = Looked()
    return Segmenter(network, config, FINGERPRINT, torch.device("cpu")), network  # type: ignore[arg-type]


def scene(diameter: float, beads: int = 12) -> Scene:
    side = round(20 * diameter)
    look = SceneConfig(
        height=side, width=side + 13, beads=beads, poisson=False, diameter_px=diameter, cluster_probability=0,
        max_overlap=0, channels="grey", debris=0, read_noise=0.5, shot_noise=0.5, jpeg_quality=None, upscaling=1,
        defocus_px=0.08 * diameter, defocus_spread_px=0, tilt_px=0, contrast_spread=0, halo=0,
    )  # fmt: skip
    return simulate(look, 3)


@pytest.mark.parametrize("diameter", [4, 8, 24, 40])
def test_positions_areas_and_labels_are_in_the_pixels_of_the_image(diameter: int):
    known = scene(diameter)
    segmenter, network = looking()
    found = segmenter.predict(known.image, diameter_px=diameter)
    assert network.heights[-1] == pytest.approx(known.image.shape[0] * 8 / diameter, abs=16)
    assert found.labels.shape == known.image.shape
    assert found.diameter == diameter
    assert found.count == len(known.beads)
    far = cKDTree(found.beads[["y", "x"]]).query(known.beads[["y", "x"]])[0]
    assert far.max() < 0.25 * diameter
    assert found.beads["area_px"].sum() == pytest.approx(known.beads["visible_area"].sum(), rel=0.3)


def test_an_image_and_its_enlargement_count_the_same_with_the_same_intervals(tmp_path: Path):
    known = scene(8)
    segmenter, _ = looking()
    plain = segmenter.predict(known.image)
    large = segmenter.predict(known.image.repeat(3, 0).repeat(3, 1), diameter_px=24)
    assert large.count == plain.count
    assert large.seen_pixels == pytest.approx(plain.seen_pixels)
    assert large.integral == pytest.approx(plain.integral, rel=0.1)


def test_many_rows_are_enlarged_band_by_band_with_the_same_result():
    known = scene(4, 20)
    segmenter, network = looking()
    whole = segmenter.predict(known.image, diameter_px=4)
    before = len(network.heights)
    segmenter.options = segmenter.options.replace(tiling=TilingConfig(whole_image_pixels=4096, tile=64))
    bands = segmenter.predict(known.image, diameter_px=4)
    assert len(network.heights) > before + 10
    assert bands.count == whole.count
    assert (bands.labels > 0).sum() == pytest.approx((whole.labels > 0).sum(), rel=0.01)


def test_counts_tell_the_diameter_and_stored_maps_keep_it(tmp_path: Path):
    known = scene(24)
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, known.image)
    segmenter, _ = looking()
    segmenter.options = segmenter.options.with_overrides(changes_of(None, "24"))
    out = tmp_path / "out"
    counts = predict_folder(segmenter, [path], out, maps=True).counts
    assert counts["diameter_px"].tolist() == [24.0]
    assert json.loads((out / files.PREDICTION).read_text())["options"]["size"]["diameter"] == 24
    again = predict_folder(StoredMaps(out, "large"), [path], tmp_path / "again").counts
    pd.testing.assert_frame_equal(again, counts)
    first, second = (tifffile.imread(folder / files.LABELS / "large.tif") for folder in (out, tmp_path / "again"))
    np.testing.assert_array_equal(first, second)


def test_a_diameter_in_micrometres_needs_the_pixel_size(tmp_path: Path):
    known = scene(24)
    for name, size in (("told", {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}), ("silent", {})):
        tifffile.imwrite(tmp_path / f"{name}.tif", known.image, **size)
    segmenter, _ = looking()
    segmenter.options = segmenter.options.with_overrides(changes_of(None, "12um"))
    result = predict_folder(segmenter, [tmp_path / "told.tif", tmp_path / "silent.tif"], tmp_path / "out")
    assert result.counts["diameter_px"].tolist() == [24.0]
    assert "does not tell its pixel size" in result.failures["error"].iloc[0]


def test_a_diameter_outside_the_range_of_the_model_is_flagged(tmp_path: Path):
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, scene(8).image)
    segmenter, _ = looking()
    segmenter.options = segmenter.options.with_overrides(changes_of(None, "200px"))
    result = predict_folder(segmenter, [path], tmp_path / "out")
    assert "outside the range of 3 to 150 px" in result.flagged["flags"].iloc[0]


@pytest.mark.parametrize(
    ("text", "diameter", "unit"),
    [("7", 7.0, "px"), ("7.5px", 7.5, "px"), ("3um", 3.0, "um"), (" .5 µm", 0.5, "um"), ("3 μm", 3.0, "um")],
)
def test_diameters_are_read_with_their_unit(text: str, diameter: float, unit: str):
    options = TrainConfig().predict.with_overrides(changes_of(["objects.threshold=0.4"], text))
    assert (options.size.diameter, options.size.unit) == (diameter, unit)
    assert options.objects.threshold == 0.4


@pytest.mark.parametrize("text", ["", "0", "-3", "seven", "7mm", "nan", "inf", "7 8"])
def test_what_is_not_a_diameter_is_refused(text: str):
    with pytest.raises(ConfigError, match="not a bead diameter"):
        changes_of(None, text)


@pytest.mark.parametrize("shape", [(100, 700), (700, 100), (40, 2000), (101, 333)])
def test_the_size_is_looked_for_in_long_and_narrow_images(shape: tuple[int, int]):
    plane = np.random.default_rng(0).normal(100, 3, (1, *shape)).astype(np.float32)
    size = Segmenter.load("general").size(plane)
    assert size.diameter is None or 3 <= size.diameter <= 150


def test_a_table_of_an_earlier_version_is_added_to(tmp_path: Path):
    for name in ("first", "second"):
        tifffile.imwrite(tmp_path / f"{name}.tif", scene(8).image)
    segmenter, _ = looking()
    out = tmp_path / "out"
    predict_folder(segmenter, [tmp_path / "first.tif"], out)
    earlier = pd.read_csv(out / files.COUNTS, dtype=str, keep_default_na=False).drop(columns="diameter_px")
    earlier.to_csv(out / files.COUNTS, index=False)
    predict_folder(segmenter, [tmp_path / "second.tif"], out)
    table = pd.read_csv(out / files.COUNTS, dtype=str, keep_default_na=False).set_index("image")
    assert table["diameter_px"].to_dict() == {"first": "", "second": "8.0"}
