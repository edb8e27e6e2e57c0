"""Images in blocks: the same labels, table and row of counts as of the whole, for any blocks, order and kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
import zarr
from predict_helpers import FINGERPRINT, Darkness
from scipy import ndimage

from beadseg import files
from beadseg.cli.predict import memory_of
from beadseg.config import ObjectConfig, TrainConfig
from beadseg.config.train import BackgroundNormConfig, ImageConfig, RangeNormConfig, RgbConfig
from beadseg.data.image_io import open_image
from beadseg.errors import ConfigError, InputError
from beadseg.events import Event
from beadseg.model.inputs import Preparation, percentiles, prepare, resized
from beadseg.predict import Segmenter
from beadseg.predict.batch import predict_folder
from beadseg.predict.blocks import Means, is_large
from beadseg.predict.counts import count_row
from beadseg.predict.instances import _Borders, separate
from beadseg.predict.large import predict_large
from beadseg.predict.segmenter import brought_back
from beadseg.predict.windows import BroughtBack, Prepared, Resized
from beadseg.report.prediction_page import write_prediction_page
from beadseg.widgets.io.folder_layers import read_prediction

ROOM = 10**10
LITTLE = 1_150_000_000
"""Bytes, enough for blocks of 512 px only."""


class Centres(Darkness):
    """`Darkness` with a map of centres: how dark the surroundings of a pixel are."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        around = torch.nn.functional.avg_pool2d(x, 5, 1, 2, count_include_pad=False)
        return torch.cat([super().forward(x), -12 * around - 6], dim=1)


def model(network: str = "centres", *changes: str) -> Segmenter:
    heads = ["network.heads=[foreground,centre]"] if network == "centres" else []
    common = ["image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32",
              "predict.backend=torch", "predict.tiling.whole_image_pixels=400000"]  # fmt: skip
    config = TrainConfig.preset("dense", "unet").with_overrides([*common, *heads, *changes])
    weights: Any = Centres() if heads else Darkness()
    found = Segmenter(weights, config, FINGERPRINT, torch.device("cpu"))
    found.model_sha256 = network
    return found


