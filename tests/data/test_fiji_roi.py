"""Fiji's ROIs: round trips without loss, ROIs as Fiji writes them, and files that are wrong."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roifile
from annotation_helpers import hard_labels, imported, labelled, labels_in, special_labels, write_images
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi

from beadseg.data.annotations import fiji, regions
from beadseg.data.annotations.fiji import area, read_fiji_rois, write_fiji_rois
from beadseg.data.annotations.regions import tight
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_mask
from beadseg.errors import InputError

SIZE = (24, 30)


def drawn(roi: ImagejRoi) -> np.ndarray:
    """Return the pixels of a ROI that went through its file format."""
    image = np.zeros(SIZE, bool)
    region = area(ImagejRoi.frombytes(roi.tobytes()), SIZE)
    if region is not None:
        image[region.slices] = region.mask
    return image


def box(kind: ROI_TYPE, left: int, top: int, right: int, bottom: int, **more: Any) -> ImagejRoi:
    roi = ImagejRoi(roitype=kind, version=228, **more)
    roi.left, roi.top, roi.right, roi.bottom = left, top, right, bottom
    return roi


def centres() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return y, x


def save(path: Path, *rois: ImagejRoi) -> Path:
    path.unlink(missing_ok=True)
    roifile.roiwrite(path, rois, mode="w")
    return path


def taken(path: Path, *names: str, diameter: float | None = None, **image: Any) -> tuple[Any, Dataset]:
    images = write_images(path.parent / "pictures", *(names or ("a",)), **image)
    return imported(read_fiji_rois(path, diameter), images, path.parent / "out")


@pytest.mark.parametrize("labels", [*map(hard_labels, range(6)), special_labels(), np.zeros(SIZE, np.uint32)])
def test_round_trip(labels: np.ndarray, tmp_path: Path) -> None:
    write_fiji_rois(tmp_path / "a.zip", labelled(labels, pixel_size_um=0.5))
    result, dataset = taken(tmp_path / "a.zip", shape=labels.shape)
    assert result.failures == ()
    assert result.contested == 0
    assert np.array_equal(labels_in(dataset), labels)


def test_roifile_reads_what_is_written(tmp_path: Path) -> None:
    write_fiji_rois(tmp_path / "a.zip", labelled(special_labels(), pixel_size_um=0.5))
    rois = roifile.roiread(tmp_path / "a.zip")
    assert isinstance(rois, list)
    kinds = {roi.name: (roi.roitype, roi.composite) for roi in rois}
    assert kinds == {
        "bead-00005": (ROI_TYPE.RECT, True),  # a hole and an island
        "bead-00007": (ROI_TYPE.RECT, True),  # two pieces
        "bead-00009": (ROI_TYPE.TRACED, False),
        "bead-00012": (ROI_TYPE.RECT, True),
        "bead-66000": (ROI_TYPE.RECT, True),  # joined at corners only
        "bead-4294967295": (ROI_TYPE.TRACED, False),
    }
    assert {roi.properties["pixel_size_um"] for roi in rois} == {0.5}
    single = next(roi for roi in rois if roi.name == "bead-00009")
    assert single.coordinates().tolist() == [[20, 3], [21, 3], [21, 4], [20, 4]]
    ring = next(roi for roi in rois if roi.name == "bead-00005")
    assert sorted(len(path) for path in ring.coordinates(multi=True)) == [5, 5, 5]
    assert (ring.left, ring.top, ring.right, ring.bottom) == (2, 2, 9, 9)


def test_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        write_fiji_rois(tmp_path / f"{name}.zip", labelled(hard_labels()))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize(("axes", "lead"), [("TYX", (3,)), ("ZYX", (3,)), ("TZYX", (2, 2))])
def test_stacks_and_ignore_masks_round_trip(axes: str, lead: tuple[int, ...], tmp_path: Path) -> None:
    labels = np.stack([hard_labels(seed, SIZE) for seed in range(int(np.prod(lead)))]).reshape(*lead, *SIZE)
    ignore = np.zeros(labels.shape, bool)
    ignore[-1][..., 3:7, 4:9] = True
    write_fiji_rois(tmp_path / "a.zip", labelled(labels, axes=axes, ignore=ignore))
    result, dataset = taken(tmp_path / "a.zip", shape=labels.shape, axes=axes)
    assert result.failures == ()
    assert np.array_equal(labels_in(dataset).reshape(labels.shape), labels)
    path = dataset["a"].ignore_path
    assert path is not None
    assert np.array_equal(read_mask(path).foreground, ignore)


def test_large_coordinates_survive(tmp_path: Path) -> None:
    labels = np.zeros((3, 90_004), np.uint32)
    labels[:2, 40_000:40_003] = labels[:, 90_000:] = 1
    labels[1, 70_000:70_005] = 2
    write_fiji_rois(tmp_path / "a.zip", labelled(labels))
    found = np.zeros_like(labels)
    for name, roi in fiji.read_rois(tmp_path / "a.zip"):
        assert isinstance(roi, ImagejRoi)
        region = area(roi, labels.shape)
        assert region is not None
        found[region.slices][region.mask] = int(name[-1])
    assert np.array_equal(found, labels)


def test_polygons_along_pixel_edges_cover_exactly_these_pixels() -> None:
    corners = [[5, 3], [12, 3], [12, 10], [5, 10]]
    expected = np.zeros(SIZE, bool)
    expected[3:10, 5:12] = True
    for kind in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        for points in (np.array(corners), np.array(corners, float)):  # whole numbers, and subpixel resolution
            roi = ImagejRoi.frompoints(points)
            roi.roitype = kind
            assert np.array_equal(drawn(roi), expected)
    assert np.array_equal(drawn(box(ROI_TYPE.RECT, 5, 3, 12, 10)), expected)
    subpixel = box(ROI_TYPE.RECT, 5, 3, 12, 10, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    subpixel.xd, subpixel.yd, subpixel.widthd, subpixel.heightd = 4.6, 3.2, 7.0, 7.0
    assert np.array_equal(drawn(subpixel), expected)


def test_oval_is_filled_as_imagej_does() -> None:
    found = drawn(box(ROI_TYPE.OVAL, 5, 3, 12, 12))
    y, x = centres()
    assert np.array_equal(found, ((x - 8.5) / 3.5) ** 2 + ((y - 7.5) / 4.5) ** 2 <= 1)
    rows, columns = np.nonzero(found)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((8.5, 7.5), abs=0.01)


@pytest.mark.parametrize("subtype", [ROI_SUBTYPE.ELLIPSE, ROI_SUBTYPE.ROTATED_RECT])
def test_turned_ellipses_and_rectangles(subtype: ROI_SUBTYPE) -> None:
    x1, y1, x2, y2, parameter = 8.0, 6.0, 20.0, 15.0, 0.5 if subtype == ROI_SUBTYPE.ELLIPSE else 4.9
    roi = ImagejRoi.frompoints(np.array([[8.0, 6.0], [20.0, 6.0], [20.0, 15.0]]))
    roi.subtype, roi.version = subtype, 228
    roi.x1, roi.y1, roi.x2, roi.y2 = x1, y1, x2, y2
    stored = struct.unpack(">BBh", struct.pack(">f", parameter))
    roi.arrow_style_or_aspect_ratio, roi.arrow_head_size, roi.rounded_rect_arc_size = stored
    y, x = centres()
    along, across = (x - 14) * 0.8 + (y - 10.5) * 0.6, (y - 10.5) * 0.8 - (x - 14) * 0.6
    if subtype == ROI_SUBTYPE.ELLIPSE:
        expected = (along / 7.5) ** 2 + (across / 3.75) ** 2 <= 1
    else:
        expected = (abs(along) < 7.5) & (abs(across) < 2.45)
    found = drawn(roi)
    assert np.array_equal(found, expected)
    rows, columns = np.nonzero(found)
    assert (columns.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((14, 10.5), abs=0.01)


def test_rounded_rectangle_loses_its_corners() -> None:
    found = drawn(box(ROI_TYPE.RECT, 2, 2, 22, 12, rounded_rect_arc_size=8))
    expected = drawn(box(ROI_TYPE.RECT, 2, 2, 22, 12))
    y, x = centres()
    cut = (np.maximum(abs(x - 12) - 6, 0) ** 2 + np.maximum(abs(y - 7) - 1, 0) ** 2) > 16.2
    assert np.array_equal(found, expected & ~cut)


def test_composite_with_hole_and_curves() -> None:
    square = [[0, 2, 2], [1, 20, 2], [1, 20, 20], [1, 2, 20], [4]]
    circle = [[0, 15, 11]]
    k = 4 * 0.5522847498
    for (x0, y0), (x1, y1) in zip([(1, 0), (0, 1), (-1, 0), (0, -1)], [(0, 1), (-1, 0), (0, -1), (1, 0)], strict=True):
        first, second = (11 + 4 * x0 + k * x1, 11 + 4 * y0 + k * y1), (11 + 4 * x1 + k * x0, 11 + 4 * y1 + k * y0)
        circle.append([3, *first, *second, 11 + 4 * x1, 11 + 4 * y1])
    roi = box(ROI_TYPE.RECT, 2, 2, 20, 20)
    roi.multi_coordinates = np.array([value for part in (*square, *circle, [4]) for value in part], np.float32)
    roi.shape_roi_size = len(roi.multi_coordinates)
    y, x = centres()
    hole = (x - 11) ** 2 + (y - 11) ** 2 < 16
    assert np.array_equal(drawn(roi), drawn(box(ROI_TYPE.RECT, 2, 2, 20, 20)) & ~hole)


def points(*xy: tuple[float, float]) -> ImagejRoi:
    roi = ImagejRoi.frompoints(np.array(xy, float), name="points")
    roi.roitype = ROI_TYPE.POINT
    return roi


def test_points_become_discs_around_pixel_centres(tmp_path: Path) -> None:
    _, dataset = taken(save(tmp_path / "a.zip", points((8, 8), (20, 10))), diameter=7)
    labels = labels_in(dataset)
    for number, (column, row) in enumerate([(8, 8), (20, 10)], start=1):
        rows, columns = np.nonzero(labels == number)
        assert len(rows) == 37
        assert (columns.mean(), rows.mean()) == (column, row)


def test_points_without_diameter_say_so(tmp_path: Path) -> None:
    path = save(tmp_path / "a.zip", points((8, 8)), box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="o"))
    result, _ = taken(path)
    assert [str(failure) for failure in result.failures] == [
        "a.zip: ROI points: Is a point, which has no size. Say how large a bead is (--diameter, px)."
    ]
    with pytest.raises(InputError, match="diameter of -1"):
        read_fiji_rois(path, -1)


def test_positions_in_stacks(tmp_path: Path) -> None:
    rois = [
        box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="by position", position=2),
        box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="by frame", t_position=3, z_position=1, c_position=1),
        box(ROI_TYPE.OVAL, 11, 1, 18, 8, name="0001-0004-0014"),
        box(ROI_TYPE.OVAL, 1, 11, 8, 18, name="nowhere"),
        box(ROI_TYPE.OVAL, 1, 11, 8, 18, name="beyond", position=4),
    ]
    result, dataset = taken(save(tmp_path / "a.zip", *rois), shape=(3, *SIZE), axes="TYX")
    labels = labels_in(dataset)
    assert [np.unique(plane).tolist() for plane in labels] == [[0, 1]] * 3
    assert labels[0, 4, 14] == labels[1, 4, 4] == labels[2, 4, 4] == 1
    assert [failure.error for failure in result.failures] == [
        "ROI nowhere: Has no position in the stack of 3 planes. Set it in Fiji (Properties).",
        "ROI beyond: Its position lies outside of the stack of 3 planes.",
    ]


def test_multi_points_of_a_stack_have_a_slice_each(tmp_path: Path) -> None:
    roi = points((5, 5), (15, 5))
    roi.counters, roi.counter_positions = np.zeros(2, np.uint8), np.array([3, 1], np.uint32)
    _, dataset = taken(save(tmp_path / "a.zip", roi), diameter=7, shape=(3, *SIZE), axes="TYX")
    labels = labels_in(dataset)
    assert [int(plane.max()) for plane in labels] == [1, 0, 1]
    assert labels[2, 5, 5] == labels[0, 5, 15] == 1


@pytest.mark.parametrize(
    ("roi", "text"),
    [
        (box(ROI_TYPE.LINE, 1, 1, 8, 8), "Is a line and encloses no area"),
        (box(ROI_TYPE.OVAL, 41, 41, 48, 48), "covers no pixel of the image"),
        (box(ROI_TYPE.OVAL, 4, 4, 4, 8), "no area"),
    ],
)
def test_unusable_rois_are_listed_and_the_others_kept(roi: ImagejRoi, text: str, tmp_path: Path) -> None:
    roi.name = "bad"
    result, dataset = taken(save(tmp_path / "a.zip", roi, box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="good")))
    assert len(result.failures) == 1
    assert "ROI bad" in result.failures[0].error
    assert text in result.failures[0].error
    assert labels_in(dataset).max() == 1


def test_spline_and_text_are_named() -> None:
    spline = ImagejRoi.frompoints(np.array([[1, 1], [9, 1], [9, 9]]))
    spline.options |= ROI_OPTIONS.SPLINE_FIT
    with pytest.raises(InputError, match="spline"):
        area(spline, SIZE)
    with pytest.raises(InputError, match="text"):
        area(box(ROI_TYPE.RECT, 1, 1, 8, 8, subtype=ROI_SUBTYPE.TEXT), SIZE)


def test_damaged_members_are_listed(tmp_path: Path) -> None:
    good = box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="good").tobytes()
    cut = ImagejRoi.frompoints(np.array([[1, 1], [9, 1], [9, 9]]), name="x").tobytes()[:70]
    broken_path = box(ROI_TYPE.RECT, 1, 1, 8, 8)
    broken_path.multi_coordinates = np.array([0, 1, 1, 9, 5, 5], np.float32)
    broken_path.shape_roi_size = 6
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in {"good": good, "cut": cut, "text": b"hello", "path": broken_path.tobytes()}.items():
            archive.writestr(f"{name}.roi", data)
        archive.writestr("__MACOSX/readme.txt", "no ROI")
    result, dataset = taken(tmp_path / "a.zip")
    assert labels_in(dataset).max() == 1
    assert [failure.error.split(":")[0] for failure in result.failures] == ["ROI cut", "ROI text", "ROI path"]


def test_bombs_and_files_that_are_no_zip_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(3_000_000))
    monkeypatch.setattr(fiji, "MAX_BYTES", 1_000_000)
    with pytest.raises(InputError, match="Claims to hold 1 ROIs of 3000000 bytes"):
        fiji.read_rois(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match="Cannot be read as a zip file"):
        fiji.read_rois(tmp_path / "b.zip")


def test_a_member_without_a_name_is_not_a_roi(tmp_path: Path) -> None:
    path = tmp_path / "nameless.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo(""), b"x")
    with pytest.raises(InputError, match="Holds no ROI, but a file without a name"):
        fiji.read_rois(path)


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(3_000_000))
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 3_000_000), struct.pack("<I", 64)))
    with pytest.raises(InputError, match="Cannot be read as a zip file"):
        fiji.read_rois(path)


def test_absurd_coordinates_are_refused_by_every_shape() -> None:
    wrong = box(ROI_TYPE.OVAL, 1, 1, 8, 8, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION)
    for value in (1e30, float("nan"), float("inf")):
        wrong.xd, wrong.yd, wrong.widthd, wrong.heightd = 1.0, 1.0, value, 5.0
        with pytest.raises(InputError, match=r"absurd|not a finite number"):
            area(wrong, SIZE)


@pytest.mark.parametrize("name", ["a.zip", "RoiSet_a.zip", "a_rois.zip", "a-RoiSet.ZIP"])
def test_names_under_which_an_image_is_found(name: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x.zip", box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="o"))
    _, dataset = taken(path.rename(tmp_path / name))
    assert dataset.names == ("a",)


def test_folder_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    save(folder / "a.zip", box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="o"))
    box(ROI_TYPE.OVAL, 1, 1, 8, 8).tofile(folder / "b.roi")
    save(folder / "nobody.zip", box(ROI_TYPE.OVAL, 1, 1, 8, 8, name="o"))
    (folder / "notes.txt").write_text("mine")
    result, dataset = taken(folder, "a", "b", "c")
    assert dataset.names == ("a", "b")
    assert [failure.image for failure in result.failures] == ["nobody.zip", "c.tif"]


@pytest.mark.parametrize(
    ("path", "text"), [("missing", "No such file"), ("a.txt", "Is not an ROI file"), (".", "Holds no")]
)
def test_paths_that_are_no_rois(path: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    with pytest.raises(InputError, match=text):
        read_fiji_rois(tmp_path / path)


def test_outline_of_a_corner_that_is_passed_twice() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], bool)
    region = tight(mask)
    assert region is not None
    rings = regions.rings_of(region)
    assert len(rings) == 1
    again = regions.filled_polygon(rings, (3, 3))
    assert again is not None
    assert np.array_equal(again.mask, mask)


def test_roi_file_in_another_unicode_form_than_its_image(tmp_path: Path) -> None:
    (tmp_path / "rois").mkdir()
    write_fiji_rois(tmp_path / "rois/RoiSet_caf\u00e9.zip", labelled(special_labels()))
    write_fiji_rois(tmp_path / "rois/b.zip", labelled(special_labels()))
    write_fiji_rois(tmp_path / "rois/b_rois.zip", labelled(hard_labels(1, SIZE)))
    result, dataset = taken(tmp_path / "rois", "cafe\u0301", "b")
    assert dataset.names == ("b", "caf\u00e9")
    assert all(np.array_equal(labels_in(dataset, name), special_labels()) for name in dataset.names)
    assert [str(failure) for failure in result.failures] == [
        "b_rois.zip: No image of this name or stem. The folder holds b.tif. Check the folder of images (--images)."
    ]
