from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from beadseg.data.dataset import Dataset
from beadseg.data.fields import OwnFields
from beadseg.data.scan import natural_key, stem_of
from beadseg.errors import ImageError, InputError

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
BEADS = np.zeros((20, 30), np.uint8)
BEADS[5:9, 5:9] = BEADS[12:16, 20:24] = 255


def put(root: Path, *files: str) -> Path:
    """Write an image or mask to every relative path; the folder decides which."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = BEADS if path.parent.name in ("masks", "ignore") else IMAGE.astype(np.uint8)
        if path.parent.name == "labels":
            values = BEADS.copy()
            values[12:16, 20:24] = 7
        if path.suffix in (".tif", ".tiff"):
            tifffile.imwrite(path, values)
        elif path.suffix in (".png", ".jpg", ".bmp"):
            iio.imwrite(path, values)
        else:
            path.write_text("text", encoding="utf-8")
    return root


def messages(dataset: Dataset) -> dict[str, str]:
    return {problem.path.relative_to(dataset.root).as_posix(): problem.message for problem in dataset.problems}


def test_pairs_by_stem_across_extensions_and_suffixes(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.jpg", "images/c.ome.tif", "images/d.bmp", "images/e_mask.png")
    put(tmp_path, "masks/a.png", "masks/b_mask.png", "masks/c.tif", "masks/D.png", "masks/d_MASK.tiff")
    put(tmp_path, "masks/e_mask.png", "images/f.png", "labels/f_labels.tif", "ignore/a_ignore.png")
    dataset = Dataset.open(tmp_path)
    paired = {s.name: None if s.mask_path is None else s.mask_path.name for s in dataset}
    assert paired == {
        "a": "a.png",
        "b": "b_mask.png",
        "c": "c.tif",
        "d": "d_MASK.tiff",
        "e_mask": "e_mask.png",
        "f": "f_labels.tif",
    }
    assert dataset["a"].ignore_path == tmp_path / "ignore" / "a_ignore.png"
    assert [s.name for s in dataset if s.has_labels] == ["f"]
    assert messages(dataset) == {"masks/D.png": "No image has the same name."}


def test_labels_win_over_masks(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png", "labels/a.tif")
    sample = Dataset.open(tmp_path)["a"]
    assert sample.has_labels
    target = sample.read_target()
    assert target.labels is not None
    assert np.unique(target.labels).tolist() == [0, 7, 255]


def test_nothing_is_skipped_in_silence(tmp_path: Path) -> None:
    put(
        tmp_path, "images/a.png", "images/b.png", "images/c.png", "images/c.tif", "images/notes.txt", "images/sub/x.png"
    )
    put(tmp_path, "masks/a.png", "masks/c.png", "masks/d.png", "images/e.png", "masks/e.png", "masks/e_mask.png")
    dataset = Dataset.open(tmp_path)
    assert dataset.names == ("a",)
    found = messages(dataset)
    assert set(found) == {
        "images/b.png",
        "images/c.png",
        "images/c.tif",
        "images/notes.txt",
        "images/sub",
        "masks/d.png",
        "masks/e.png",
        "masks/e_mask.png",
        "images/e.png",
    }
    assert "Several files for 'c'" in found["images/c.tif"]
    assert "no mask" in found["images/b.png"]
    assert "'.txt'" in found["images/notes.txt"]


def test_files_of_the_system_are_no_problem(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png", "images/.DS_Store", "images/Thumbs.db", "masks/desktop.ini")
    put(tmp_path, "images/._a.png")
    dataset = Dataset.open(tmp_path)
    assert dataset.problems == ()
    assert dataset.names == ("a",)


def test_include_and_exclude(tmp_path: Path) -> None:
    names = ["real_1", "real_2", "synthetic_1"]
    put(tmp_path, *(f"{folder}/{name}.png" for folder in ("images", "masks") for name in names))
    assert Dataset.open(tmp_path, exclude=["synthetic_*"]).names == ("real_1", "real_2")
    assert Dataset.open(tmp_path, include=["*_1"], exclude=["syn*"]).names == ("real_1",)
    assert Dataset.open(tmp_path, exclude=["synthetic_*"]).problems == ()
    with pytest.raises(InputError, match="patterns"):
        Dataset.open(tmp_path, include=["nothing*"])


def test_other_folder_names(tmp_path: Path) -> None:
    put(tmp_path, "img/a.png", "x/masks/a.png")
    dataset = Dataset.open(tmp_path, images="img", masks="x/masks")
    assert dataset.names == ("a",)


def test_natural_order() -> None:
    names = ["t_r0_c10", "t_r0_c2", "T_r0_c1", "10x", "9x", "a", "a1", "a01"]
    assert sorted(names, key=natural_key)[:2] == ["9x", "10x"]
    assert sorted(names, key=natural_key)[-3:] == ["T_r0_c1", "t_r0_c2", "t_r0_c10"]
    backwards = names[::-1]
    assert sorted(backwards, key=natural_key) == sorted(names, key=natural_key)


def test_stem_of(tmp_path: Path) -> None:
    assert stem_of(tmp_path / "a.OME.tiff") == "a"
    assert stem_of(tmp_path / "a.b.png") == "a.b"


def test_unannotated_images(tmp_path: Path) -> None:
    put(tmp_path, "b.png", "a.tif")
    with pytest.raises(InputError, match="no folder images/"):
        Dataset.open(tmp_path)
    dataset = Dataset.open(tmp_path, require_masks=False)
    assert dataset.names == ("a", "b")
    assert dataset.problems == ()
    assert dataset["a"].mask_path is None
    with pytest.raises(ImageError, match="Has no mask"):
        dataset["a"].read_target()


def test_some_unannotated_images(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png", "masks/a.png")
    dataset = Dataset.open(tmp_path, require_masks=False)
    assert [(s.name, s.mask_path is None) for s in dataset] == [("a", False), ("b", True)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "Has no folder images/"),
        (("images/readme.txt", "masks/a.png"), "no image that can be used"),
        (("images/.hidden", "masks/a.png"), "Holds no images"),
        (("images/a.png",), "Has no masks/, labels/ or points/"),
        (("images/a.png", "masks/b.png"), "None of its 1 image "),
    ],
)
def test_folders_that_are_no_dataset(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    put(tmp_path, *files)
    with pytest.raises(InputError, match=message) as caught:
        Dataset.open(tmp_path)
    assert caught.value.remedy


def test_missing_folder_and_file_instead(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such folder"):
        Dataset.open(tmp_path / "none")
    put(tmp_path, "a.png")
    with pytest.raises(InputError, match="Is a file"):
        Dataset.open(tmp_path / "a.png")


def test_fields_subset_and_look_up(tmp_path: Path) -> None:
    names = ["p_grid_r0_c0", "p_grid_r0_c1", "q_grid_r0_c0"]
    put(tmp_path, *(f"{folder}/{name}.png" for folder in ("images", "masks") for name in names))
    dataset = Dataset.open(tmp_path)
    assert [sample.field for sample in dataset] == ["p", "p", "q"]
    assert dataset.fields == ("p", "q")
    assert Dataset.open(tmp_path, fields=OwnFields()).fields == tuple(names)
    assert dataset.subset([names[2], names[0]]).names == (names[0], names[2])
    with pytest.raises(InputError, match="no sample nope"):
        dataset.subset(["nope"])
    with pytest.raises(InputError, match="no sample 'nope'"):
        dataset["nope"]


def test_target_with_ignore_mask(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png", "ignore/a.png")
    target = Dataset.open(tmp_path)["a"].read_target()
    assert target.labels is None
    assert target.ignore is not None
    np.testing.assert_array_equal(target.foreground, BEADS > 0)
    np.testing.assert_array_equal(target.ignore, BEADS > 0)


@pytest.mark.parametrize("folder", ["masks", "labels", "ignore"])
def test_another_size_names_both(tmp_path: Path, folder: str) -> None:
    put(tmp_path, "images/a.png", "masks/a.png")
    (tmp_path / folder).mkdir(exist_ok=True)
    iio.imwrite(tmp_path / folder / "a.png", np.zeros((30, 20), np.uint8))
    with pytest.raises(ImageError, match=r"20x30 px .* 30x20 px") as caught:
        Dataset.open(tmp_path)["a"].read_target()
    assert caught.value.where == str(tmp_path / folder / "a.png")


def test_stack_needs_a_mask_per_plane(tmp_path: Path) -> None:
    put(tmp_path, "images/one.png", "masks/one.png")
    stack = np.stack([IMAGE, IMAGE + 1])
    beads = np.stack([BEADS, np.zeros_like(BEADS)])
    for name, mask in (("full", beads), ("single", BEADS)):
        tifffile.imwrite(tmp_path / "images" / f"{name}.tif", stack, metadata={"axes": "TYX"})
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", mask)
    dataset = Dataset.open(tmp_path)
    planes = list(dataset["full"].planes())
    assert [name for name, _, _ in planes] == ["t000", "t001"]
    for i, (_, pixels, target) in enumerate(planes):
        np.testing.assert_array_equal(pixels, stack[i][None])
        np.testing.assert_array_equal(target.foreground, beads[i] > 0)
    with pytest.raises(ImageError, match=r"1 plane, its image 2 planes"):
        dataset["single"].read_target()
    with pytest.raises(ImageError, match="stack of 2 planes"):
        dataset["full"].read_target()
    ((name, _, _),) = dataset["one"].planes()
    assert name == ""


def test_hashes_are_of_the_files(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "masks/a.png")
    hashes = Dataset.open(tmp_path)["a"].sha256()
    assert set(hashes) == {"image", "mask"}
    assert hashes["mask"] == hashlib.sha256((tmp_path / "masks" / "a.png").read_bytes()).hexdigest()
