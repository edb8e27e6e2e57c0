"""Models and counts for other programs: ONNX Runtime, bioimageio.core, a run as one file, Excel, QuPath."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.config.train import (
    BackgroundNormConfig,
    ImageConfig,
    PercentileNormConfig,
    RangeNormConfig,
    RgbConfig,
    ZScoreNormConfig,
)
from beadseg.data.annotations import regions
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_labels
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import ConfigError, ExitCode, InputError
from beadseg.model.inputs import prepare
from beadseg.model.networks import build_network
from beadseg.predict.exchange import (
    normalised,
    onnx_bytes,
    require,
    take_in,
    write_bioimageio,
    write_run,
    write_workbook,
)
from beadseg.predict.prediction import Maps, Prediction
from beadseg.predict.segmenter import Segmenter
from beadseg.training import train

onnxruntime = pytest.importorskip("onnxruntime")
GOLDEN = Path(__file__).parent / "golden" / "images.npz"
GREATEST_DIFFERENCE = 1e-4
EXACT: dict[str, Any] = {"precision": "fp32", "backend": "torch"}


def run(*words: str | Path) -> int:
    return main([*map(str, words), "--quiet"])


def golden() -> dict[str, NDArray[np.uint8]]:
    with np.load(GOLDEN) as stored:
        return {name: stored[name].reshape(stored[name].shape[:2]) for name in stored.files}


@pytest.fixture(scope="module")
def general() -> Segmenter:
    segmenter = Segmenter.load("general", device="cpu")
    segmenter.options = segmenter.options.replace(**EXACT)
    return segmenter


@pytest.fixture(scope="module")
def dataset_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exchange") / "beads"
    scene = SceneConfig(height=96, width=96, beads=20, debris=0, channels="grey")
    write_dataset(out, SeriesConfig(scene=scene, tiles=4, dilutions=(80,), fields=2, seed=1))
    return out


@pytest.fixture(scope="module")
def run_folder(dataset_folder: Path) -> Path:
    """A run of a tiny network."""
    fields = ["epochs=1", "epoch.steps=10", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
              "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip
    config = TrainConfig.preset("dense", "unet").with_overrides(fields)
    return train(Dataset.open(dataset_folder), config, dataset_folder.parent / "run", device="cpu").folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The general model as a package."""
    path = tmp_path_factory.mktemp("package") / "general.zip"
    assert run("export", "general", "--format", "bioimageio", "--out", path) == ExitCode.OK
    return path


def test_onnx_runtime_gives_the_same_maps_and_the_same_counts(general: Segmenter) -> None:
    session = onnxruntime.InferenceSession(onnx_bytes(general), providers=["CPUExecutionProvider"])
    images = golden() | {"odd sides": golden()["large"][:187, :171]}
    for name, image in images.items():
        exact = general.prepared_maps(prepare(image[None], general.config.image))
        (heads,) = session.run(None, {"image": image[None, None].astype(np.float32)})
        assert np.abs(heads[0] - exact.heads).max() <= GREATEST_DIFFERENCE, name
        one, other = (
            Prediction.of(maps, image.astype(np.float32), None, general.options.objects)
            for maps in (exact, Maps.of_heads(heads[0]))
        )
        assert one.count == other.count, name
        assert np.array_equal(one.labels > 0, other.labels > 0), name


@pytest.mark.parametrize("kind", ["unet", "attention-unet", "attention-resunet"])
def test_networks_of_every_kind_are_exported(kind: Any) -> None:
    config = TrainConfig.preset("dense", kind).with_overrides(
        ["network.depth=3", "network.width=8", "network.first_stride=1", "image.channels.kind=grey"]
    )
    torch.manual_seed(0)
    segmenter = Segmenter(build_network(config.network, 1), config, {}, torch.device("cpu"))
    session = onnxruntime.InferenceSession(onnx_bytes(segmenter), providers=["CPUExecutionProvider"])
    image = golden()["noisy"][:90, :101]
    (heads,) = session.run(None, {"image": image[None, None].astype(np.float32)})
    segmenter.options = segmenter.options.replace(**EXACT)
    exact = segmenter.prepared_maps(prepare(image[None], config.image)).heads
    assert np.abs(heads[0] - exact).max() <= GREATEST_DIFFERENCE


DARK_FIELD = np.clip(np.random.default_rng(0).normal(100, 5, (150, 130)), 0, None)
DARK_FIELD[40:48, 50:58] += 3000
DARK_FIELD[80:88, 20:28] += 2500


