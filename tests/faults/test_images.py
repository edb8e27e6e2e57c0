"""Every kind of image gives its right result or one clear message."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
from fault_helpers import Cli, tree, unfinished

from beadseg import files
from beadseg.errors import ExitCode


@pytest.fixture
def grey(beads: Path) -> np.ndarray:
    """(96, 96) uint8 with about 20 beads."""
    return np.asarray(iio.imread(sorted((beads / files.IMAGES).iterdir())[0]))


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.shape[-1] == 3 else "minisblack")
    else:
        iio.imwrite(path, pixels)
    return path


SAME: dict[str, Any] = {
    "a_8.png": lambda grey: grey,
    "b_16.png": lambda grey: grey.astype(np.uint16) * 257,
    "c_16.tif": lambda grey: grey.astype(np.uint16) * 257,
    "d_32.tif": lambda grey: grey.astype(np.uint32) * 16843009,
    "e_signed.tif": lambda grey: grey.astype(np.int16),
    "f_float.tif": lambda grey: grey.astype(np.float32) / 255,
    "g_double.tif": lambda grey: grey / 255,
    "h_huge.tif": lambda grey: grey * 1e300,
    "i_rgb.png": lambda grey: np.stack([grey] * 3, axis=-1),
    "j_rgb.tif": lambda grey: np.stack([grey] * 3, axis=-1),
    "k_opaque.png": lambda grey: np.dstack([grey, grey, grey, np.full_like(grey, 255)]),
    "l_invisible.png": lambda grey: np.dstack([grey, grey, grey, np.zeros_like(grey)]),
}
"""The same scene in every dtype and mode."""


def test_one_scene_has_the_same_labels_in_every_dtype(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    for name, convert in SAME.items():
        write(tmp_path / "images" / name, convert(grey))
    outcome = cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out")
    assert outcome.code == ExitCode.OK, outcome.out
    found = [tifffile.imread(path) for path in sorted((tmp_path / "out" / files.LABELS).iterdir())]
    assert len(found) == len(SAME)
    assert found[0].max() >= 5
    assert all((labels == found[0]).all() for labels in found)
    counts = pd.read_csv(tmp_path / "out" / files.COUNTS)
    assert set(counts["beads"]) == {int(found[0].max())}


def test_half_transparent_lies_on_white(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    alpha = np.full_like(grey, 255)
    alpha[:, :48] = 0
    white = np.where(alpha > 0, grey, np.uint8(255))
    write(tmp_path / "images" / "transparent.png", np.dstack([grey, grey, grey, alpha]))
    write(tmp_path / "images" / "white.png", white)
    assert cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out").code in (0, ExitCode.FLAGGED)
    transparent, laid = (tifffile.imread(path) for path in sorted((tmp_path / "out" / files.LABELS).iterdir()))
    assert (transparent == laid).all()


EMPTY: dict[str, Any] = {
    "black.png": np.zeros((96, 96), np.uint8),
    "white.png": np.full((96, 96), 255, np.uint8),
    "white16.tif": np.full((96, 96), 65535, np.uint16),
    "largest.tif": np.full((96, 96), 3e38, np.float32),
    "column.tif": np.arange(96, dtype=np.uint8)[:, None],
    "row.png": np.arange(96, dtype=np.uint8)[None],
    "pixel.tif": np.full((1, 1), 9, np.uint8),
}


def test_images_without_beads_are_flagged_and_never_a_success(cli: Cli, run_folder: Path, tmp_path: Path):
    for name, pixels in EMPTY.items():
        write(tmp_path / "images" / name, pixels)
    outcome = cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out")
    assert outcome.code == ExitCode.FLAGGED
    assert outcome.err == ""
    assert f"{len(EMPTY)} flagged, 0 failed" in outcome.out
    counts = pd.read_csv(tmp_path / "out" / files.COUNTS)
    assert list(counts["beads"]) == [0] * len(EMPTY)
    assert counts["flags"].str.contains("nothing found").all()
    for name, pixels in EMPTY.items():
        assert iio.imread(tmp_path / "out" / files.MASKS / f"{Path(name).stem}.png").shape == pixels.shape


def holed(grey: np.ndarray, value: float) -> np.ndarray:
    pixels = grey.astype(np.float32)
    pixels[:3, :3] = value
    return pixels


def spoil(name: str, grey: np.ndarray, folder: Path) -> Path:
    """Write an image that cannot be used."""
    path = folder / name
    kind = path.stem
    if kind == "cut":
        write(path, grey)
        path.write_bytes(path.read_bytes()[:-2000])
    elif kind == "head":
        write(path, grey)
        path.write_bytes(path.read_bytes()[:60])
    elif kind == "text":
        path.write_text("beads\n" * 50)
    elif kind == "nothing":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind == "kind":
        path.write_bytes(b"GIF89a")
    else:
        write(path, {"nan": holed(grey, np.nan), "inf": holed(grey, np.inf), "blank": holed(grey, 0) * np.nan,
                     "complex": grey.astype(np.complex64)}[kind])  # fmt: skip
    return path


BAD = {
    "text.png": "Is not a PNG, JPEG or BMP image, whatever its name says.",
    "text.tif": "Is not a TIFF file, whatever its name says.",
    "nothing.png": "The file is empty (0 bytes).",
    "cut.tif": "damaged, cut short",
    "cut.png": "damaged, cut short",
    "head.tif": "damaged, cut short",
    "nan.tif": "9 of its 9216 values are NaN or infinite.",
    "inf.tif": "9 of its 9216 values are NaN or infinite.",
    "blank.tif": "Holds nothing but NaN or infinite values.",
    "complex.tif": "complex64",
    "kind.gif": "Files of the kind '.gif' are not read.",
}


def test_bad_images_never_stop_a_batch(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    (tmp_path / "images").mkdir()
    for letter in "amz":
        write(tmp_path / "images" / f"{letter}.png", grey)
    bad = [spoil(name, grey, tmp_path / "images") for name in BAD]
    spoil("folder.png", grey, tmp_path / "images")
    outcome = cli(
        "predict", run_folder, tmp_path / "images", tmp_path / "images" / "kind.gif", "--out", tmp_path / "out"
    )
    assert outcome.code == ExitCode.SOME_FAILED
    assert outcome.err == ""
    with (tmp_path / "out" / files.FAILURES).open(newline="", encoding="utf-8") as file:
        failures = {Path(row["image"]).name: row["error"] for row in csv.DictReader(file)}
    assert failures.keys() == BAD.keys()
    assert "folder.png" in outcome.out, "a folder is left out, and named"
    for name, text in BAD.items():
        assert text in failures[name]
        assert failures[name].startswith(str(tmp_path / "images" / name))
        assert failures[name].count("\n") == 0
    last = outcome.out.splitlines()[-len(BAD) :]
    assert all(any(str(path) in line for line in last) for path in bad), "the failures are listed at the end"
    assert list(pd.read_csv(tmp_path / "out" / files.COUNTS)["image"]) == ["a", "m", "z"]
    assert len(list((tmp_path / "out" / files.LABELS).iterdir())) == 3
    assert unfinished(tmp_path / "out") == []


def test_a_name_that_is_no_utf8_is_one_failure(
    cli: Cli, run_folder: Path, dataset: Path, not_utf8: str, tmp_path: Path
):
    outcome = cli("predict", run_folder, dataset / files.IMAGES, "--out", tmp_path / "out")
    assert outcome.code == ExitCode.SOME_FAILED
    failures = (tmp_path / "out" / files.FAILURES).read_text(encoding="utf-8")
    assert "b\\udcff.png" in failures
    assert "Rename it." in failures
    assert len(pd.read_csv(tmp_path / "out" / files.COUNTS)) == 5


def test_spaces_quotes_and_umlauts_in_paths(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    image = write(tmp_path / "my 'own' bäds; $HOME" / "tile, no. 1 µm.png", grey)
    out = tmp_path / "out of 'here' & there"
    assert cli("predict", run_folder, image.parent, "--out", out).code == ExitCode.OK
    assert pd.read_csv(out / files.COUNTS)["image"][0] == image.stem
    assert (out / files.LABELS / f"{image.stem}.tif").is_file()


def test_missing_and_empty_input_writes_nothing(cli: Cli, run_folder: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    cli("predict", run_folder, tmp_path / "gone.png", "--out", tmp_path / "out").is_refusal(2, "gone.png", "No such")
    cli("predict", run_folder, tmp_path / "empty", "--out", tmp_path / "out").is_refusal(2, "empty", "No images found")
    (tmp_path / "a.png").write_bytes(b"")
    both = cli("predict", run_folder, tmp_path / "a.png", tmp_path / "empty", "--out", tmp_path / "out")
    both.is_refusal(2, "empty", "No images found")
    assert not (tmp_path / "out").exists()


def test_predicting_into_a_dataset_keeps_its_labels(cli: Cli, run_folder: Path, dataset: Path):
    before = tree(dataset)
    outcome = cli("predict", run_folder, dataset / files.IMAGES, "--out", dataset)
    outcome.is_refusal(2, str(dataset), "would be taken for its annotations", "Give a folder of its own")
    assert tree(dataset) == before
