"""Formats of annotations: what is written is read again, and what is damaged is refused in words."""

from __future__ import annotations

import base64
import io
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image as PilImage
from strategies import COORDINATES, IDS, JSON, LABELS, MASKS, OUTLINES, STACKS, damaged

from beadseg.data.annotations import regions
from beadseg.data.annotations.coco import read_coco, write_coco
from beadseg.data.annotations.fiji import read_fiji_rois, write_fiji_rois
from beadseg.data.annotations.regions import LabelledImage, Region, paint, tight
from beadseg.data.image_io import LazyImage, read_labels
from beadseg.data.ome_zarr_write import write_ome_zarr
from beadseg.data.points import read_points
from beadseg.data.tiff import tiff_bytes
from beadseg.errors import ImageError, InputError


def image_of(labels: np.ndarray, axes: str) -> LazyImage:
    return LazyImage(axes, labels.shape, np.dtype(np.uint8), None, lambda: iter(()))


def full(region: Region | None, size: tuple[int, ...]) -> np.ndarray:
    image = np.zeros(size, bool)
    if region is not None:
        image[region.slices] = region.mask
    return image


@given(MASKS)
def test_run_lengths_and_outlines_give_the_mask_back(mask: np.ndarray) -> None:
    region = tight(mask)
    if region is None:
        assert not mask.any()
        return
    height, width = mask.shape
    assert np.array_equal(
        full(regions.decode_rle(regions.encode_rle(region, (height, width)), (height, width)), mask.shape), mask
    )
    assert np.array_equal(full(regions.filled_polygon(regions.rings_of(region), (height, width)), mask.shape), mask)


@given(st.text(max_size=20) | st.lists(st.integers(-3, 60), max_size=9), st.integers(1, 9), st.integers(1, 9))
def test_any_run_lengths_are_a_region_in_the_image_or_refused(counts: Any, height: int, width: int) -> None:
    try:
        region = regions.decode_rle(counts, (height, width))
    except InputError:
        return
    if region is not None:
        assert region.slices[0].stop <= height
        assert region.slices[1].stop <= width
        assert region.area > 0


@given(OUTLINES, st.integers(0, 30), st.integers(0, 30))
def test_an_outline_does_not_depend_on_where_it_begins_nor_on_its_direction(
    outline: list[Any], turn: int, size: int
) -> None:
    ring = np.array(outline, np.float64)
    shape = (size + 1, 20)
    drawn = full(regions.filled_polygon([ring], shape), shape)
    assert np.array_equal(full(regions.filled_polygon([np.roll(ring, turn, axis=0)], shape), shape), drawn)
    assert np.array_equal(full(regions.filled_polygon([ring[::-1]], shape), shape), drawn)
    assert not full(regions.filled_polygon([ring, ring], shape), shape).any(), "even-odd: drawn twice is not drawn"


def back(read: Callable[[Path], Any], write: Callable[[Path], None], name: str, image: LazyImage) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        source = read(path)
        assert not source.failures
        assert len(source.entries) == 1
        instances, failures = source.entries[0].draw(image)
    assert failures == []
    planes = 1 if len(image.lengths) == 2 else image.lengths[0]
    return paint(instances, (planes, *image.size), "a")


@given(LABELS | STACKS, st.booleans(), st.data())
def test_coco_gives_labels_and_ignore_masks_back(labels: np.ndarray, polygons: bool, data: st.DataObject) -> None:
    axes = "YX" if labels.ndim == 2 else "TYX"
    ignore = np.array(data.draw(st.lists(st.booleans(), min_size=labels.size, max_size=labels.size)))
    sample = LabelledImage("a", "a.tif", labels, axes, ignore.reshape(labels.shape))
    painted = back(
        read_coco, lambda path: write_coco(path, [sample], polygons=polygons), "a.json", image_of(labels, axes)
    )
    assert np.array_equal(painted.labels.reshape(labels.shape), labels)
    assert np.array_equal(painted.ignore.reshape(labels.shape), sample.ignore)
    assert painted.contested == 0


@given(LABELS | STACKS)
def test_fiji_gives_labels_back(labels: np.ndarray) -> None:
    axes = "YX" if labels.ndim == 2 else "TYX"
    sample = LabelledImage("a", "a.tif", labels, axes)
    painted = back(read_fiji_rois, lambda path: write_fiji_rois(path, sample), "a.zip", image_of(labels, axes))
    assert np.array_equal(painted.labels.reshape(labels.shape), labels)


def mask_png(mask: np.ndarray) -> str:
    content = io.BytesIO()
    PilImage.fromarray(mask.astype(np.uint8) * 255).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


@given(MASKS, st.integers(-5, 20), st.integers(-5, 20), OUTLINES)
def test_labelme_masks_and_polygons_cover_what_they_should(
    mask: np.ndarray, top: int, left: int, outline: list[Any]
) -> None:
    size = (20, 24)
    where = np.zeros((80, 80), bool)
    where[30 + top : 30 + top + mask.shape[0], 30 + left : 30 + left + mask.shape[1]] = mask
    shapes = [
        {"label": "bead", "shape_type": "mask", "mask": mask_png(mask), "points": [[left, top], [left, top]]},
        {"label": "bead", "shape_type": "polygon", "points": outline},
    ]
    expected = [where[30:50, 30:54], full(regions.filled_polygon([np.array(outline)], size), size)]
    for shape, covered in zip(shapes, expected, strict=True):
        document = {"imagePath": "a.png", "imageHeight": size[0], "imageWidth": size[1], "shapes": [shape]}
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.json"
            path.write_text(json.dumps(document))
            entry = read_coco(path).entries[0]
            instances, _ = entry.draw(image_of(np.zeros(size, np.uint32), "YX"))
        drawn = full(instances[0].region if instances else None, size)
        assert np.array_equal(drawn, covered)


