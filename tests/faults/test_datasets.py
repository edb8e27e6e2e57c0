"""Datasets, options and configurations that cannot be used: one message, and nothing is trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from fault_helpers import SHORT, Cli, first, tree

from beadseg import files
from beadseg.errors import ExitCode


def without(folder: Path, kind: str) -> None:
    shutil.rmtree(folder / kind)


def empty_masks(folder: Path) -> None:
    for path in (folder / files.LABELS).iterdir():
        tifffile.imwrite(path, np.zeros((96, 96), np.uint32))


def strangers(folder: Path) -> None:
    for path in sorted((folder / files.LABELS).iterdir()):
        path.rename(path.with_name(f"other_{path.name}"))


def single(folder: Path) -> None:
    for kind in (files.IMAGES, files.LABELS):
        for path in sorted((folder / kind).iterdir())[1:]:
            path.unlink()


def cut(folder: Path) -> None:
    path = first(folder, files.LABELS)
    path.write_bytes(path.read_bytes()[:-200])


def blank(folder: Path) -> None:
    path = first(folder, files.IMAGES)
    path.unlink()
    tifffile.imwrite(path.with_suffix(".tif"), np.full((96, 96), np.nan, np.float32))


def label(pixels: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: tifffile.imwrite(first(folder, files.LABELS), pixels)


CHECKERS = (np.indices((96, 96)).sum(axis=0) % 24 == 0).astype(np.uint8) * 255

SPOILT: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "no folder": (shutil.rmtree, ("No such folder.", "images/")),
    "no images": (lambda folder: without(folder, files.IMAGES), ("Has no folder images/.", "--images")),
    "no masks": (lambda folder: without(folder, files.LABELS), ("Has no masks/, labels/ or points/.", "--masks")),
    "nothing pairs": (strangers, ("None of its 6 images has a usable annotation.", "paired by stem")),
    "one sample": (single, ("One sample cannot be divided", "Add more samples.")),
    "all masks empty": (empty_masks, ("No bead is annotated", "0 is background")),
    "mask of another size": (label(np.zeros((50, 60), np.uint32)), ("60x50", "96x96", "labels")),
    "float labels": (label(np.full((96, 96), 0.5)), ("whole numbers", "float64")),
    "mask among labels": (label(CHECKERS), ("binary mask, not labels", "masks folder")),
    "negative labels": (label(np.full((96, 96), -1, np.int32)), ("negative values",)),
    "cut label": (cut, ("damaged, cut short", "labels")),
    "text image": (lambda folder: first(folder, files.IMAGES).write_text("beads"), ("Is not a PNG", "images")),
    "empty image": (lambda folder: first(folder, files.IMAGES).write_bytes(b""), ("0 bytes", "images")),
    "NaN image": (blank, ("nothing but NaN", "images")),
}


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_dataset_is_refused(cli: Cli, dataset: Path, tmp_path: Path, name: str):
    spoil, texts = SPOILT[name]
    spoil(dataset)
    cli("train", dataset, "--out", tmp_path / "out", *SHORT).is_refusal(ExitCode.INPUT, *texts)
    assert not tree(tmp_path / "out")


def test_unpaired_files_are_named_and_the_rest_is_trained_on(cli: Cli, dataset: Path, tmp_path: Path):
    label_path = first(dataset, files.LABELS)
    label_path.unlink()
    image_path = sorted((dataset / files.IMAGES).iterdir())[-1]
    image_path.unlink()
    (dataset / files.IMAGES / "folder.png").mkdir()
    outcome = cli("train", dataset, "--out", tmp_path / "out", *SHORT)
    assert outcome.code == ExitCode.OK, outcome.err
    left_out = [line for line in outcome.out.splitlines() if "Left out: " in line]
    assert len(left_out) == 3
    assert any(label_path.stem in line and "Has no mask, no labels and no points" in line for line in left_out)
    assert any(image_path.stem in line and "No image has the same name" in line for line in left_out)
    assert any("folder.png" in line for line in left_out)
    assert len((tmp_path / "out" / files.SAMPLES).read_text(encoding="utf-8").splitlines()) == 1 + 4


def test_a_sample_whose_name_is_no_utf8_is_left_out(cli: Cli, dataset: Path, not_utf8: str, tmp_path: Path):
    outcome = cli("train", dataset, "--out", tmp_path / "out", *SHORT)
    assert outcome.code == ExitCode.OK, outcome.err
    assert "Rename it." in outcome.out
    assert "b\\udcff.png" in outcome.out


def test_one_pixel_wide_and_empty_tiles_train(cli: Cli, dataset: Path, tmp_path: Path):
    names = sorted(path.stem for path in (dataset / files.IMAGES).iterdir())
    iio.imwrite(dataset / files.IMAGES / f"{names[0]}.png", np.arange(96, dtype=np.uint8)[:, None])
    tifffile.imwrite(dataset / files.LABELS / f"{names[0]}.tif", np.zeros((96, 1), np.uint32))
    iio.imwrite(dataset / files.IMAGES / f"{names[1]}.png", np.full((96, 96), 255, np.uint8))
    tifffile.imwrite(dataset / files.LABELS / f"{names[1]}.tif", np.zeros((96, 96), np.uint32))
    outcome = cli("train", dataset, "--out", tmp_path / "out", *SHORT)
    assert outcome.code == ExitCode.OK, outcome.err
    assert (tmp_path / "out" / files.BEST).is_file()


def test_paths_with_spaces_and_quotes_train(cli: Cli, dataset: Path, tmp_path: Path):
    strange = dataset.rename(tmp_path / 'it\'s a "näme" %s {0}')
    outcome = cli("train", strange, "--out", tmp_path / "out 'q'", *SHORT)
    assert outcome.code == ExitCode.OK, outcome.err
    assert (tmp_path / "out 'q'" / files.BEST).is_file()


SPLITS = {
    "lacks samples": ("sample,fold\nother,train\n", ("Names no fold for", "--exclude")),
    "other columns": ("name,part\na,train\n", ("Has no column 'sample' or 'fold'", "name, part")),
    "unknown fold": ("sample,fold\na,traim\n", ("Has the folds traim", "train, val, test")),
    "twice": ("sample,fold\na,train\na,val\n", ("more than once: a",)),
    "empty": ("", ("Cannot be read as CSV",)),
}


@pytest.mark.parametrize("name", SPLITS)
def test_a_wrong_split_file_is_refused(cli: Cli, beads: Path, tmp_path: Path, name: str):
    text, texts = SPLITS[name]
    path = tmp_path / "split.csv"
    path.write_text(text)
    cli("train", beads, "--out", tmp_path / "out", "--split-file", path, *SHORT).is_refusal(2, str(path), *texts)
    assert not tree(tmp_path / "out")


OPTIONS = {
    "unknown field": (["--set", "optimizer.lrr=1"], 2, ("optimizer.lrr",)),
    "unknown group": (["--set", "optimiser.lr=1"], 2, ("'optimiser'", "optimizer")),
    "no assignment": (["--set", "epochs"], 2, ("'epochs' is not an assignment", "field=value")),
    "no number": (["--set", "epochs=many"], 2, ("epochs", "'many'")),
    "out of bounds": (["--set", "optimizer.lr=-1"], 2, ("optimizer.lr", "-1")),
    "unknown preset": (["--preset", "sparse"], 2, ("'sparse'", "dense, microbeads, mitochondria")),
    "unknown model": (["--model", "resnet"], 2, ("'resnet'", "unet, attention-unet, attention-resunet")),
    "unknown device": (["--device", "gpu"], 2, ("'gpu'", "cpu, cuda")),
    "nothing included": (["--include", "zzz*"], 2, ("No image is left",)),
    "missing split": (["--split-file", "gone.csv"], 2, ("gone.csv", "No such file")),
    "missing configuration": (["--config", "gone.yaml"], 2, ("gone.yaml", "No such configuration file")),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_wrong_option_is_refused(cli: Cli, beads: Path, tmp_path: Path, name: str):
    words, code, texts = OPTIONS[name]
    cli("train", beads, "--out", tmp_path / "out", *SHORT, *words).is_refusal(code, *texts)
    assert not tree(tmp_path / "out")


CONFIGS = {
    "typo": ("epochz: 3\n", ("epochz", "epochs")),
    "wrong kind": ("network: {kind: resnet}\n", ("network", "resnet", "attention-unet")),
    "wrong type": ("optimizer: fast\n", ("optimizer", "fast")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_wrong_configuration_file_is_refused(cli: Cli, beads: Path, tmp_path: Path, name: str):
    text, texts = CONFIGS[name]
    path = tmp_path / "config.yaml"
    path.write_text(text)
    cli("train", beads, "--out", tmp_path / "out", "--config", path).is_refusal(2, str(path), *texts)


@pytest.mark.parametrize("words", [[], ["--leave-out", "tile"], ["--folds", "99"]])
def test_crossval_says_what_it_needs(cli: Cli, beads: Path, tmp_path: Path, words: list[str]):
    outcome = cli("crossval", beads, "--out", tmp_path / "out", *SHORT, *words)
    outcome.is_refusal(2, "99 folds need" if "99" in words else "--leave-out field")


SCENES = {
    "crowded": (["--size", "64", "--beads", "100000"], 2, "Choose fewer or smaller beads"),
    "dilutions": (["--dilutions", "a,b"], 2, "320,640,1280"),
    "polarity": (["--polarity", "grey"], 2, "'dark' or 'bright'"),
    "diameter": (["--diameter", "-3"], 2, "diameter_px"),
    "field": (["--set", "dust=1"], 2, "dust"),
}


@pytest.mark.parametrize("name", SCENES)
def test_simulate_refuses_what_cannot_be(cli: Cli, tmp_path: Path, name: str):
    words, code, text = SCENES[name]
    cli("simulate", tmp_path / "out", "--tiles", "3", "--fields", "1", *words).is_refusal(code, text)
    assert not tree(tmp_path / "out")


def test_simulate_never_writes_among_other_files(cli: Cli, dataset: Path):
    before = tree(dataset)
    cli("simulate", dataset).is_refusal(2, "The folder is not empty.", "nothing was written")
    assert tree(dataset) == before