@pytest.mark.parametrize(
    "config",
    [
        ImageConfig(), ImageConfig(norm=BackgroundNormConfig(window=32, gain=2.0)),
        ImageConfig(norm=ZScoreNormConfig()),
        ImageConfig(norm=PercentileNormConfig()), ImageConfig(channels=RgbConfig()),
    ],
    ids=["background", "small-window", "zscore", "percentile", "rgb"],
)  # fmt: skip
def test_images_are_normalised_as_they_are_for_prediction(config: ImageConfig) -> None:
    for image in (*golden().values(), DARK_FIELD, np.full((90, 70), 7.0)):
        plane = image.astype(np.float32)
        exact = prepare(plane[None], config)
        found = torch.cat([normalised(torch.from_numpy(plane)[None], config) for _ in exact]).numpy()
        assert found == pytest.approx(exact, abs=2e-4)


def test_range_is_what_the_caller_divides_by() -> None:
    plane = torch.rand(1, 9, 8)
    assert normalised(plane, ImageConfig(norm=RangeNormConfig())) is plane


def test_bioimageio_accepts_the_package(package: Path) -> None:
    """In a process of its own, as its users run it: it changes torch's and the warnings' settings for good.

    bioimageio.core 0.11.0 asks for bioimageio.spec 0.5.12.0, which reads no model at all with pydantic 2.13 or newer;
    0.5.14.3 does. BEADSEG_BIOIMAGEIO may name a folder that has it: pip install --no-deps --target FOLDER
    bioimageio.spec==0.5.14.3.
    """
    pytest.importorskip("bioimageio.core")
    code = (f"from bioimageio.core import test_model\nfound = test_model({str(package)!r}, weight_format='onnx')\n"
            "print('STATUS', found.status)\nfound.display()")  # fmt: skip
    places = [os.environ.get("BEADSEG_BIOIMAGEIO", ""), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    if "package_file_descr_serializer" in done.stdout.replace("\n", ""):
        pytest.skip("this bioimageio.spec does not work with this pydantic")
    assert "STATUS passed" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_our_model_in_a_package_is_a_run_again(package: Path, tmp_path: Path, general: Segmenter) -> None:
    assert run("import", "model", package, "--out", tmp_path / "run") == ExitCode.OK
    again = Segmenter.load(tmp_path / "run", device="cpu")
    assert again.model_sha256 == general.model_sha256
    with pytest.raises(InputError, match="Exists already"):
        take_in(package, tmp_path / "run")


def tampered(path: Path, out: Path, name: str, content: bytes | None, rename: str = "") -> Path:
    """Copy a zip file with another content of one member, or without it, or with another name."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for each in old.namelist():
            if each != name:
                new.writestr(each, old.read(each))
            elif content is not None:
                new.writestr(rename or each, content)
    return out


def test_a_run_is_one_file_and_comes_back(run_folder: Path, tmp_path: Path) -> None:
    (run_folder / files.LOCK).touch()
    for name in ("one.zip", "two.zip"):
        assert run("export", run_folder, "--format", "zip", "--out", tmp_path / name) == ExitCode.OK
    (run_folder / files.LOCK).unlink()
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert run("import", "model", tmp_path / "one.zip", "--out", tmp_path / "back") == ExitCode.OK
    before = {path.relative_to(run_folder): path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    after = {
        path.relative_to(tmp_path / "back"): path.read_bytes()
        for path in (tmp_path / "back").rglob("*")
        if path.is_file()
    }
    assert before == after
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        sums = dict(line.split("  ")[::-1] for line in archive.read("SHA256SUMS").decode().splitlines())
    assert sums == {path.as_posix(): hashlib.sha256(content).hexdigest() for path, content in before.items()}


@pytest.mark.parametrize(
    ("name", "content", "rename", "what"),
    [
        (files.CONFIG, b"other", "", "is not the file that was packed"),
        (files.CONFIG, None, "", "Lacks config.yaml"),
        ("SHA256SUMS", b"0000  ../../evil\n", "", "outside of the run"),
        ("SHA256SUMS", b"0000  /etc/evil\n", "", "outside of the run"),
        ("SHA256SUMS", None, "", "Holds no model"),
    ],
)
def test_what_was_changed_on_the_way_is_refused(
    run_folder: Path, tmp_path: Path, name: str, content: bytes | None, rename: str, what: str
) -> None:
    write_run(run_folder, tmp_path / "a.zip")
    changed = tampered(tmp_path / "a.zip", tmp_path / "b.zip", name, content, rename)
    with pytest.raises(InputError, match=what):
        take_in(changed, tmp_path / "out" / "run")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


def test_a_damaged_member_is_refused(run_folder: Path, tmp_path: Path) -> None:
    """Found by `make fuzz`: zlib has an error of its own."""
    write_run(run_folder, tmp_path / "a.zip")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        start = archive.infolist()[1].header_offset + 30 + len(archive.infolist()[1].filename)
    refused = 0
    for damage in range(40):
        changed = content.copy()
        changed[start + damage // 4] ^= 1 << damage % 8
        (tmp_path / "b.zip").write_bytes(changed)
        try:
            take_in(tmp_path / "b.zip", tmp_path / f"out{damage}")
        except InputError:
            refused += 1  # else the bit says nothing, such as that a block is the last one
    assert refused > 30


def test_what_is_no_package_is_refused(run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="zip file"):
        take_in(tmp_path / "a.zip", tmp_path / "run")
    with pytest.raises(InputError, match="No such file"):
        take_in(tmp_path / "missing.zip", tmp_path / "run")
    with pytest.raises(InputError, match="Lies in the run"):
        write_run(run_folder, run_folder / "a.zip")
    assert run("export", run_folder, "--format", "onnx", "--out", tmp_path / "model.zip") == ExitCode.INPUT
    assert (
        run("export", "labels", run_folder, tmp_path, "--format", "onnx", "--out", tmp_path / "m.onnx")
        == ExitCode.INPUT
    )


@pytest.fixture(scope="module")
def predicted(run_folder: Path, dataset_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted") / "=out"
    (out.parent / "broken.png").write_bytes(b"no picture")
    found = run(
        "predict", run_folder, dataset_folder / "images", out.parent / "broken.png", "--out", out, "--no-report"
    )
    assert found in (ExitCode.SOME_FAILED, ExitCode.FLAGGED)
    return out


def test_counts_as_a_workbook(predicted: Path, tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    assert run("export", predicted, "--format", "xlsx", "--out", tmp_path / "a.xlsx") == ExitCode.OK
    sheets = pd.read_excel(tmp_path / "a.xlsx", sheet_name=None)
    counts = pd.read_csv(predicted / files.COUNTS)
    assert sheets["counts"]["beads"].tolist() == counts["beads"].tolist()
    assert [name for name in sheets["counts"].columns if name in counts.columns] == counts.columns.tolist()
    assert len(sheets["beads"]) == counts["beads"].sum()
    assert sheets["failures"]["image"].str.endswith("broken.png").tolist() == [True]


def test_no_text_of_a_workbook_is_a_formula(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    table = pd.DataFrame({"=1+1": ["=cmd()", "a\x00b", "x"], "n": [1.5, np.nan, np.inf]})
    write_workbook(tmp_path / "a.xlsx", {"t": table})
    sheet = openpyxl.load_workbook(tmp_path / "a.xlsx")["t"]
    assert [[cell.value for cell in row] for row in sheet] == [
        ["=1+1", "n"],
        ["=cmd()", 1.5],
        ["a?b", None],
        ["x", None],
    ]
    assert {cell.data_type for row in sheet for cell in row} <= {"s", "n"}
    with pytest.raises(InputError, match="do not fit"):
        write_workbook(tmp_path / "b.xlsx", {"t": pd.DataFrame({"n": np.zeros(2**20)})})


def test_a_missing_library_is_named_with_its_extra() -> None:
    with pytest.raises(ConfigError, match=r"needs nothing\.here") as caught:
        require("nothing.here", "This")
    assert "beadseg[exchange]" in caught.value.remedy


def test_geojson_covers_the_same_pixels(predicted: Path, tmp_path: Path) -> None:
    assert run("export", "labels", predicted, "--format", "geojson", "--out", tmp_path / "q") == ExitCode.OK
    for path in sorted((predicted / files.LABELS).iterdir()):
        labels = np.asarray(read_labels(path).labels)
        drawn = np.zeros_like(labels)
        for feature in json.loads((tmp_path / "q" / f"{path.stem}.geojson").read_text())["features"]:
            for rings in feature["geometry"]["coordinates"]:
                assert all(ring[0] == ring[-1] for ring in rings)
                region = regions.filled_polygon([ring[:-1] for ring in rings], labels.shape)
                assert region is not None
                drawn[region.slices][region.mask] = int(feature["properties"]["name"])
            assert feature["properties"]["objectType"] == "detection"
        assert np.array_equal(drawn, labels)


def test_packages_need_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_bioimageio(tmp_path / "nothing", tmp_path / "a.zip")