BACKGROUND_NOT_0 = np.full((20, 20), 2, np.uint32)
BACKGROUND_NOT_0[0, 0], BACKGROUND_NOT_0[8:14, 8:14] = 0, 7


@given(LABELS | STACKS)
@example(BACKGROUND_NOT_0)  # asked for ever whether it would do as a mask
def test_tiff_and_ome_zarr_give_labels_back(labels: np.ndarray) -> None:
    axes = "YX" if labels.ndim == 2 else "TYX"
    assume(labels.any())  # of an empty annotation nothing says that it held ids
    with tempfile.TemporaryDirectory() as folder:
        tiff, zarr = Path(folder) / "a.tif", Path(folder) / "a.ome.zarr"
        tiff.write_bytes(tiff_bytes(labels, axes))
        write_ome_zarr(zarr, labels, None)
        for path in (tiff, zarr):
            try:
                found = read_labels(path)
            except ImageError as error:  # scattered pixels are not labels, and are refused in words
                assert error.remedy
                continue
            assert found.labels is not None
            assert np.array_equal(np.asarray(found.labels).reshape(labels.shape), labels)


@given(st.lists(st.tuples(st.floats(0, 19, width=32), st.floats(0, 23, width=32)), max_size=6),
       st.sampled_from([",", ";", "\t"]), st.booleans())  # fmt: skip
def test_points_are_read_as_written(points: list[tuple[float, float]], separator: str, swapped: bool) -> None:
    names = ("x", "y") if swapped else ("y", "x")
    rows = [names, *((str(x), str(y)) if swapped else (str(y), str(x)) for y, x in points)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_text("\n".join(separator.join(row) for row in rows) + "\n")
        (found,) = read_points(path, (20, 24))
    assert np.array_equal(found, np.array(points, np.float32).reshape(-1, 2))


COCO = {
    "images": [{"id": 1, "file_name": "a.tif", "height": 20, "width": 24}],
    "categories": [{"id": 1, "name": "bead"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 8, 8],
         "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1,
         "segmentation": {"size": [20, 24], "counts": [5, 4, 471]}},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [3, 3, 5, 6], "attributes": {"label_id": 7, "rotation": 30}},
    ],
}  # fmt: skip
LABELME = {
    "imagePath": "a.png", "imageHeight": 20, "imageWidth": 24,
    "shapes": [
        {"label": "bead", "shape_type": "circle", "points": [[5, 5], [8, 5]], "group_id": None},
        {"label": "bead", "shape_type": "mask", "points": [[2, 2], [4, 4]], "mask": mask_png(np.ones((3, 3)))},
        {"label": "bead", "shape_type": "polygon", "points": [[1, 1], [4, 1], [4, 4]], "group_id": 3},
    ],
}  # fmt: skip


@pytest.mark.parametrize("document", [COCO, LABELME], ids=["coco", "labelme"])
@given(data=st.data())
def test_damaged_documents_are_refused_in_words_or_drawn(document: Any, data: st.DataObject) -> None:
    text = json.dumps(data.draw(damaged(document) | damaged(document).flatmap(damaged) | JSON))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        path.write_text(text)
        try:
            source = read_coco(path)
            for entry in source.entries:
                instances, failures = entry.draw(image_of(np.zeros((20, 24), np.uint32), "YX"))
                paint(instances, (1, 20, 24), "a")
                assert all(str(failure) for failure in failures)
        except InputError as error:
            assert error.what


@given(st.data())
def test_damaged_roi_files_are_refused_in_words_or_drawn(data: st.DataObject) -> None:
    labels = np.zeros((20, 24), np.uint32)
    labels[2:6, 3:9] = 3
    labels[8:15, 8:15] = 4
    labels[10:12, 10:12] = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zip"
        write_fiji_rois(path, LabelledImage("a", "a.tif", labels))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 6))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            instances, failures = read_fiji_rois(path, 5.0).entries[0].draw(image_of(labels, "YX"))
            paint(instances, (1, 20, 24), "a")
            assert all(str(failure) for failure in failures)
        except InputError as error:
            assert error.what


@given(st.lists(st.tuples(COORDINATES, COORDINATES), max_size=3), st.text(max_size=15))
def test_any_table_of_points_lies_in_the_image_or_is_refused(points: list[Any], more: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_text("y,x\n" + "".join(f"{y},{x}\n" for y, x in points) + more, encoding="utf-8", newline="")
        try:
            (found,) = read_points(path, (20, 24))
        except ImageError as error:
            assert error.remedy
            return
    assert ((found >= 0) & (found <= [19, 23])).all()


def test_ids_cover_the_range() -> None:
    assert max(IDS) == regions.MAX_ID
