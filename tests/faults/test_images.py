"""Every kind of image gives its right result or one clear message."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from fault_helpers import Cli, tree, unfinished
from PIL import Image

from beadseg import files
from beadseg.data.image_io import read_image
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import BeadsegError, ExitCode
from beadseg.predict import Segmenter


@pytest.fixture
def grey(beads: Path) -> np.ndarray:
    """(96, 96) uint8 with about 20 beads."""
    return np.asarray(iio.imread(sorted((beads / files.IMAGES).iterdir())[0]))


@pytest.fixture(scope="module")
def segmenter(run_folder: Path) -> Segmenter:
    return Segmenter.load(run_folder, device="cpu")


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


def test_links_that_lead_nowhere_are_single_failures(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    images = write(tmp_path / "images" / "good.png", grey).parent
    (images / "circle.png").symlink_to("circle.png")
    (images / "gone.png").symlink_to("nowhere.png")
    out = tmp_path / "out"
    assert cli("predict", run_folder, images, "--out", out, "--no-report").code == ExitCode.SOME_FAILED
    assert pd.read_csv(out / files.COUNTS)["image"].tolist() == ["good"]
    errors = pd.read_csv(out / files.FAILURES)["error"].tolist()
    assert "Too many levels of symbolic links" in errors[0]
    assert "Is a link to a file that is not there (nowhere.png)" in errors[1]
    outcome = cli("predict", run_folder, images / "circle.png", "--out", tmp_path / "other", "--no-report")
    outcome.is_refusal(ExitCode.INPUT, "circle.png: No such image or folder.")


@pytest.mark.parametrize(("mode", "words"), [("YCbCr", "YCbCr"), ("LAB", "Lab colours")])
def test_colours_other_than_red_green_and_blue_are_named(
    cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path, mode: str, words: str
):
    (tmp_path / "images").mkdir()
    colour = Image.fromarray(np.stack([grey, grey // 2, 255 - grey], axis=-1))
    colour.convert(mode).save(tmp_path / "images" / "scan.tif")
    assert cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out").code == ExitCode.SOME_FAILED
    (error,) = pd.read_csv(tmp_path / "out" / files.FAILURES)["error"]
    assert f"{words})" in error or f"Holds {words}" in error
    assert error.endswith("Convert it to RGB or grey.")


def test_jpeg_inside_a_tiff_is_red_green_and_blue(grey: np.ndarray, tmp_path: Path):
    smooth = np.asarray(Image.fromarray(grey).resize((32, 32)).resize((96, 96)))
    path = tmp_path / "slide.tif"
    tifffile.imwrite(path, np.stack([smooth, smooth, 255 - smooth], axis=-1), photometric="rgb", compression="jpeg")
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].photometric == tifffile.PHOTOMETRIC.YCBCR
    read = read_image(path).data.astype(int)
    assert np.abs(read[0] - smooth).mean() < 8
    assert np.abs(read[2] - (255 - smooth)).mean() < 8


def test_a_hot_pixel_hides_no_bead(cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path):
    for name, value in (("a", None), ("b", 1e5), ("c", 1e30)):
        image = grey.astype(np.float32)
        image[2, 2] = image[2, 2] if value is None else value
        write(tmp_path / "images" / f"{name}.tif", image)
    cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out", "--no-report")
    counts = pd.read_csv(tmp_path / "out" / files.COUNTS)["beads"]
    assert counts[0] >= 5
    assert (counts >= counts[0]).all()


def test_the_general_model_says_why_a_count_may_be_wrong(cli: Cli, grey: np.ndarray, tmp_path: Path):
    write(tmp_path / "images" / "even.tif", np.full((96, 96), 700, np.uint16))
    write(tmp_path / "images" / "offset.tif", grey.astype(np.float32) + np.float32(1e6))
    write(tmp_path / "images" / "bars.tif", np.pad(grey, ((0, 0), (64, 64))))
    write(tmp_path / "images" / "whole.tif", grey)
    outcome = cli("predict", "general", tmp_path / "images", "--out", tmp_path / "out", "--no-report")
    assert outcome.code == ExitCode.FLAGGED
    flags = pd.read_csv(tmp_path / "out" / files.COUNTS, index_col="image")["flags"]
    assert "nearly all pixels have the value 700" in flags["even"]
    assert "was an offset added?" in flags["offset"]
    assert "57% of the image is empty (all 0)" in flags["bars"]
    assert flags.isna()["whole"]


def on_disk(grey: np.ndarray) -> np.ndarray:
    """Return an image as `numpy.load` opens it with ``mmap_mode``."""
    with tempfile.NamedTemporaryFile() as file:
        grey.tofile(file.name)
        return np.memmap(file.name, grey.dtype, "r", shape=grey.shape)


@pytest.mark.parametrize(("given", "doubted"), [("3", True), ("7", False), ("28", True)])
def test_a_diameter_that_does_not_fit_is_doubted(cli: Cli, tmp_path: Path, given: str, doubted: bool):
    scene = SceneConfig(height=128, width=128, beads=25, debris=0, cluster_probability=0, diameter_px=7)
    iio.imwrite(tmp_path / "a.png", simulate(scene, 0).image)
    predicted = cli("predict", "general", tmp_path / "a.png", "--out", tmp_path / "out", "--diameter", given)
    drafted = cli("draft", tmp_path / "a.png", "--out", tmp_path / "draft", "--diameter", given)
    assert ("check the diameter" in predicted.out) == doubted == (predicted.code == ExitCode.FLAGGED), predicted.out
    assert ("1 draft in doubt" in drafted.out) == doubted == ("a: " in drafted.out), drafted.out


class Unreadable:
    """Something that no array can be made of."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise RuntimeError("this is on another device.")


