"""Files of other programs, and labels on their way to them: read without loss, or the first real cause is named."""

from __future__ import annotations

import base64
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from fault_helpers import Cli, first
from PIL import Image

from beadseg import files
from beadseg.data import Dataset, read_image
from beadseg.errors import InputError
from beadseg.widgets.io.files import write_labels

SIZE = (48, 64)


def square(x: int, y: int) -> list[list[int]]:
    return [[x, y, x + 6, y, x + 6, y + 6, x, y + 6]]


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        Image.fromarray(np.full(SIZE, 90, np.uint8)).save(folder / name)
    return folder


def coco(path: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> Path:
    rows = [{"id": i, "category_id": 1, **row} for i, row in enumerate(annotations, 1)]
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "bead"}], "images": images, "annotations": rows}))
    return path


def image(number: float, name: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1], **more}


def test_an_id_that_two_images_have_belongs_to_none(cli: Cli, tmp_path: Path):
    images = pictures(tmp_path / "images", "x.png", "x2.png", "y.png")
    rows = [image(1, "x.png"), image(1.0, "x2.png"), image(2, "y.png")]
    annotations = [{"image_id": key, "segmentation": square(x, 5)} for key, x in ((1, 5), (1, 20), (2, 30))]
    outcome = cli(
        "import", "coco", coco(tmp_path / "a.json", rows, annotations), "--images", images, "--out", tmp_path / "out"
    )
    assert outcome.code == 3
    assert "1 image with 1 object. " in outcome.out
    assert "x.png: Its id, 1, is that of 2 images (x.png, x2.png): none of them was taken." in outcome.out
    assert "2 annotations of the image id 1 left out" in outcome.out
    assert Dataset.open(tmp_path / "out").names == ("y",)


def test_where_all_images_share_an_id_nothing_is_written(cli: Cli, tmp_path: Path):
    images = pictures(tmp_path / "images", "x.png", "x2.png")
    source = coco(tmp_path / "a.json", [image(1, "x.png"), image(1, "x2.png")],
                  [{"image_id": 1, "segmentation": square(5, 5)}])  # fmt: skip
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out")
    outcome.is_refusal(2, "Its id, 1, is that of 2 images")
    assert not (tmp_path / "out").exists()


CATEGORIES: dict[str, tuple[list[Any], list[Any], list[str], tuple[int, str]]] = {
    "ids are text": ([{"id": "1", "name": "bead"}, {"id": 2.0, "name": "dust"}], [1, "1", 2], ["bead"],
                     (0, "2 objects")),
    "not listed": ([{"id": 1, "name": "bead"}], [1, 7, 7], [],
                   (3, "2 annotations of the category id 7, which its list of categories lacks: taken.")),
    "not listed and left out": ([{"id": 1, "name": "bead"}], [1, 7, 1], ["bead"],
                                (3, "1 annotation of the category id 7, which its list of categories lacks: left")),
    "none of this category": ([{"id": 1, "name": "bead"}, {"id": 2, "name": "dust"}], [2, 2, 2], ["bead"],
                              (2, "None of its annotations is of the category bead: they are of dust (3).")),
    "two of one id": ([{"id": 1, "name": "bead"}, {"id": 1, "name": "dust"}], [1, 1, 1], ["dust"],
                      (2, "'bead' and 'dust' have the same id, 1")),
    "no list of categories": ([], [1, 7, None], [], (0, "3 objects")),
}  # fmt: skip
"""By name: the list of categories, what three annotations are of, which are wanted, exit code and what is said."""


@pytest.mark.parametrize("name", CATEGORIES)
def test_no_category_is_lost_or_taken_in_silence(cli: Cli, tmp_path: Path, name: str):
    categories, used, wanted, (code, text) = CATEGORIES[name]
    images = pictures(tmp_path / "images", "x.png")
    annotations = [{"image_id": 1, "category_id": key, "segmentation": square(5 + 15 * at, 5)}
                   for at, key in enumerate(used)]  # fmt: skip
    source = coco(tmp_path / "a.json", [image(1, "x.png")], annotations)
    source.write_text(json.dumps({**json.loads(source.read_text()), "categories": categories}))
    words = [word for category in wanted for word in ("--category", category)]
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out", *words)
    assert outcome.code == code, outcome.err
    assert text in outcome.out + outcome.err