def picture(height: int, width: int, beads: int) -> np.ndarray:
    """Return dark discs, many of which touch, a long line and a ring on an uneven background."""
    rng = np.random.default_rng(1)
    marks = np.zeros((height, width))
    marks[tuple(rng.integers(0, side, beads) for side in (height, width))] = 1
    discs = ndimage.convolve(marks, (np.hypot(*np.mgrid[-4:5, -4:5]) <= 3.6).astype(float), mode="constant") > 0
    y, x = np.mgrid[:height, :width]
    line = np.abs(y - 0.4 * x - 60) < 2
    ring = np.abs(np.hypot(y - height / 2, x - width / 2) - 40) < 3
    light = 180 + 30 * np.sin(y / 90) + rng.normal(0, 3, y.shape)
    return np.asarray(np.clip(np.where(discs | line | ring, 0.45, 1) * light, 0, 255), np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "big.tif"
    tifffile.imwrite(path, picture(620, 700, 1500), tile=(64, 64), compression="zlib")
    return path


def results(folder: Path, name: str = "big") -> tuple[bytes, bytes]:
    labels = zarr.open_array(str(folder / files.LABELS / f"{name}.ome.zarr" / "0"), mode="r")[:]
    return np.asarray(labels).tobytes(), (folder / files.BEADS / f"{name}.csv").read_bytes()


@pytest.mark.parametrize(
    ("network", "changes"),
    [("centres", ()), ("centres", ("predict.objects.border=half", "predict.objects.seeds.valley=0.1")), ("dark", ())],
)
def test_blocks_are_the_whole(network: str, changes: tuple[str, ...], path: Path, tmp_path: Path) -> None:
    segmenter, image = model(network, *changes), open_image(path)
    ((_, _, whole),) = segmenter.predict_planes(image)
    row = count_row("big", "", image, whole, segmenter)
    assert whole.count > 500
    for side, backwards in ((1024, False), (256, True), (160, False)):
        out, means = tmp_path / f"{side}", Means(ROOM, 1, side, backwards)
        assert predict_large(segmenter, path, "big", out, tmp_path / f"work{side}", means) == [row]
        labels, _ = results(out)
        assert labels == whole.labels.tobytes()
        pd.testing.assert_frame_equal(pd.read_parquet(out / files.BEADS / "big.parquet"), whole.beads, check_exact=True)
    assert len({results(tmp_path / f"{side}") for side in (1024, 256, 160)}) == 1


@pytest.mark.parametrize("diameter", [6.1, 8.4])
def test_resampled_blocks_do_not_depend_on_their_size(diameter: float, path: Path, tmp_path: Path) -> None:
    segmenter = model()
    segmenter.options = segmenter.options.with_overrides([f"size.diameter={diameter}"])
    rows = [
        predict_large(segmenter, path, "big", tmp_path / f"{side}", tmp_path / f"w{side}", Means(ROOM, 1, side))
        for side in (1024, 200)
    ]
    assert rows[0] == rows[1]
    assert results(tmp_path / "1024") == results(tmp_path / "200")
    ((_, _, whole),) = segmenter.predict_planes(open_image(path))
    assert rows[0][0]["beads"] == pytest.approx(whole.count, abs=1)


def test_two_processes_and_one_find_the_same(path: Path, tmp_path: Path) -> None:
    for processes in (1, 2):
        means = Means(ROOM, processes, 128)
        predict_large(model(), path, "big", tmp_path / f"{processes}", tmp_path / f"w{processes}", means)
    assert results(tmp_path / "1") == results(tmp_path / "2")


PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:3]
from test_large import LITTLE, Path, model
from beadseg.predict.batch import predict_folder
from beadseg.predict.blocks import Means
predict_folder(model(), [Path(sys.argv[3])], sys.argv[4], means=Means(LITTLE, 1, 160))
"""


def test_what_is_killed_goes_on(tmp_path: Path) -> None:
    big, out = tmp_path / "big.tif", tmp_path / "out"
    tifffile.imwrite(big, picture(1300, 1650, 6000), compression="zlib", rowsperstrip=50)
    here = Path(__file__).parent
    words = [sys.executable, "-c", PROGRAM, str(here), str(here.parents[1] / "src"), str(big), str(out)]
    seen = 0
    for _ in range(2):
        process = subprocess.Popen(words)
        while process.poll() is None and len(blocks := [*out.glob(".beadseg-blocks-*/block-*")]) <= seen + 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        assert process.wait() != 0, "it was too quick to be killed"
        seen = len(blocks)
    assert seen >= 4
    times = {block.name: block.stat().st_mtime_ns for block in blocks}
    events: list[Event] = []
    means = Means(LITTLE, 1, 160)
    found = predict_folder(model(), [big], out, means=means, on_event=events.append)
    assert not len(found.failures)
    assert times
    assert [entry.name for entry in out.iterdir() if entry.name.startswith(".beadseg")] == []
    assert any("predicted in blocks" in event.message for event in events)
    predict_folder(model(), [big], tmp_path / "calm", means=Means(LITTLE))
    assert results(out) == results(tmp_path / "calm")
    assert predict_folder(model(), [big], out, means=means).skipped == 1
    ((levels, shown, kind),) = read_prediction(out)
    assert (kind, shown["multiscale"], shown["name"]) == ("labels", True, "big: beads")
    assert [level.shape for level in levels] == [(1300, 1650), (650, 825), (325, 412), (162, 206)]
    np.testing.assert_array_equal(levels[2][:], levels[0][::4, ::4][:325, :412])
    assert "images that were predicted in blocks have no overlays" in write_prediction_page(out).read_text("utf-8")
    predict_folder(model(), [big], out, means=Means(ROOM), again=True)
    assert [entry.name for entry in (out / files.LABELS).iterdir()] == ["big.tif"]


def test_what_blocks_cannot_do_exactly_is_refused(path: Path, tmp_path: Path) -> None:
    def refused(segmenter: Segmenter, means: Means | None = None, image: Path = path) -> None:
        predict_large(segmenter, image, "big", tmp_path / "out", tmp_path / "work", means or Means(ROOM, 1, 256))

    with pytest.raises(ConfigError, match="left joined"):
        refused(model("centres", "predict.objects.separate=false"))
    with pytest.raises(ConfigError, match="zscore"):
        refused(model("centres", "image.norm.kind=zscore"))
    with pytest.raises(InputError, match="not enough"):
        refused(model(), Means(901_000_000))
    with pytest.raises(InputError, match="The network takes"):
        refused(model(), Means(990_000_000))
    tifffile.imwrite(tmp_path / "stack.tif", np.zeros((3, 40, 50), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match="stack"):
        refused(model(), image=tmp_path / "stack.tif")
    assert not is_large(open_image(tmp_path / "stack.tif"), 1)


def maps(rng: np.random.Generator, side: int, diameter: float) -> tuple[np.ndarray, np.ndarray]:
    """Return random maps of beads that touch, with noise, plateaus and a thin line from side to side."""
    y, x = np.mgrid[:side, :side]
    beads, centres = np.zeros((2, side, side), np.float32)
    for at in rng.uniform(0, side, (int(0.7 * side**2 / diameter**2), 2)):
        part = tuple(slice(max(0, int(each - 2 * diameter)), int(each + 2 * diameter)) for each in at)
        away = np.hypot(y[part] - at[0], x[part] - at[1])
        beads[part] = np.maximum(beads[part], 1 / (1 + np.exp(1.5 * (away - diameter / 2))))
        centres[part] = np.maximum(centres[part], rng.uniform(0.1, 1) * np.exp(-((4 * away / diameter) ** 2)))
    beads += rng.normal(0, 0.03, beads.shape).astype(np.float32)
    beads[np.abs(y - rng.uniform(0.2, 0.8) * x) < 1] = 0.4
    return np.round(np.clip(beads, 0, 1), 2), np.round(centres, 1)


@pytest.mark.parametrize("seed", range(6))
def test_beads_far_enough_from_a_cut_edge_are_those_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    side, diameter = 240, 3.0
    beads, centres = maps(rng, side, diameter)
    seeds = {"valley": 0.1 * (seed % 2), "distance": 0.4}
    objects = ObjectConfig(diameter=diameter, seeds=seeds, min_confidence=0.2)
    top, left = (int(each) for each in rng.integers(1, 30, 2))
    part = (slice(top, side), slice(left, side))
    cut = (True, False, True, False)
    known = []
    for rows, columns, edges in ((slice(0, side), slice(0, side), (False,) * 4), (*part, cut)):
        centre = np.ascontiguousarray(centres[rows, columns]) if seed % 3 else None
        corner = (rows.start, columns.start)
        found = separate(np.ascontiguousarray(beads[rows, columns]), objects, centre, None, edges, corner)
        labels = found.chosen(objects)
        names = np.full(labels.max() + 1, -1)
        names[labels.reshape(-1)[found.pixels]] = (found.positions.astype(int) + corner)[found.owner - 1] @ [side, 1]
        names[0] = -1
        known.append(names[labels])
    far = _Borders(labels.shape, cut).of(np.arange(labels.size)).reshape(labels.shape) > found.unsure
    assert far.mean() > 0.05
    assert (known[1][far] == known[0][part][far]).all()


class Array:
    def __init__(self, values: np.ndarray) -> None:
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def part(self, rows: slice, columns: slice) -> np.ndarray:
        return self.values[:, rows, columns]


ROWS, COLUMNS = slice(100, 333), slice(7, 380)


@pytest.mark.parametrize(
    ("bright", "config"),
    [(False, ImageConfig()), (True, ImageConfig()), (False, ImageConfig(channels=RgbConfig())),
     (False, ImageConfig(norm=RangeNormConfig()))],
)  # fmt: skip
def test_a_part_is_prepared_as_in_the_whole(bright: bool, config: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beadseg.model.inputs._BAND_PIXELS", 30_000)
    rng = np.random.default_rng(0)
    plane = (200 + 20 * rng.random((3, 400, 430))).astype(np.uint8)
    if bright:
        beads = rng.random((1, 400, 430)) > 0.97
        plane = (5 * rng.random((1, 400, 430)) + 200 * ndimage.grey_dilation(beads, (1, 3, 3))).astype(np.uint16)
    source = Array(plane)
    found = Preparation.of(source, config)
    again = Preparation.of_arrays(config, found.arrays())
    assert isinstance(config.norm, BackgroundNormConfig | RangeNormConfig)
    for each in (found, again):
        part = Prepared(source, each).part(ROWS, COLUMNS)
        np.testing.assert_array_equal(part, prepare(plane, config)[:, ROWS, COLUMNS])


@pytest.mark.parametrize("factor", [0.37, 0.93, 1.7])
def test_a_part_is_resampled_as_the_whole(factor: float) -> None:
    rng = np.random.default_rng(0)
    plane = rng.random((1, 400, 430)).astype(np.float32)
    whole = resized(plane, factor)
    high, wide = whole.shape[1:]
    rows, columns = slice(high // 3, high), slice(5, wide // 2)
    found = Resized(Array(plane), (high, wide)).part(rows, columns)
    np.testing.assert_allclose(found, whole[:, rows, columns], atol=1e-4)
    heads = rng.random((2, high, wide)).astype(np.float32)
    back = BroughtBack(Array(heads), (high, wide), (400, 430)).part(ROWS, COLUMNS)
    np.testing.assert_allclose(back, brought_back(heads, (400, 430))[:, ROWS, COLUMNS], atol=1e-4)


def test_percentiles_of_parts() -> None:
    values = np.random.default_rng(0).normal(size=(200, 99)).astype(np.float32)
    wanted = [0, 0.1, 33, 50, 75, 99.9, 100]
    found = percentiles(lambda: np.array_split(values, 7), wanted)
    np.testing.assert_allclose(found, np.percentile(values, wanted), rtol=1e-6)
    assert percentiles(lambda: [], [50]) == [0.0]


@pytest.mark.parametrize(("text", "bytes_"), [("4GB", 4 * 10**9), ("1.5 gb", 1.5 * 10**9), ("512MiB", 2**29), ("7", 7)])
def test_memory_is_read(text: str, bytes_: float) -> None:
    assert memory_of(text) == bytes_
    assert memory_of(None) > 10**8


@pytest.mark.parametrize("text", ["", "much", "-4GB", "0GB", "4XB"])
def test_what_is_no_memory_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an amount of memory"):
        memory_of(text)