ARRAYS: dict[str, Any] = {
    "torch": torch.from_numpy,
    "torch colour": lambda grey: torch.from_numpy(np.stack([grey] * 3)),
    "list": lambda grey: grey.tolist(),
    "Pillow": Image.fromarray,
    "table": pd.DataFrame,
    "one channel, last": lambda grey: grey[..., np.newaxis],
    "nothing masked": lambda grey: np.ma.masked_array(grey, mask=False),
    "on the disk": on_disk,
    "read-only": lambda grey: np.lib.stride_tricks.as_strided(grey, writeable=False),
}
"""The same image as other libraries hold it."""

NO_ARRAYS: dict[str, tuple[Any, str]] = {
    "path": (lambda grey: "tile.png", "name of a file"),
    "bytes": (lambda grey: grey.tobytes(), "name of a file"),
    "palette": (lambda grey: Image.fromarray(grey).convert("P"), "mode P"),
    "masked": (lambda grey: np.ma.masked_greater(grey, int(grey.mean())), "masked"),
    "text": (lambda grey: grey.astype(str), "not grey values"),
    "complex": (lambda grey: grey.astype(complex), "not grey values"),
    "nothing": (lambda grey: None, "not grey values"),
    "ragged": (lambda grey: [[1, 2], [3]], "cannot be made an array"),
    "gradient": (lambda grey: torch.from_numpy(grey / 255).requires_grad_(), "detach"),
    "device": (lambda grey: Unreadable(), "this is on another device"),
    "two channels, last": (lambda grey: np.stack([grey, grey], axis=-1), "Has 2 channels"),
    "five channels, last": (lambda grey: np.stack([grey] * 5, axis=-1), "Has 5 channels"),
}
"""What is no image, and what is said."""


@pytest.mark.parametrize("kind", ARRAYS)
def test_python_takes_arrays_of_other_libraries(segmenter: Segmenter, grey: np.ndarray, kind: str):
    assert (segmenter.predict(ARRAYS[kind](grey.copy())).labels == segmenter.predict(grey).labels).all()


@pytest.mark.parametrize("kind", NO_ARRAYS)
def test_python_says_what_is_no_image(segmenter: Segmenter, grey: np.ndarray, kind: str):
    made, words = NO_ARRAYS[kind]
    with pytest.raises(BeadsegError, match=words) as caught:
        segmenter.predict(made(grey.copy()))
    assert str(caught.value).endswith(".")


def test_results_of_other_programs_among_images_are_not_counted(
    cli: Cli, run_folder: Path, grey: np.ndarray, tmp_path: Path
):
    names = ["a_cp_masks", "a_mask", "a_Probabilities", "a_Simple Segmentation", "a-labels", "A_SEG"]
    for name in ("a", "b_mask", "mask", *names):
        write(tmp_path / "images" / f"{name}.tif", grey)
    done = cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out", "--no-report")
    assert pd.read_csv(tmp_path / "out" / files.COUNTS)["image"].tolist() == ["a", "b_mask", "mask"]
    assert "6 masks or other results of images beside them" in done.out
    write(tmp_path / "images" / "a.png", grey)
    again = cli("predict", run_folder, tmp_path / "images", "--out", tmp_path / "out", "--no-report")
    assert "have the same name but for its ending or capitals (a.png, a.tif): all of them are counted" in again.out
    cli("predict", run_folder, tmp_path / "images" / "a_mask.tif", "--out", tmp_path / "one", "--no-report")
    assert pd.read_csv(tmp_path / "one" / files.COUNTS)["image"].tolist() == ["a_mask"]


def test_a_mask_given_as_an_image_is_flagged(cli: Cli, tmp_path: Path):
    scene = simulate(SceneConfig(height=128, width=128, beads=25, debris=0, diameter_px=7), 0)
    write(tmp_path / "images" / "binary.tif", (scene.labels > 0).astype(np.uint8) * 255)
    write(tmp_path / "images" / "ids.tif", scene.labels.astype(np.uint16))
    iio.imwrite(tmp_path / "images" / "image.png", scene.image)
    cli("predict", "general", tmp_path / "images", "--out", tmp_path / "out", "--no-report")
    flags = pd.read_csv(tmp_path / "out" / files.COUNTS, index_col="image")["flags"].fillna("")
    said = {name: "is it an image?" in flag for name, flag in flags.items()}
    assert said == {"binary": True, "ids": True, "image": False}


@pytest.mark.parametrize("given", [(), ("--diameter", "4")])
def test_counts_of_beads_too_small_to_see_are_flagged(cli: Cli, tmp_path: Path, given: tuple[str, ...]):
    """Blurred beads of 4 px: no count that is off by more than a tenth, of ten beads or more, is without a flag."""
    cli("simulate", tmp_path / "beads", "--tiles", "6", "--size", "192", "--beads", "30", "--diameter", "4")
    cli("predict", "general", tmp_path / "beads" / files.IMAGES, "--out", tmp_path / "out", "--no-report", *given)
    scenes = json.loads((tmp_path / "beads" / files.SCENES).read_text())["images"]
    true = pd.Series({scene["sample"]: scene["beads"] for scene in scenes})
    counts = pd.read_csv(tmp_path / "out" / files.COUNTS, index_col="image").fillna("")
    wrong = ((counts["beads"] - true).abs() > 0.1 * true) & (true >= 10)
    assert wrong.sum() >= 3
    assert (counts["flags"][wrong] != "").all(), counts