@pytest.mark.parametrize("size", [{}, {"height": None, "width": None}, {"height": 0, "width": 0}, {"height": 48.0}])
def test_images_without_a_size_are_those_of_the_folder(cli: Cli, tmp_path: Path, size: dict[str, Any]):
    images = pictures(tmp_path / "images", "x.png")
    row = {"id": 1, "file_name": "x.png", **size}
    source = coco(tmp_path / "a.json", [row], [{"image_id": 1, "segmentation": square(5, 5)}])
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out + outcome.err
    (sample,) = Dataset.open(tmp_path / "out")
    assert np.count_nonzero(sample.read_target().foreground) == 36


ODD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "flags and numbers as text": ({"id": "1", "height": "48", "width": "64"}, {"iscrowd": "0"}),
    "escaped name": ({"file_name": "my%20x.png"}, {}),
    "Label Studio's name": ({"file_name": "upload/3/1a2b3c4d-my%20x.png"}, {}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_other_programs_make_of_coco_is_read(cli: Cli, tmp_path: Path, name: str):
    of_image, of_annotation = ODD[name]
    images = pictures(tmp_path / "images", "my x.png")
    row = {**image(1, "my x.png"), **of_image}
    source = coco(tmp_path / "a.json", [row], [{"image_id": 1, "segmentation": square(5, 5), **of_annotation}])
    document = json.loads(source.read_text())
    del document["categories"]
    source.write_text(json.dumps(document))
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out + outcome.err
    assert Dataset.open(tmp_path / "out")["my x"].read_target().objects == 1


def test_a_zip_file_in_place_of_its_json_is_named(cli: Cli, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("annotations/instances_default.json", "{}")
    images = pictures(tmp_path / "images", "x.png")
    outcome = cli("import", "coco", tmp_path / "a.zip", "--images", images, "--out", tmp_path / "out")
    outcome.is_refusal(2, "Is a zip file", "Extract it")


def test_a_name_that_differs_is_shown_beside_one_of_the_folder(cli: Cli, tmp_path: Path):
    images = pictures(tmp_path / "images", "img_01.png")
    source = coco(tmp_path / "a.json", [image(1, "x.png")], [{"image_id": 1, "segmentation": square(5, 5)}])
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out")
    outcome.is_refusal(2, "x.png: No image of this name or stem. The folder holds img_01.png.")


def test_long_names_in_folders_do_not_end_an_import(cli: Cli, tmp_path: Path):
    name = "n" * 250 + ".png"
    for folder in ("f1", "f2"):
        pictures(tmp_path / folder, name)
        (tmp_path / "images" / folder).parent.mkdir(exist_ok=True)
        (tmp_path / folder).rename(tmp_path / "images" / folder)
    rows = [image(number, f"f{number}/{name}") for number in (1, 2)]
    annotations = [{"image_id": number, "segmentation": square(5, 5)} for number in (1, 2)]
    source = coco(tmp_path / "a.json", rows, annotations)
    outcome = cli("import", "coco", source, "--images", tmp_path / "images", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out + outcome.err
    assert len(Dataset.open(tmp_path / "out")) == 2


def shape(kind: str, points: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"label": "bead", "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def png_text(mask: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(mask).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


SHAPES = [
    shape("polygon", [[2, 2], [8, 2], [8, 8], [2, 8]]),
    shape("rectangle", [[20, 2], [30, 12]]),
    shape("circle", [[45, 10], [49, 10]]),
    shape("mask", [[10, 30], [14, 34]], mask=png_text(np.ones((5, 5), bool))),
    shape("polygon", [[30, 30], [34, 30], [34, 34], [30, 34]], group_id=1),
    shape("polygon", [[36, 30], [40, 30], [40, 34], [36, 34]], group_id=1),
    shape("point", [[5, 40]]),
]
"""Four objects, one in two parts, and a point."""


def labelme(path: Path, shapes: list[dict[str, Any]], picture: str = "..\\photos\\x.png") -> Path:
    document = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": picture, "imageData": None,
                "imageHeight": SIZE[0], "imageWidth": SIZE[1]}  # fmt: skip
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_files_of_labelme_are_read(cli: Cli, tmp_path: Path, kind: str):
    images = pictures(tmp_path / "images", "x.png", "y.png")
    (tmp_path / "json").mkdir()
    labelme(tmp_path / "json" / "x.json", SHAPES)
    labelme(tmp_path / "json" / "y.json", SHAPES[:1], "y.png")
    outcome = cli("import", kind, tmp_path / "json", "--images", images, "--out", tmp_path / "out")
    assert outcome.code == 3
    assert "x.json: Shape 6 is a point, which has no area." in outcome.out
    target = Dataset.open(tmp_path / "out")["x"].read_target()
    assert target.labels is not None
    areas = np.bincount(target.labels.ravel())[1:]
    assert areas[[0, 1, 3, 4]].tolist() == [36, 100, 25, 32]
    assert abs(areas[2] - np.pi * 16) < 4
    assert np.argwhere(target.labels == 4).min(axis=0).tolist() == [30, 10]
    single = cli("import", kind, tmp_path / "json" / "y.json", "--images", images, "--out", tmp_path / "one")
    assert "1 image" in single.out


OTHERS = {
    "VIA": ({"_via_settings": {}, "_via_img_metadata": {}}, "VIA"),
    "GeoJSON": ({"type": "FeatureCollection", "features": []}, "QuPath"),
    "results": ([{"image_id": 1, "category_id": 1, "score": 0.5}], "COCO results"),
    "Label Studio": ([{"id": 1, "annotations": [], "data": {}}], "Label Studio"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named(cli: Cli, tmp_path: Path, name: str):
    document, text = OTHERS[name]
    (tmp_path / "a.json").write_text(json.dumps(document))
    images = pictures(tmp_path / "images", "x.png")
    outcome = cli("import", "coco", tmp_path / "a.json", "--images", images, "--out", tmp_path / "out")
    outcome.is_refusal(2, "Is not COCO but", text)


@pytest.fixture
def rois(cli: Cli, dataset: Path, tmp_path: Path) -> Path:
    """The first sample of the dataset as Fiji's ROIs; the folder of its image beside it is called images."""
    name = first(dataset, files.IMAGES).stem
    cli("export", "labels", dataset, "--format", "fiji-roi", "--out", tmp_path / "rois", "--include", name)
    (tmp_path / "images").mkdir()
    shutil.copyfile(first(dataset, files.IMAGES), tmp_path / "images" / f"{name}.png")
    return tmp_path / "rois" / f"{name}.zip"


def test_shadow_files_of_macos_are_no_rois(cli: Cli, rois: Path, tmp_path: Path):
    with zipfile.ZipFile(rois, "a") as archive:
        for name in archive.namelist():
            archive.writestr(f"__MACOSX/._{name}", b"\0\5\26\7 not a ROI")
            archive.writestr(f"._{name}", b"\0\5\26\7 not a ROI")
    outcome = cli("import", "fiji-roi", rois, "--images", tmp_path / "images", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out


def test_roiset_of_a_single_image_is_of_that_image(cli: Cli, rois: Path, tmp_path: Path):
    roiset = rois.rename(tmp_path / "RoiSet.zip")
    outcome = cli("import", "fiji-roi", roiset, "--images", tmp_path / "images", "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out
    (sample,) = Dataset.open(tmp_path / "out")
    assert sample.read_target().objects > 5


def test_a_zip_file_without_rois_is_named(cli: Cli, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.tif", b"x")
    images = pictures(tmp_path / "images", "x.png")
    outcome = cli("import", "fiji-roi", tmp_path / "x.zip", "--images", images, "--out", tmp_path / "out")
    outcome.is_refusal(2, "Holds no ROI, but a.tif.")


def turned(path: Path, orientation: int) -> None:
    """Store an image turned, with the tag that turns it back."""
    pixels = np.array(Image.open(path))
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels, {3: 2, 6: 1}[orientation]))).save(path, exif=exif)


@pytest.mark.parametrize("orientation", [3, 6])
def test_annotations_of_a_turned_image_fit(cli: Cli, tmp_path: Path, orientation: int):
    images = pictures(tmp_path / "images")
    upright = np.full(SIZE, 90, np.uint8)
    upright[5:11, 20:26] = 10
    Image.fromarray(upright).save(images / "x.png")
    turned(images / "x.png", orientation)
    source = coco(tmp_path / "a.json", [image(1, "x.png")], [{"image_id": 1, "segmentation": square(20, 5)}])
    outcome = cli("import", "coco", source, "--images", images, "--out", tmp_path / "out")
    assert outcome.code == 0, outcome.out
    (sample,) = Dataset.open(tmp_path / "out")
    assert (sample.read_target().foreground == (sample.read_image().data == 10)).all()


def test_rois_on_a_turned_image_are_refused(cli: Cli, rois: Path, tmp_path: Path):
    turned(next((tmp_path / "images").iterdir()), 3)
    outcome = cli("import", "fiji-roi", rois, "--images", tmp_path / "images", "--out", tmp_path / "out")
    outcome.is_refusal(2, "orientation tag", "Save the image without the tag")


LARGE = [2**32, 2**32 + 1, 2**40, 2**62]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_large_ids_are_written_without_loss(tmp_path: Path, dtype: type):
    labels = np.zeros((9, 9), dtype)
    labels[1:3, 1:3] = 1
    for number, value in enumerate(LARGE):
        labels[5, 2 * number] = value
    write_labels(str(tmp_path / "a.tif"), labels, {})
    written = tifffile.imread(tmp_path / "a.tif")
    assert ((written > 0) == (labels > 0)).all()
    assert [int(written[labels == value].min()) for value in (1, *LARGE)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("labels", [np.array([[-1, 0], [0, 1]]), np.array([[0.5, 0.0], [0.0, 1.0]])])
def test_what_is_no_labels_is_not_written(tmp_path: Path, labels: np.ndarray):
    with pytest.raises(InputError, match="whole numbers of 0 or more"):
        write_labels(str(tmp_path / "a.tif"), labels, {})
    assert not list(tmp_path.iterdir())


GREYS = np.arange(48, dtype=np.uint8).reshape(6, 8)
RGB = np.stack([GREYS, GREYS + 50, GREYS + 100], axis=-1)
EXTRA = 200 - GREYS
GREY = {"photometric": "minisblack", "planarconfig": 1}

FOURTH: dict[str, tuple[Callable[[], tuple[np.ndarray, dict[str, Any]]], int]] = {
    "something else": (lambda: (np.dstack([RGB, EXTRA]), {"photometric": "rgb", "extrasamples": ["unspecified"]}), 4),
    "alpha": (lambda: (np.dstack([RGB, EXTRA * 0 + 9]), {"photometric": "rgb", "extrasamples": ["unassalpha"]}), 3),
    "alpha, then something else": (
        lambda: (np.dstack([RGB, EXTRA * 0 + 9, EXTRA]), {"photometric": "rgb", "extrasamples": [2, 0]}), 4
    ),
    "grey and something else": (lambda: (np.dstack([GREYS, EXTRA]), {**GREY, "extrasamples": [0]}), 2),
    "grey and alpha": (lambda: (np.dstack([GREYS, EXTRA * 0 + 9]), {**GREY, "extrasamples": [2]}), 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FOURTH)
def test_the_file_says_what_its_extra_samples_are(tmp_path: Path, name: str):
    make, channels = FOURTH[name]
    pixels, options = make()
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    read = read_image(tmp_path / "a.tif")
    assert read.channels == channels
    last = np.reshape(read.data, (-1, *GREYS.shape))[-1]
    expected = EXTRA if channels in (2, 4) else RGB[..., 2] if channels == 3 else GREYS
    assert (last == expected).all()
