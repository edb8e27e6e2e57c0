"""Masks and labels that cannot be what they claim: refused or doubted, in every command alike."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from fault_helpers import SHORT, Cli, first, tree
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import minimum_filter
from skimage.transform import resize

from beadseg import files
from beadseg.data import Dataset, Mask, read_labels, read_mask
from beadseg.data.masks import doubts_of
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import ImageError
from beadseg.measure.evaluation import Evaluation

FLAGGED = 5
Labels = NDArray[np.uint32]


@pytest.fixture(scope="session")
def ids(beads: Path) -> Labels:
    """(96, 96), about 20 beads, some of them touching."""
    return np.asarray(tifffile.imread(sorted((beads / files.LABELS).iterdir())[0]))


def jpeg(pixels: NDArray[np.generic], quality: int) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels.astype(np.uint8)).save(path.with_suffix(".jpg"), quality=quality)


def png(pixels: NDArray[np.generic]) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(pixels.astype(np.uint8)).save(path.with_suffix(".png"))


def tiff(pixels: NDArray[np.generic], **options: object) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path.with_suffix(".tif"), pixels, **options)


def written(folder: Path, write: Callable[[Path], None]) -> Path:
    write(folder / "a")
    (path,) = (path for path in folder.iterdir() if path.stem == "a")
    return path


def white(ids: Labels) -> NDArray[np.uint8]:
    return np.where(ids > 0, np.uint8(255), np.uint8(0))


NO_LABELS: dict[str, tuple[Callable[[Labels], Callable[[Path], None]], str]] = {
    "background 1": (lambda ids: tiff(ids + 1), "The id 1 covers"),
    "background 7 behind lines": (lambda ids: tiff(np.where(ids > 0, ids, 700)), "The id 700 covers"),
    "classes": (lambda ids: png(np.where(ids > 0, ids % 2 + 1, 0)), "2 ids have"),
    "classes without 0": (lambda ids: png((ids > 0) + 1), "The id 1 covers"),
    "ids that wrapped": (lambda ids: png(np.where(ids > 0, ids % 5 + 1, 0)), "5 ids have"),
    "mask": (lambda ids: png(white(ids)), "masks folder"),
    "mask as JPEG": (lambda ids: jpeg(white(ids), 75), "masks folder"),
    "labels as JPEG": (lambda ids: jpeg(ids, 75), "not one number per bead"),
    "soft mask": (lambda ids: png(255 * resize((ids > 0).astype(float), (140, 140), order=1)), "masks folder"),
    "labels resized": (
        lambda ids: tiff(resize(ids.astype(float), (150, 150), order=1).astype(np.uint16)), "not one number per bead"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_LABELS)
def test_what_is_no_labels_is_refused_with_a_remedy(ids: Labels, tmp_path: Path, name: str):
    make, text = NO_LABELS[name]
    path = written(tmp_path, make(ids))
    with pytest.raises(ImageError) as caught:
        read_labels(path)
    assert text in str(caught.value)


NO_MASK: dict[str, tuple[Callable[[Labels], Callable[[Path], None]], str]] = {
    "classes without 0": (lambda ids: png((ids > 0) + 1), "no background 0"),
    "background 1": (lambda ids: tiff(ids + 1), "no background 0"),
    "few labels as JPEG": (lambda ids: jpeg(ids + 15 * (ids > 0), 75), "half of white"),
    "many labels as JPEG": (lambda ids: jpeg(ids * 10, 75), "half of white|fill whole objects"),
}


@pytest.mark.parametrize("name", NO_MASK)
def test_what_is_no_mask_is_refused(ids: Labels, tmp_path: Path, name: str):
    make, text = NO_MASK[name]
    with pytest.raises(ImageError, match=text):
        read_mask(written(tmp_path, make(ids)))


def red(ids: Labels) -> NDArray[np.uint8]:
    return np.stack([white(ids), np.zeros_like(white(ids)), np.zeros_like(white(ids))], axis=-1)


def red_first(ids: Labels) -> Image.Image:
    """A palette whose index 0 is red and whose index 1 is black."""
    image = Image.fromarray(np.where(ids > 0, 0, 1).astype(np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 0, 0])
    return image


SAME: dict[str, Callable[[Labels], Callable[[Path], None]]] = {
    "palette PNG": lambda ids: lambda path: red_first(ids).save(path.with_suffix(".png")),
    "palette TIFF": lambda ids: lambda path: red_first(ids).save(path.with_suffix(".tif")),
    "palette BMP": lambda ids: lambda path: red_first(ids).save(path.with_suffix(".bmp")),
    "colour PNG": lambda ids: png(red(ids)),
    "colour TIFF": lambda ids: tiff(red(ids), photometric="rgb"),
    "grey PNG": lambda ids: png(white(ids)),
    "grey BMP": lambda ids: lambda path: Image.fromarray(white(ids)).save(path.with_suffix(".bmp")),
    "JPEG": lambda ids: jpeg(white(ids), 95),
    "one bit TIFF": lambda ids: tiff(ids > 0, photometric="minisblack"),
    "one bit, white is 0": lambda ids: (
        lambda path: Image.fromarray(ids > 0).save(path.with_suffix(".tif"), compression="group4", tiffinfo={262: 0})
    ),
    "white is 0": lambda ids: tiff(255 - white(ids), photometric="miniswhite"),
}


@pytest.mark.parametrize("name", SAME)
def test_one_mask_reads_the_same_in_every_kind(ids: Labels, tmp_path: Path, name: str):
    foreground = read_mask(written(tmp_path, SAME[name](ids))).foreground
    assert np.count_nonzero(foreground != (ids > 0)) == 0


def test_indices_of_a_palette_stay_ids_where_index_0_is_black_or_white(ids: Labels, tmp_path: Path):
    for background in (0, 255):
        image = Image.fromarray(ids.astype(np.uint8), "P")
        image.putpalette([background] * 3 + [(37 * i) % 251 + 1 for i in range(3 * 255)])
        image.save(tmp_path / "a.png")
        found = read_labels(tmp_path / "a.png").labels
        assert found is not None
        assert (found == ids).all()


def test_an_inverting_table_of_imagej_is_a_matter_of_display(ids: Labels, tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", white(ids), imagej=True, photometric="miniswhite")
    assert (read_mask(tmp_path / "a.tif").foreground == (ids > 0)).all()


def test_stacks_over_time_and_depth_are_judged(ids: Labels, tmp_path: Path):
    stack = np.stack([ids, np.roll(ids, 3, 0)] * 2).reshape(2, 2, *ids.shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "TZYX"})
    assert read_mask(tmp_path / "a.tif").kind == "labels"
    tifffile.imwrite(
        tmp_path / "a.tif", np.where(stack > 0, stack % 2 + 1, 0).astype(np.uint16), metadata={"axes": "TZYX"}
    )
    with pytest.raises(ImageError, match="ids have"):
        read_labels(tmp_path / "a.tif")


def kinds(mask: Mask) -> list[str]:
    return [doubt.kind for doubt in doubts_of(mask.foreground, mask.labels, None, mask.soft_share)]


def test_doubts_of_single_annotations(ids: Labels, tmp_path: Path):
    assert kinds(Mask(ids > 0, ids, "labels")) == []
    assert kinds(Mask(ids > 0, None, "binary")) == []
    assert kinds(Mask(ids == 0, None, "binary")) == ["inverted"]
    crowded = np.ones((60, 60), bool)
    crowded[::7] = False
    assert kinds(Mask(crowded, None, "binary")) == ["full"], "stripes are not beads: dense images exist"
    pieces = ids.copy()
    pieces[pieces == 3] = pieces[pieces == 5] = 1
    pieces[pieces == 6] = 2
    assert kinds(Mask(pieces > 0, pieces, "labels")) == ["pieces"]
    specks = np.zeros((60, 60), bool)
    specks[::5, ::5] = True
    assert kinds(Mask(specks, None, "binary")) == ["specks"]
    outlines = (ids > 0) & (minimum_filter(ids > 0, 3) == 0)
    assert kinds(Mask(outlines, None, "binary")) == ["rings"]
    assert kinds(read_mask(written(tmp_path, jpeg(white(ids), 40)))) == ["soft"]


def test_what_is_ignored_is_not_judged(ids: Labels):
    assert doubts_of(ids == 0, None, ids == 0) == ()


@pytest.fixture
def inverted(dataset: Path) -> Path:
    """The dataset with inverted masks in place of its labels."""
    (dataset / files.MASKS).mkdir()
    for path in sorted((dataset / files.LABELS).iterdir()):
        background = np.where(tifffile.imread(path) > 0, 0, 255).astype(np.uint8)
        Image.fromarray(background).save(dataset / files.MASKS / f"{path.stem}.png")
        path.unlink()
    (dataset / files.LABELS).rmdir()
    return dataset


def test_train_refuses_inverted_masks_and_names_the_way_on(cli: Cli, inverted: Path, tmp_path: Path):
    outcome = cli("train", inverted, "--out", tmp_path / "out", *SHORT)
    outcome.is_refusal(2, "6 of 6 annotations look inverted", "round spots", "--set annotations=trust")
    assert not tree(tmp_path / "out")
    trusted = cli("train", inverted, "--out", tmp_path / "out", "--plan", "--set", "annotations=trust", *SHORT)
    assert trusted.code == 0, trusted.err
    assert "6 of 6 annotations look inverted" in trusted.out


def test_every_command_says_the_same(cli: Cli, inverted: Path, beads: Path, tmp_path: Path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / files.LABELS).symlink_to(beads / files.LABELS)
    texts = [
        cli("analyze", inverted, "--out", tmp_path / "analysis").out,
        cli("audit", inverted, "--out", tmp_path / "audit").err,
        cli("evaluate", tmp_path / "found", inverted, "--out", tmp_path / "scores").out,
    ]
    for text in texts:
        assert "of the image is marked as bead, and the rest is" in text
        assert "it looks inverted. Save 255 (or ids) on beads and 0 elsewhere." in text


def test_an_evaluation_against_inverted_masks_is_flagged(cli: Cli, inverted: Path, beads: Path, tmp_path: Path):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / files.LABELS).symlink_to(beads / files.LABELS)
    out = tmp_path / "scores"
    outcome = cli("evaluate", tmp_path / "found", inverted, "--out", out)
    assert outcome.code == FLAGGED
    assert outcome.out.count("flagged: ") == 6
    table = pd.read_csv(out / files.EVALUATION_IMAGES, keep_default_na=False)
    assert table["flags"].str.contains("it looks inverted").all()
    assert all("it looks inverted" in image.flags for image in Evaluation.read(out).images)
    page = (out / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert "The annotations of 6 of 6 images may not be what they claim." in page


def test_what_the_prediction_leaves_out_is_an_inverted_annotation_too(cli: Cli, dataset: Path, tmp_path: Path):
    """With beads on most of the image the inverted mask marks less than half of it."""
    for folder in (dataset / files.MASKS, tmp_path / "found" / files.MASKS):
        folder.mkdir(parents=True)
    for path in sorted((dataset / files.LABELS).iterdir()):
        gaps = np.zeros((96, 96), np.uint8)
        gaps[::8], gaps[:, ::8] = 255, 255
        Image.fromarray(gaps).save(dataset / files.MASKS / f"{path.stem}.png")
        Image.fromarray(255 - gaps).save(tmp_path / "found" / files.MASKS / f"{path.stem}.png")
    shutil.rmtree(dataset / files.LABELS)
    outcome = cli("evaluate", tmp_path / "found", dataset, "--out", tmp_path / "scores")
    assert outcome.code == FLAGGED
    assert "6 of 6 annotations mark what the prediction leaves out" in outcome.out


def test_an_evaluation_of_good_annotations_is_not_flagged(cli: Cli, predicted: Path, beads: Path, tmp_path: Path):
    assert cli("evaluate", predicted, beads, "--out", tmp_path / "scores").code == 0
    assert not Evaluation.read(tmp_path / "scores").flagged


def test_audit_reports_doubts_as_findings(cli: Cli, dataset: Path, tmp_path: Path):
    path = first(dataset, files.LABELS)
    labels = tifffile.imread(path)
    labels[(labels == 3) | (labels == 5)] = 1
    labels[labels == 6] = 2
    tifffile.imwrite(path, labels)
    outcome = cli("audit", dataset, "--out", tmp_path / "audit")
    assert f"{path.stem}: " in outcome.out
    assert "separate pieces." in outcome.out


@pytest.mark.parametrize("command", ["analyze", "audit", "evaluate"])
def test_classes_among_labels_are_named_by_every_command(
    cli: Cli, dataset: Path, beads: Path, tmp_path: Path, command: str
):
    path = first(dataset, files.LABELS)
    labels = tifffile.imread(path)
    tifffile.imwrite(path, np.where(labels > 0, labels % 2 + 1, 0).astype(np.uint8))
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / files.LABELS).symlink_to(beads / files.LABELS)
    words = [tmp_path / "found", dataset] if command == "evaluate" else [dataset]
    outcome = cli(command, *words, "--out", tmp_path / "out")
    assert outcome.code == 3
    assert "2 ids have" in outcome.out
    assert "not one number per bead" in outcome.out


def turned(dataset: Path, orientation: int, mask_too: bool) -> None:
    """Store the first image (and its mask) so that its orientation tag turns it back."""
    path = first(dataset, files.IMAGES)
    pixels = np.array(Image.open(path))
    stored = {3: np.rot90(pixels, 2), 6: np.rot90(pixels, 1)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif)
    if not mask_too:
        return
    label = first(dataset, files.LABELS)
    labels = tifffile.imread(label)
    label.unlink()
    tifffile.imwrite(label, np.rot90(labels, {3: 2, 6: 1}[orientation]))


def test_a_turned_image_fits_its_upright_labels_and_is_named(cli: Cli, dataset: Path, beads: Path, tmp_path: Path):
    turned(dataset, 6, mask_too=False)
    name = first(dataset, files.IMAGES).stem
    assert (Dataset.open(dataset)[name].read_image().data == Dataset.open(beads)[name].read_image().data).all()
    outcome = cli("analyze", dataset, "--out", tmp_path / "out")
    assert f"1 of 6 annotations may lie turned against the image: {name}." in outcome.out


@pytest.mark.parametrize(("diameter", "compared"), [(3.0, False), (7.0, True)])
def test_audit_says_from_which_size_on_it_compares(cli: Cli, tmp_path: Path, diameter: float, compared: bool):
    scene = SceneConfig(height=96, width=96, beads=20, debris=0, channels="grey", diameter_px=diameter)
    write_dataset(tmp_path / "data", SeriesConfig(scene=scene, tiles=3, dilutions=(80,), fields=1, seed=1))
    outcome = cli("audit", tmp_path / "data", "--out", tmp_path / "audit")
    assert outcome.code == 0, outcome.err
    assert "0 of 3 samples have findings." in outcome.out
    assert (
        "Beads are 3 px across; masks are compared with what images show from 5 to 80 px." in outcome.out
    ) != compared
