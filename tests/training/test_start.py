"""Training starts from the general model, from another run, or from nothing; beads are brought to the size it knows."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile
import torch

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.fingerprint import fingerprint
from beadseg.data.scan import sha256_of
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.data.split import Split
from beadseg.errors import ConfigError, RunError
from beadseg.model.checkpoint import general_file, load_checkpoint, read_meta, without_prefix
from beadseg.model.networks import build_network
from beadseg.predict.segmenter import Segmenter
from beadseg.training import train
from beadseg.training.prepare import plan
from beadseg.training.trainer import start_weights

if TYPE_CHECKING:
    from beadseg.predict.prediction import Prediction

QUICK = ["epochs=1", "epoch.steps=2", "epoch.size=64", "batch=2", "precision=fp32", "tune=false", "optimizer.lr=1e-5"]


def started(*changes: str) -> TrainConfig:
    return TrainConfig.preset("dense", "half-unet").with_overrides([*QUICK, *changes])


def test_the_presets_of_the_laboratory_start_from_nothing():
    for preset in ("microbeads", "mitochondria"):
        assert TrainConfig.preset(preset).start_from == "none"
    assert TrainConfig.preset("dense", "half-unet").start_from == "general"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_starts_with_the_weights_of_the_general_model(channels: int):
    torch.manual_seed(0)
    network = build_network(started().network, channels)
    assert start_weights(network, "general") == {"model": "general", "sha256": sha256_of(general_file())}
    torch.manual_seed(0)
    general = build_network(started().network, 1)
    general.load_state_dict(load_checkpoint(general_file())[0])
    grey = torch.rand(1, 1, 64, 64, dtype=torch.float64)  # in fp32 rounding adds up over the network's levels
    with torch.inference_mode():
        same = network.double().eval()(grey.expand(-1, channels, -1, -1)), general.double().eval()(grey)
    torch.testing.assert_close(*same, atol=1e-4, rtol=1e-4)


def test_a_network_of_another_shape_cannot_start_from_it():
    network = build_network(
        TrainConfig.preset("dense", "unet").with_overrides(["network.depth=3", "network.first_stride=1"]).network, 3
    )
    with pytest.raises(ConfigError, match="another shape"):
        start_weights(network, "general")
    with pytest.raises(RunError, match="No such run"):
        start_weights(network, "runs/nowhere")
    assert start_weights(network, "none") == {}


def test_beads_of_another_size_are_planned_to_be_resampled(dataset: Dataset):
    found = fingerprint(dataset)
    alike, _ = plan(started(), found)
    assert alike.image.bead_px is None
    assert alike.predict.size.diameter is None
    huge = found.replace(bead_diameter_px=40.0, height_min=2000, width_min=2000)
    large, reasons = plan(started("epoch.size=null"), huge)
    assert large.image.bead_px == large.predict.objects.diameter == 8
    assert large.predict.size.diameter == 40
    assert large.epoch.size == 128
    assert "size that training starts from" in next(item.reason for item in reasons if item.field == "image.bead_px")
    untouched, _ = plan(started("start_from=none"), huge)
    assert untouched.image.bead_px is None


@pytest.fixture(scope="module")
def large_beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four tiles of beads of 24 px."""
    out = tmp_path_factory.mktemp("start") / "large"
    scene = SceneConfig(
        height=240, width=288, beads=14, poisson=False, diameter_px=24, cluster_probability=0, max_overlap=0, debris=0,
        upscaling=1, defocus_px=2, jpeg_quality=None,
    )  # fmt: skip
    write_dataset(out, SeriesConfig(scene=scene, tiles=4, dilutions=(320,), fields=4, seed=3))
    return out


def test_a_run_that_starts_from_the_general_model_counts_large_beads_in_their_own_pixels(
    large_beads: Path, tmp_path: Path
):
    dataset = Dataset.open(large_beads)
    run = train(dataset, started(), tmp_path / "run")
    meta = read_meta(run.folder / files.BEST)
    assert meta["started_from"] == {"model": "general", "sha256": sha256_of(general_file())}
    assert run.config.start_from == "general"
    segmenter = Segmenter.load(run.folder)
    sample = dataset.samples[0]
    found: Prediction = segmenter.predict(sample.read_image())
    assert found.diameter == pytest.approx(24, abs=1.5)
    assert found.labels.shape == (240, 288)
    assert found.count == pytest.approx(14, abs=1)
    assert found.beads["equivalent_diameter_px"].median() == pytest.approx(24, rel=0.3)
    calibrated = segmenter.calibration
    assert calibrated is not None
    assert calibrated.integral is not None
    assert calibrated.integral.area == pytest.approx(math.pi * 16, rel=0.6)
    again = train(dataset, started("start_from=" + str(run.folder)), tmp_path / "again")
    assert read_meta(again.folder / files.BEST)["started_from"]["model"] == str(run.folder)


def test_a_network_that_wrong_masks_taught_is_moved_back_to_what_it_knew(folder: Path, tmp_path: Path):
    """The masks of the training tiles mark the gaps between the beads; those of the validation tiles are right."""
    wrong = tmp_path / "wrong"
    shutil.copytree(folder, wrong)
    names = sorted(path.stem for path in (wrong / files.IMAGES).iterdir())
    shutil.rmtree(wrong / files.MASKS, ignore_errors=True)
    for name in names[:4]:
        path = wrong / files.LABELS / f"{name}.tif"
        beads = tifffile.imread(path)
        tifffile.imwrite(path, np.roll(beads, beads.shape[0] // 2, axis=0))
    config = started("optimizer.lr=3e-3", "epoch.steps=15", "annotations=trust", "epoch.simulated=0")
    dataset = Dataset.open(wrong)
    run = train(dataset, config, tmp_path / "run", split=Split(tuple(names[:4]), tuple(names[4:])), refit=True)
    tensors, meta = load_checkpoint(run.folder / files.BEST)
    assert meta["way"] < 1
    assert read_meta(run.folder / files.FINAL)["way"] == meta["way"]
    assert "to the trained ones are kept: they score better on the validation images (Jaccard and F1:" in (
        run.folder / files.LOG
    ).read_text(encoding="utf-8")
    trained = without_prefix("average", load_checkpoint(run.folder / files.LAST)[0])
    network = build_network(run.config.network, 3)
    start_weights(network, "general")
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(tensors[name], torch.lerp(value.float(), trained[name].float(), meta["way"]))


def test_without_validation_images_the_trained_weights_are_kept(folder: Path, tmp_path: Path):
    dataset = Dataset.open(folder)
    run = train(dataset, started(), tmp_path / "run", split=Split(tuple(dataset.names[:2]), ()))
    tensors, meta = load_checkpoint(run.folder / files.BEST)
    assert "way" not in meta
    trained = without_prefix("average", load_checkpoint(run.folder / files.LAST)[0])
    assert all(torch.equal(tensors[name], trained[name]) for name in trained)
