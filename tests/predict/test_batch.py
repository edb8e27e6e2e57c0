from __future__ import annotations

import csv
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from predict_helpers import FINGERPRINT

from beadseg import files
from beadseg.config import TilingConfig, TrainConfig
from beadseg.data.documents import names_of
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import Cancelled, InputError, RunError
from beadseg.events import Event, StopFlag
from beadseg.model.networks import build_network
from beadseg.predict import Segmenter
from beadseg.predict.batch import find_images, predict_folder


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        scene = simulate(SceneConfig(height=128, width=160, beads=40, debris=0, cluster_probability=0), seed)
        iio.imwrite(folder / f"tile_{seed}.png", scene.image)
    return folder


def test_every_image_gets_its_files_and_a_row(segmenter: Segmenter, images: Path, tmp_path: Path):
    result = predict_folder(segmenter, find_images([images]), tmp_path / "out")
    for seed in range(3):
        mask = iio.imread(tmp_path / "out" / files.MASKS / f"tile_{seed}.png")
        labels = tifffile.imread(tmp_path / "out" / files.LABELS / f"tile_{seed}.tif")
        beads = pd.read_csv(tmp_path / "out" / files.BEADS / f"tile_{seed}.csv")
        picture = iio.imread(tmp_path / "out" / files.OVERLAYS / f"tile_{seed}.png")
        assert set(np.unique(mask)) == {0, 255}
        assert labels.dtype == np.uint32
        assert ((labels > 0) == (mask > 0)).all()
        assert picture.shape == (128, 160, 3)
        assert len(beads) == labels.max() == result.counts["beads"][seed] > 20
    assert not (tmp_path / "out" / files.FAILURES).exists()
    assert json.loads((tmp_path / "out" / files.PREDICTION).read_text())["schema_version"] == 1


def test_one_bad_image_does_not_stop_the_rest(segmenter: Segmenter, images: Path, tmp_path: Path):
    (images / "tile_1.png").write_text("no picture")
    events: list[Event] = []
    result = predict_folder(segmenter, find_images([images]), tmp_path / "out", on_event=events.append)
    assert list(result.counts["image"]) == ["tile_0", "tile_2"]
    with (tmp_path / "out" / files.FAILURES).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["image"].endswith("tile_1.png")
    assert [event.level for event in events if event.kind == "failure"] == ["error"]


def test_a_repeated_batch_forgets_old_failures(segmenter: Segmenter, images: Path, tmp_path: Path):
    good = (images / "tile_1.png").read_bytes()
    (images / "tile_1.png").write_bytes(b"")
    predict_folder(segmenter, find_images([images]), tmp_path / "out")
    (images / "tile_1.png").write_bytes(good)
    predict_folder(segmenter, find_images([images]), tmp_path / "out")
    assert not (tmp_path / "out" / files.FAILURES).exists()


def test_a_stack_is_counted_by_slice(segmenter: Segmenter, tmp_path: Path):
    scene = SceneConfig(height=96, width=96, beads=15, channels="grey", debris=0)
    stack = np.stack([simulate(scene, seed).image for seed in (1, 2, 3)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    result = predict_folder(segmenter, [tmp_path / "stack.tif"], tmp_path / "out")
    assert list(result.counts["plane"]) == ["t000", "t001", "t002"]
    labels = tifffile.imread(tmp_path / "out" / files.LABELS / "stack.tif")
    assert labels.shape == (3, 96, 96)
    assert [int(plane.max()) for plane in labels] == list(result.counts["beads"])
    assert set(pd.read_csv(tmp_path / "out" / files.BEADS / "stack.csv")["plane"]) == {"t000", "t001", "t002"}


@pytest.mark.parametrize(("value", "flag"), [(128, "nothing found")])
def test_an_empty_result_is_flagged(segmenter: Segmenter, tmp_path: Path, value: int, flag: str):
    iio.imwrite(tmp_path / "flat.png", np.full((256, 256), value, np.uint8))
    result = predict_folder(segmenter, [tmp_path / "flat.png"], tmp_path / "out")
    assert flag in result.counts["flags"][0]
    assert len(result.flagged) == 1


def test_nearly_everything_is_flagged(segmenter: Segmenter, images: Path, tmp_path: Path):
    segmenter.network.weight.data.zero_()
    result = predict_folder(segmenter, find_images([images])[:1], tmp_path / "out")
    assert "100% of the image is foreground" in result.counts["flags"][0]


def test_stopping_keeps_and_counts_what_is_finished(segmenter: Segmenter, images: Path, tmp_path: Path):
    stop = StopFlag()

    def after_first(event: Event) -> None:
        if event.kind == "count":
            stop.set()

    with pytest.raises(Cancelled):
        predict_folder(segmenter, find_images([images]), tmp_path / "out", on_event=after_first, stop=stop)
    assert list(pd.read_csv(tmp_path / "out" / files.COUNTS)["image"]) == ["tile_0"]


def test_tiles_and_whole_image_agree(segmenter: Segmenter):
    plane = np.moveaxis(simulate(SceneConfig(height=300, width=420, beads=150), 5).image, -1, 0)
    whole = segmenter.maps(plane).probability
    segmenter.options = segmenter.options.replace(tiling=TilingConfig(whole_image_pixels=4096, tile=128, overlap=0.25))
    assert np.abs(segmenter.maps(plane).probability - whole).max() < 1e-4


def test_colour_grey_and_sixteen_bit_arrays_are_the_same_image(segmenter: Segmenter):
    grey = simulate(SceneConfig(height=96, width=96, beads=20, channels="grey"), 2).image
    reference = segmenter.predict(grey).labels
    assert reference.max() > 5
    assert (segmenter.predict(np.stack([grey] * 3, axis=-1)).labels == reference).all()
    assert (segmenter.predict(grey.astype(np.uint16) * 257).labels == reference).all()
    assert (segmenter.predict(grey / np.float32(255)).labels == reference).all()


def test_names_that_repeat_stay_apart(tmp_path: Path):
    paths = [tmp_path / "a" / "x.png", tmp_path / "a" / "x.tif", tmp_path / "b" / "x.png"]
    assert len(set(names_of(paths).values())) == 3


def test_nothing_to_predict_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="No images found"):
        find_images([tmp_path])
    with pytest.raises(InputError, match="No such image"):
        find_images([tmp_path / "missing.png"])


def test_a_folder_without_a_model_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="no trained model"):
        Segmenter.load(tmp_path)
    with pytest.raises(RunError, match="No such run"):
        Segmenter.load(tmp_path / "missing")
    (tmp_path / files.BEST).write_bytes(b"rubbish")
    with pytest.raises(RunError, match="Damaged"):
        Segmenter.load(tmp_path)


def test_whole_image_and_tiles_agree_for_a_real_network():
    config = TrainConfig.preset("dense", "unet").with_overrides(
        [
            "network.depth=3",
            "network.first_stride=1",
            "network.width=8",
            "predict.objects.diameter=7",
            "predict.precision=fp32",
        ]
    )
    torch.manual_seed(0)
    segmenter = Segmenter(build_network(config.network, 3), config, FINGERPRINT, torch.device("cpu"))
    plane = simulate(SceneConfig(height=256, width=320, beads=60, channels="grey"), 5).image[None]
    whole = segmenter.maps(plane).probability
    segmenter.options = segmenter.options.replace(tiling=TilingConfig(whole_image_pixels=4096, tile=160, overlap=0.5))
    assert np.abs(segmenter.maps(plane).probability - whole).max() < 0.02
