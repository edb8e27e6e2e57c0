"""Bead centres as an annotation of a dataset: which files are read, what is refused, and what needs areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from roifile import ImagejRoi

from beadseg.annotation.audit import audit
from beadseg.annotation.review.agreement import other_annotations
from beadseg.cli.app import main
from beadseg.data.dataset import Dataset
from beadseg.errors import ExitCode, ImageError, InputError
from beadseg.measure.analysis import analyze

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.events import Event


def dataset(root: Path, text: str | None = "y,x\n3,4\n10,20\n", mask: np.ndarray | None = None) -> Path:
    for name in ("images", "points"):
        (root / name).mkdir(parents=True, exist_ok=True)
    iio.imwrite(root / "images" / "a.png", np.full((60, 50), 200, np.uint8))
    if text is not None:
        (root / "points" / "a.csv").write_text(text, encoding="utf-8")
    if mask is not None:
        (root / "masks").mkdir()
        iio.imwrite(root / "masks" / "a.png", mask)
    return root


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("y,x\n3,4\n10,20\n", [(3, 4), (10, 20)]),
        (" ,X,Y\n1,4,3\n2,20,10\n", [(3, 4), (10, 20)]),
        ("index,axis-0,axis-1\n0.0,3.0,4.0\n1.0,10.0,20.0\n", [(3, 4), (10, 20)]),
        ("Y;X\n3,5;4\n", [(3.5, 4)]),
        ("\ufeffid\ty\tx\n1\t3\t4\n", [(3, 4)]),
        ("y,x\n-0.4,49.6\n", [(0, 49)]),
        ("y,x\n", []),
    ],
)
def test_tables_of_bead_centres(tmp_path: Path, text: str, expected: list[tuple[float, float]]) -> None:
    target = Dataset.open(dataset(tmp_path, text))["a"].read_target()
    assert target.points is not None
    assert [tuple(point) for point in target.points.tolist()] == expected
    assert (target.areas, target.objects, target.labels) == (False, len(expected), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Is empty.*save the line y,x alone"),
        ("3,4\n10,20\n", "first line holds numbers"),
        ("row,column\n3,4\n", "no columns y and x. Its columns: row, column"),
        ("y,x\n3,4\n3,four\n", "Line 3 has 'four' in the column x"),
        ("y,x\n3\n", "Line 2 has '' in the column x"),
        ("y,x\n3,4\n3,55\n", "1 of 2 points lies outside the image of 50x60 px .*y=3, x=55.*exchanged"),
        ("y,x\n3,4\n90,80\n", "1 of 2 points lies outside.*pixels of this image"),
        ("index,shape-type,vertex-index,axis-0,axis-1\n0,ellipse,0,3,4\n", "shapes layer"),
    ],
)
def test_what_is_wrong_is_said_plainly(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        Dataset.open(dataset(tmp_path, text))["a"].read_target()


def test_point_selections_of_fiji(tmp_path: Path) -> None:
    root = dataset(tmp_path, None)
    ImagejRoi.frompoints([(4, 3), (20, 10)]).tofile(root / "points" / "a.roi")
    roi = ImagejRoi.fromfile(root / "points" / "a.roi")
    roi.roitype = type(roi.roitype).POINT
    roi.tofile(root / "points" / "a.roi")
    found = Dataset.open(root)["a"].read_target().points
    assert found is not None
    np.testing.assert_allclose(found, [(3, 4), (10, 20)], atol=0.51)


@pytest.mark.parametrize(
    "text",
    ["plane,y,x\n1,3,4\n0,5,6\n", "plane,y,x\nt001,3,4\nt000,5,6\n", "Slice,X,Y\n2,4,3\n1,6,5\n",
     "index,axis-0,axis-1,axis-2\n0,1,3,4\n1,0,5,6\n"],
)  # fmt: skip
def test_points_of_a_stack_say_their_plane(tmp_path: Path, text: str) -> None:
    root = dataset(tmp_path, text)
    (root / "images" / "a.png").unlink()
    tifffile.imwrite(root / "images" / "a.tif", np.zeros((2, 60, 50), np.uint8), metadata={"axes": "TYX"})
    found = [target.points for _, _, target in Dataset.open(root)["a"].planes()]
    assert [points.tolist() for points in found if points is not None] == [[[5, 6]], [[3, 4]]]
    (root / "points" / "a.csv").write_text("y,x\n3,4\n", encoding="utf-8")
    with pytest.raises(ImageError, match="Does not say which of the 2 planes"):
        list(Dataset.open(root)["a"].planes())


def test_points_under_the_ignore_mask_are_left_out(tmp_path: Path) -> None:
    root = dataset(tmp_path)
    (root / "ignore").mkdir()
    hidden = np.zeros((60, 50), np.uint8)
    hidden[:6] = 255
    iio.imwrite(root / "ignore" / "a.png", hidden)
    found = Dataset.open(root)["a"].read_target().points
    assert found is not None
    assert found.tolist() == [[10, 20]]


def test_points_and_a_mask_that_disagree_are_doubted(tmp_path: Path) -> None:
    mask = np.zeros((60, 50), np.uint8)
    mask[1:6, 2:7] = mask[40:45, 30:35] = 255
    target = Dataset.open(dataset(tmp_path, mask=mask))["a"].read_target()
    assert target.areas
    assert target.objects == 2
    (doubt,) = target.doubts()
    assert doubt.text == (
        "Points and mask disagree: 1 of 2 points lie beside the mask, and 1 of 2 marked objects have no point."
    )
    twice = Dataset.open(dataset(tmp_path / "twice", "y,x\n3,4\n3,4.4\n"))["a"].read_target()
    assert "2 of 2 points lie less than 1 px" in twice.doubts()[0].text


def test_what_needs_areas_says_so(tmp_path: Path) -> None:
    alone = Dataset.open(dataset(tmp_path))
    assert alone["a"].annotated
    for use, name in ((audit, "The audit"), (analyze, "The analysis")):
        with pytest.raises(InputError, match=f"{name} needs masks or labels, and the samples have points alone"):
            use(alone)
    root = dataset(tmp_path)
    iio.imwrite(root / "images" / "b.png", np.full((60, 50), 200, np.uint8))
    (root / "labels").mkdir()
    iio.imwrite(root / "labels" / "b.png", np.zeros((60, 50), np.uint8))
    heard: list[Event] = []
    assert Dataset.open(root).with_areas("The audit", heard.append).names == ("b",)
    assert heard[0].message == "The audit needs masks or labels: left out 1 sample with points alone (a)."


def test_an_export_and_a_comparison_of_annotations_leave_points_alone(tmp_path: Path) -> None:
    root = dataset(tmp_path / "one")
    assert (
        main(["export", "labels", str(root), "--format", "coco", "--out", str(tmp_path / "coco"), "--quiet"])
        == ExitCode.INPUT
    )
    assert not (tmp_path / "coco").exists()
    (root / "masks").mkdir()
    iio.imwrite(root / "masks" / "a.png", np.zeros((60, 50), np.uint8))
    assert other_annotations(Dataset.open(root), root / "masks")["a"].points_path is None


def test_points_are_files_of_the_sample(tmp_path: Path) -> None:
    sample = Dataset.open(dataset(tmp_path))["a"]
    before = sample.sha256()
    (tmp_path / "points" / "a.csv").write_text("y,x\n3,4\n", encoding="utf-8")
    assert sample.sha256()["points"] != before["points"]
    (tmp_path / "points" / "c_points.csv").write_text("y,x\n3,4\n", encoding="utf-8")
    assert [str(problem.message) for problem in Dataset.open(tmp_path).problems] == ["No image has the same name."]
