"""COCO: round trips without loss, files of other programs, and files that are wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotation_helpers import hard_labels, imported, labelled, labels_in, special_labels, write_images
from pycocotools import mask as reference
from pycocotools.coco import COCO

from beadseg.data.annotations import regions
from beadseg.data.annotations.coco import read_coco, write_coco
from beadseg.data.annotations.importing import import_annotations
from beadseg.data.annotations.regions import Region, tight
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_image
from beadseg.data.ome_zarr_write import write_ome_zarr
from beadseg.errors import Cancelled, InputError
from beadseg.events import Event, StopFlag

SIZE = (24, 30)


def full(region: Region | None, size: tuple[int, int] = SIZE) -> np.ndarray:
    image = np.zeros(size, bool)
    if region is not None:
        image[region.slices] = region.mask
    return image


def document(*annotations: dict[str, Any], **more: Any) -> dict[str, Any]:
    rows = [{"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0, **row} for i, row in enumerate(annotations, 1)]
    images = [{"id": 1, "file_name": "a.tif", "height": SIZE[0], "width": SIZE[1]}]
    return {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "bead"}], **more}


def saved(tmp_path: Path, content: object, name: str = "a.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def taken(tmp_path: Path, content: object, **options: Any) -> tuple[Any, Dataset]:
    source = read_coco(saved(tmp_path, content), **options)
    return imported(source, write_images(tmp_path / "pictures", "a"), tmp_path / "out")


@pytest.mark.parametrize("seed", range(60))
def test_run_lengths_and_outlines_agree_with_pycocotools(seed: int) -> None:
    random = np.random.default_rng(seed)
    size = tuple(int(n) for n in random.integers(1, 20, 2))
    mask = random.random(size) < random.choice([0.2, 0.6, 0.95, 1.0])
    mask[0, 0] = True
    region = tight(mask)
    assert region is not None
    text = regions.encode_rle(region, size)
    assert text == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert (full(regions.decode_rle(text, size), size) == mask).all()
    assert (full(regions.filled_polygon(regions.rings_of(region), size), size) == mask).all()


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("labels", [*map(hard_labels, range(4)), special_labels(), np.zeros((24, 30), np.uint32)])
def test_round_trip(labels: np.ndarray, polygons: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_coco(path, [labelled(labels, pixel_size_um=0.325)], polygons=polygons)
    images = write_images(tmp_path / "images", "a", shape=labels.shape)
    result, dataset = imported(read_coco(path), images, tmp_path / "out")
    assert result.failures == ()
    assert result.contested == 0
    assert result.objects == np.unique(labels[labels > 0]).size
    assert np.array_equal(labels_in(dataset), labels)
    assert dataset["a"].read_image().data.shape == labels.shape


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools' own, with numpy 2
@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_same_masks(polygons: bool, tmp_path: Path) -> None:
    several = {"a": hard_labels(7), "b": special_labels(), "c": hard_labels(9)}
    write_coco(tmp_path / "a.json", (labelled(labels, name) for name, labels in several.items()), polygons=polygons)
    coco = COCO(str(tmp_path / "a.json"))
    assert [image["file_name"] for image in coco.dataset["images"]] == ["a.tif", "b.tif", "c.tif"]
    for image, labels in zip(coco.dataset["images"], several.values(), strict=True):
        found = np.zeros_like(labels)
        for annotation in coco.imgToAnns[image["id"]]:
            mask = coco.annToMask(annotation).astype(bool)
            number = annotation["attributes"]["label_id"]
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == list(reference.toBbox(coco.annToRLE(annotation)))
            found[mask] = number
        assert np.array_equal(found, labels)


def test_polygons_are_polygons_where_there_is_no_hole(tmp_path: Path) -> None:
    write_coco(tmp_path / "a.json", [labelled(special_labels())], polygons=True)
    kinds = {
        row["attributes"]["label_id"]: type(row["segmentation"])
        for row in json.loads((tmp_path / "a.json").read_text())["annotations"]
    }
    assert kinds.pop(5) is dict
    assert set(kinds.values()) == {list}


def test_ignore_masks_pixel_size_and_stacks_round_trip(tmp_path: Path) -> None:
    labels = np.stack([special_labels(), np.zeros_like(special_labels()), special_labels()[::-1]])
    ignore = np.zeros(labels.shape, bool)
    ignore[2, 5:9, 3:20] = True
    write_coco(tmp_path / "a.json", [labelled(labels, axes="TYX", ignore=ignore, pixel_size_um=0.65)])
    images = write_images(tmp_path / "images", "a", shape=labels.shape, axes="TYX")
    result, dataset = imported(read_coco(tmp_path / "a.json"), images, tmp_path / "out")
    assert result.failures == ()
    targets = [target for _, _, target in dataset["a"].planes()]
    assert np.array_equal([target.labels for target in targets], labels)
    assert np.array_equal([target.ignore for target in targets], ignore)
    assert read_image(tmp_path / "out/labels/a.tif").pixel_size_um == pytest.approx(0.65, rel=1e-6)


def test_outline_along_pixel_edges_covers_exactly_these_pixels(tmp_path: Path) -> None:
    expected = np.zeros(SIZE, bool)
    expected[3:10, 5:12] = True
    outline = [5, 3, 12, 3, 12, 10, 5, 10]
    _, dataset = taken(tmp_path, document({"segmentation": [outline], "bbox": [5, 3, 7, 7]}))
    assert np.array_equal(labels_in(dataset) > 0, expected)


@pytest.mark.parametrize("shape", ["polygon", "ellipse"])
def test_no_shift_by_part_of_a_pixel(shape: str) -> None:
    random = np.random.default_rng(3)
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    shifts = []
    for x, y in 10 + random.random((1500, 2)):
        if shape == "polygon":
            region = regions.filled_polygon([np.stack([x + 3.5 * np.cos(turn), y + 3.5 * np.sin(turn)], 1)], SIZE)
        else:
            region = regions.filled_ellipse((x, y), (4.0, 3.0), 180 * random.random(), SIZE)
        rows, columns = np.nonzero(full(region))
        shifts.append((columns.mean() + 0.5 - x, rows.mean() + 0.5 - y))
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.01


def cvat() -> dict[str, Any]:
    """Return what CVAT writes (COCO 1.0): an ellipse, a turned rectangle, a polygon."""
    drawn = np.zeros(SIZE, np.uint8)
    drawn[full(regions.filled_ellipse((8.5, 8.5), (4, 3), 30.0, SIZE))] = 1
    flat = drawn.T.ravel().astype(int)
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.r_[0, edges, flat.size]).tolist()
    no_rotation = {"occluded": False}
    return {
        "licenses": [{"name": "", "id": 0, "url": ""}],
        "info": {"contributor": "", "date_created": "", "description": "", "url": "", "version": "", "year": ""},
        "categories": [{"id": 1, "name": "bead", "supercategory": ""}, {"id": 2, "name": "dust", "supercategory": ""}],
        "images": [
            {"id": 1, "width": SIZE[1], "height": SIZE[0], "file_name": "day 1/a.tif", "license": 0,
             "flickr_url": "", "coco_url": "", "date_captured": 0},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": {"counts": counts, "size": list(SIZE)},
             "area": float(drawn.sum()), "bbox": [4.0, 5.0, 9.0, 7.0], "iscrowd": 1, "attributes": no_rotation},
            {"id": 2, "image_id": 1, "category_id": 1, "segmentation": [], "area": 48.0,
             "bbox": [17.0, 4.0, 8.0, 6.0], "iscrowd": 0, "attributes": {"occluded": False, "rotation": 90.0}},
            {"id": 3, "image_id": 1, "category_id": 2, "segmentation": [[3.0, 15.0, 9.0, 15.0, 9.0, 21.0]],
             "area": 18.0, "bbox": [3.0, 15.0, 6.0, 6.0], "iscrowd": 0, "attributes": {"occluded": False}},
        ],
    }  # fmt: skip


def test_cvat(tmp_path: Path) -> None:
    source = read_coco(saved(tmp_path, cvat()), ["bead"])
    assert source.notes[0] == "Categories taken: bead (2). Left out: dust (1)."
    assert "CVAT" in source.notes[1]
    assert "1 annotation is a box" in source.notes[2]
    result, dataset = imported(source, write_images(tmp_path / "images", "a"), tmp_path / "out")
    assert (result.objects, result.failures) == (2, ())
    labels = labels_in(dataset)
    assert np.array_equal(labels == 1, full(regions.filled_ellipse((8.5, 8.5), (4, 3), 30.0, SIZE)))
    assert np.array_equal(labels == 2, full(regions.filled_ellipse((21, 7), (3, 4), 0.0, SIZE)))
    assert not (tmp_path / "out/ignore").exists()


@pytest.mark.parametrize(("crowd", "objects"), [("ignore", 1), ("objects", 2)])
def test_what_a_crowd_is_can_be_said(crowd: str, objects: int, tmp_path: Path) -> None:
    result, dataset = taken(tmp_path, cvat(), categories=["bead"], crowd=crowd)
    assert result.objects == objects
    assert (dataset["a"].ignore_path is not None) == (crowd == "ignore")


def test_crowds_of_other_programs_are_ignored(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, np.uint8, order="F")
    mask[2:6, 3:9] = 1
    runs = {"size": list(SIZE), "counts": reference.encode(mask)["counts"].decode()}
    result, dataset = taken(tmp_path, document({"segmentation": runs, "iscrowd": 1}))
    assert result.objects == 0
    assert np.array_equal(dataset["a"].read_target().ignore, mask > 0)


def test_labelme_like_polygons_with_several_rings_and_overlap(tmp_path: Path) -> None:
    first = {"segmentation": [[2, 2, 6, 2, 6, 6, 2, 6], [10, 2, 14, 2, 14, 6, 10, 6]]}
    second = {"segmentation": [[4, 2, 8.2, 2, 8.2, 6, 4, 6]]}
    result, dataset = taken(tmp_path, document(first, second))
    labels = labels_in(dataset)
    assert result.contested == 8
    assert [(labels == number).sum() for number in (1, 2)] == [8 + 16, 16]


SQUARE = {"segmentation": [[2, 2, 6, 2, 6, 6, 2, 6]]}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"segmentation": [[2, 2, 6, 2]]}, "Annotation 2: An outline of 2 corners"),
        ({"segmentation": [[2, 2, 6, 2, 6]]}, "Annotation 2: Has an outline of 5 numbers"),
        ({"segmentation": [[2, 2, 6, "x", 6, 6]]}, "Annotation 2: Its outline holds something other than numbers"),
        ({"segmentation": [[2, 2, 6, 2, 6, 1e300]]}, "Annotation 2: A coordinate of 1e+300 px is absurd"),
        ({"segmentation": [[2, 2, 6, None, 6, 6]]}, "Annotation 2: A coordinate is not a finite number"),
        ({"segmentation": [[2, 2, 2.1, 2, 2.1, 2.1]]}, "Annotation 2 covers no pixel"),
        ({"segmentation": [], "bbox": [50, 50, 4, 4]}, "Annotation 2 covers no pixel"),
        ({"segmentation": [], "bbox": [5, 5, 0, 4]}, "Annotation 2: An ellipse with half axes of 0 and 2"),
        ({"segmentation": []}, "Annotation 2: Has neither an outline nor a box"),
        ({"segmentation": {"size": [9, 9], "counts": "1"}}, "Annotation 2: Its run lengths are for an image of [9, 9]"),
        ({"segmentation": {"size": list(SIZE), "counts": [5, 5]}}, "Annotation 2: Its run lengths give 10 pixels"),
        ({"segmentation": {"size": list(SIZE), "counts": [-5, 725]}}, "Annotation 2: Its run lengths are not a list"),
        ({"segmentation": {"size": list(SIZE), "counts": "oooooooooooooo"}}, "Annotation 2: Its compressed"),
        ({"segmentation": {"size": list(SIZE)}}, "Annotation 2: Has no run lengths"),
        (
            {"segmentation": "abc", "bbox": [9, 9, 4, 4]},
            "Annotation 2: Its outline is neither polygons nor run lengths.",
        ),
        ({"segmentation": 0, "bbox": [9, 9, 4, 4]}, "Annotation 2: Its outline is neither polygons nor run lengths."),
        ({**SQUARE, "category_id": [1]}, "Annotation 2: Its category_id is neither number nor text."),
        (SQUARE, "Annotation 2 is a duplicate of Annotation 1"),
        ({**SQUARE, "image_id": 9}, "Annotation 2 belongs to no image"),
        ({**SQUARE, "image_id": [9]}, "Annotation 2 belongs to no image"),
    ],
)
def test_wrong_annotations_are_listed_and_the_others_kept(wrong: dict[str, Any], text: str, tmp_path: Path) -> None:
    result, dataset = taken(tmp_path, document(SQUARE, wrong))
    assert len(result.failures) == 1
    assert result.failures[0].error.startswith(text)
    assert text.split(":")[0] in (tmp_path / "out/failures.csv").read_text()
    assert (labels_in(dataset) > 0).sum() == 16


def test_covered_objects_and_repeated_ids_are_listed(tmp_path: Path) -> None:
    large = {"segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]], "attributes": {"label_id": 3}}
    far = {"segmentation": [[15, 1, 19, 1, 19, 9, 15, 9]], "attributes": {"label_id": 3}}
    result, dataset = taken(tmp_path, document(SQUARE, large, far))
    assert [failure.error for failure in result.failures] == [
        "Annotation 3 has the id 3 of another; it got a new one.",
        "Annotation 1 is wholly covered by later ones.",
    ]
    assert set(np.unique(labels_in(dataset))) == {0, 2, 3}


def test_images_without_partner_are_listed(tmp_path: Path) -> None:
    content = document(SQUARE)
    content["images"] += [
        {"id": 2, "file_name": "missing.png", "height": 24, "width": 30},
        {"id": 3, "file_name": "small.png", "height": 9, "width": 9},
        {"id": 4, "file_name": "other.png", "height": 24, "width": 30},
        {"id": 1, "file_name": "b.png", "height": 24, "width": 30},
        {"id": 5, "height": 24, "width": 30},
        {"id": 6, "file_name": "a.tif", "height": 24, "width": 30, "plane": [3]},
        {"id": 7, "file_name": "other.tif", "height": 24, "width": 30},
        {"id": 9, "file_name": "third.png", "height": 24, "width": 30},
        {"id": 10, "file_name": "third.jpg", "height": 24, "width": 30},
        {"id": 8, "file_name": "other.tif", "height": 24, "width": 30},
    ]
    images = write_images(tmp_path / "images", "a", "small", "other", "third", "fourth")
    result, dataset = imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    assert dataset.names == ("other",)
    told = {failure.image: failure.error for failure in result.failures}
    assert "No image of this name or stem" in told["missing.png"]
    assert "Is 30x24 px, in the annotations 9x9 px" in told["small.png"]
    assert "No image of this name or stem" in told["other.png"]
    disputed = "The image third.tif may belong to each of third.png, third.jpg."
    assert told["third.png"].startswith(disputed)
    assert told["third.jpg"].startswith(disputed)
    assert "Has 1 planes, but plane '[3]' in the annotations" in told["a.tif"]
    assert told["b.png"].startswith("Its id, 1, is that of 2 images")
    assert "a.json: Image 5 of its list has no file_name." in map(str, result.failures)
    assert told["other.tif"].startswith("Is listed more than once")
    assert told["fourth.tif"].startswith("Has no annotations")


@pytest.mark.parametrize("name", ["../../etc/a.tif", "C:\\data\\a.tif", "/a.tif"])
def test_paths_in_file_names_lead_nowhere(name: str, tmp_path: Path) -> None:
    content = document(SQUARE)
    content["images"][0]["file_name"] = name
    _, dataset = taken(tmp_path, content)
    assert dataset.names == ("a",)
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.tif")) == ["a.tif", "a.tif"]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "Is not JSON"), ("[" * 100_000, "Is not JSON"), ("[]", "Is not a COCO file"),
        ("{}", "has no list 'images'"),
        ({"images": [], "annotations": {}, "categories": []}, "has no list 'annotations'"),
    ],
)  # fmt: skip
def test_files_that_are_no_coco(content: object, text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=text):
        read_coco(saved(tmp_path, content))


def test_unknown_category_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no category 'beed'.*bead, dust"):
        read_coco(saved(tmp_path, cvat()), ["beed"])


def test_nothing_is_written_when_nothing_fits(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "b")
    with pytest.raises(InputError, match="None of its images"):
        imported(read_coco(saved(tmp_path, document(SQUARE))), images, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "images"]


def test_nothing_is_left_when_stopped(tmp_path: Path) -> None:
    stop = StopFlag()
    content = document(SQUARE)
    content["images"].append({**content["images"][0], "id": 2, "file_name": "b.tif"})
    source = read_coco(saved(tmp_path, content))
    images = write_images(tmp_path / "images", "a", "b")

    def stop_in_the_first(event: Event) -> None:
        if event.data.get("done") == 0:
            stop.set()

    with pytest.raises(Cancelled):
        import_annotations(source, images, tmp_path / "out", stop_in_the_first, stop)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "images"]


def test_full_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        taken(tmp_path, document(SQUARE))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("outline", [{}, {"segmentation": None}, {"segmentation": []}, {"segmentation": {}}])
def test_box_stands_for_a_missing_outline(outline: dict[str, Any], tmp_path: Path) -> None:
    result, dataset = taken(tmp_path, document({**outline, "bbox": [5, 5, 6, 4]}))
    assert (result.objects, result.failures) == (1, ())
    assert np.array_equal(labels_in(dataset) > 0, full(regions.filled_ellipse((8, 7), (3, 2), 0.0, SIZE)))


def test_ids_may_be_whole_numbered_floats(tmp_path: Path) -> None:
    result, _ = taken(tmp_path, document({**SQUARE, "image_id": 1.0, "category_id": 1.0}), categories=["bead"])
    assert (result.objects, result.failures) == (1, ())


def test_file_whose_annotations_belong_to_no_image_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, document({**SQUARE, "image_id": 1.5}, {**SQUARE, "image_id": "one"}))
    with pytest.raises(InputError, match="None of its annotations belongs to an image"):
        read_coco(path)


def test_empty_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name of the category is empty"):
        read_coco(saved(tmp_path, document(SQUARE)), [" "])


def zarr_image(images: Path, name: str = "a.zarr") -> Path:
    folder = images / name
    write_ome_zarr(folder, np.ones(SIZE, np.uint32), read_image(images / "other.tif"), version="0.4")
    return folder


@pytest.mark.parametrize("kind", ["file", "loop", "outside"])
def test_links_in_a_zarr_folder_are_not_followed(kind: str, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "other")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("secret")
    folder = zarr_image(images)
    target = {"file": tmp_path / "secret/key", "loop": folder, "outside": tmp_path / "secret"}[kind]
    (folder / "leak").symlink_to(target, target_is_directory=target.is_dir())
    content = document(SQUARE, {**SQUARE, "image_id": 2})
    content["images"] = [{**content["images"][0], "file_name": "a.zarr"}, {**content["images"][0], "id": 2}]
    content["images"][1]["file_name"] = "other.tif"
    result, dataset = imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    assert dataset.names == ("other",)
    text = "Its part leak is a symbolic link, or neither a file nor a folder. Put the file itself in its place"
    assert [failure.image for failure in result.failures] == ["a.zarr"]
    assert result.failures[0].error.startswith(text)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name in ("leak", "key", "a.zarr")]


def test_zarr_folder_is_copied_without_its_labels(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "other")
    folder = zarr_image(images)
    content = document(SQUARE)
    content["images"][0]["file_name"] = "a.zarr"
    imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    copy = tmp_path / "out/images/a.zarr"
    expected = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    expected = {path for path in expected if "labels" not in path.parts}
    assert {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()} == expected
    assert np.array_equal(read_image(copy).data, read_image(images / "other.tif").data)


def of_images(*names: str) -> dict[str, Any]:
    """Return a document with one square per image, 2 px further right on each one."""
    content = document(*({"image_id": n, "bbox": [2 * n, 2, 4, 4]} for n in range(1, len(names) + 1)))
    image = content["images"][0]
    return {**content, "images": [{**image, "id": n, "file_name": name} for n, name in enumerate(names, 1)]}


def left_edges(dataset: Dataset) -> dict[str, int]:
    return {name: int(np.nonzero(labels_in(dataset, name))[1].min()) for name in dataset.names}


def test_images_of_one_name_in_several_folders(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "c")
    for name in ("day 2", "day 1"):
        write_images(images / name, "a", "b" if name == "day 1" else "d")
    content = of_images("day 1/a.tif", "day 2\\a.tif", "day 1/b.tif", "other/c.tif", "day 2/missing/d.tif")
    result, dataset = imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    assert left_edges(dataset) == {"day 1_a": 2, "day 2_a": 4, "b": 6, "c": 8}
    assert [failure.image for failure in result.failures] == ["day 2/missing/d.tif"]


def test_image_that_may_belong_to_several_gets_none_of_their_annotations(tmp_path: Path) -> None:
    content = of_images("train/a.tif", "val/a.tif", "b.tif", "val/b.tif")
    images = write_images(tmp_path / "images", "a", "b")
    result, dataset = imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    assert left_edges(dataset) == {"b": 6}
    told = {failure.image: failure.error for failure in result.failures}
    assert set(told) == {"train/a.tif", "val/a.tif", "val/b.tif"}
    assert told["val/a.tif"].startswith("The image a.tif may belong to each of train/a.tif, val/a.tif. Keep one")
    assert told["val/b.tif"].startswith("No image of this name or stem.")


def test_names_are_compared_as_people_read_them(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images", "re\u0301sume\u0301", "CASE", "x", "Two", "TWO")
    content = of_images("r\u00e9sum\u00e9.tif", "case.TIF", "x.tif", "X.tif", "two.tif")
    result, dataset = imported(read_coco(saved(tmp_path, content)), images, tmp_path / "out")
    assert left_edges(dataset) == {"r\u00e9sum\u00e9": 2, "CASE": 4, "x": 6}
    told = {failure.image: failure.error for failure in result.failures}
    assert set(told) == {"X.tif", "two.tif", "Two.tif", "TWO.tif"}
    assert "Several images have its name or stem" in told["two.tif"]


def test_images_in_folders_alone(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    source = read_coco(saved(tmp_path, of_images("day 1/a.tif")))
    with pytest.raises(InputError, match="Holds no images"):
        imported(source, images, tmp_path / "out")
    write_images(images / "day 1", "a")
    _, dataset = imported(source, images, tmp_path / "out")
    assert dataset.names == ("a",)
