"""Stacks are read, predicted and written plane by plane; OME-Zarr folders are images like any other."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg import files
from beadseg.data import Image, read_image, read_labels, read_mask
from beadseg.data.image_io import open_image
from beadseg.data.ome_zarr_write import write_ome_zarr
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import Cancelled, InputError
from beadseg.events import StopFlag
from beadseg.predict import Segmenter
from beadseg.predict.batch import find_images, predict_folder


def beads(seed: int, side: int = 96) -> np.ndarray:
    scene = SceneConfig(height=side, width=side, beads=15, channels="grey", debris=0, cluster_probability=0)
    return np.asarray(simulate(scene, seed).image)


def stack_of(planes: int) -> np.ndarray:
    return np.stack([beads(seed) for seed in range(planes)])


def write(path: Path, stack: np.ndarray, axes: str, pixel_size_um: float) -> Path:
    if path.suffix == ".zarr":
        write_ome_zarr(path, None, Image(stack, axes, pixel_size_um))
    else:
        told = {"axes": axes, "PhysicalSizeX": pixel_size_um, "PhysicalSizeY": pixel_size_um}
        tifffile.imwrite(path, stack, photometric="minisblack", ome=True, metadata=told, compression="zlib")
    return path


@pytest.mark.parametrize("name", ["s.ome.tif", "s.ome.zarr"])
def test_a_lazy_stack_gives_the_results_of_the_whole_one(segmenter: Segmenter, tmp_path: Path, name: str):
    path = write(tmp_path / name, stack_of(4).reshape(2, 2, 96, 96), "TZYX", 0.5)
    result = predict_folder(segmenter, [path], tmp_path / "out")
    whole = list(segmenter.predict_planes(read_image(path)))
    assert list(result.counts["plane"]) == [plane for plane, _, _ in whole]
    assert list(result.counts["beads"]) == [prediction.count for _, _, prediction in whole]
    assert (result.counts["pixel_size_um"] == 0.5).all()
    labels = read_labels(tmp_path / "out" / files.LABELS / "s.tif").labels
    mask = read_mask(tmp_path / "out" / files.MASKS / "s.tif")
    assert labels is not None
    assert labels.shape == (2, 2, 96, 96)
    expected = np.stack([prediction.labels for _, _, prediction in whole])
    assert expected.max() > 5
    assert (labels.reshape(4, 96, 96) == expected).all()
    assert (mask.foreground == (labels > 0)).all()
    assert mask.axes == "TZYX"
    table = pd.read_csv(tmp_path / "out" / files.BEADS / "s.csv")
    assert list(table.groupby("plane").size()) == [prediction.count for _, _, prediction in whole]
    assert read_image(tmp_path / "out" / files.LABELS / "s.tif").pixel_size_um == pytest.approx(0.5)
    assert len(list((tmp_path / "out" / files.OVERLAYS).iterdir())) == 4


def test_a_zarr_of_one_plane_is_an_image(segmenter: Segmenter, tmp_path: Path):
    path = tmp_path / "in" / "a.ome.zarr"
    path.parent.mkdir()
    write_ome_zarr(path, None, Image(np.stack([beads(1)] * 3), "CYX", 0.5))
    result = predict_folder(segmenter, find_images([path.parent]), tmp_path / "out")
    assert list(result.counts["image"]) == ["a"]
    assert (tmp_path / "out" / files.MASKS / "a.png").is_file()
    assert "x_um" in pd.read_csv(tmp_path / "out" / files.BEADS / "a.csv")
    assert segmenter.predict(open_image(path)).count == result.counts["beads"][0]


def test_zarr_folders_are_images_and_never_listed(tmp_path: Path):
    for name in ("a.ome.zarr", "b.zarr"):
        write_ome_zarr(tmp_path / name, None, Image(beads(1), "YX"))
    (tmp_path / "b.zarr" / "preview.png").write_bytes(b"")
    (tmp_path / "c.zarr").mkdir()
    expected = [tmp_path / name for name in ("a.ome.zarr", "b.zarr", "c.zarr")]
    assert find_images([tmp_path]) == expected
    assert find_images(expected) == expected
    with pytest.raises(InputError, match="address on the network"):
        find_images([Path("https://host/a.zarr")])


def test_a_damaged_zarr_is_one_failure(segmenter: Segmenter, tmp_path: Path):
    (tmp_path / "in" / "a.zarr").mkdir(parents=True)
    write_ome_zarr(tmp_path / "in" / "b.zarr", None, Image(beads(1), "YX"))
    result = predict_folder(segmenter, find_images([tmp_path / "in"]), tmp_path / "out")
    assert list(result.counts["image"]) == ["b"]
    assert "Is not a Zarr" in result.failures["error"][0]


def test_a_stack_that_breaks_in_the_middle_leaves_nothing(segmenter: Segmenter, tmp_path: Path):
    stack = stack_of(3).astype(np.float32)
    stack[2, 5, 5] = np.nan
    tifffile.imwrite(tmp_path / "s.tif", stack, photometric="minisblack")
    result = predict_folder(segmenter, [tmp_path / "s.tif"], tmp_path / "out")
    assert "NaN" in result.failures["error"][0]
    assert len(result.counts) == 0
    for kind in (files.LABELS, files.MASKS, files.BEADS, files.OVERLAYS):
        assert not (tmp_path / "out" / kind).exists()


def test_stopping_inside_a_stack_keeps_earlier_results(segmenter: Segmenter, tmp_path: Path):
    class SecondCheck(StopFlag):
        """Is set once it has been looked at a few times: inside the stack."""

        looks = 0

        def check(self) -> None:
            self.looks += 1
            if self.looks > 3:
                self.set()
            super().check()

    tifffile.imwrite(tmp_path / "s.tif", stack_of(4), photometric="minisblack")
    predict_folder(segmenter, [tmp_path / "s.tif"], tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*") if path.name != files.PREDICTION}
    with pytest.raises(Cancelled):
        predict_folder(segmenter, [tmp_path / "s.tif"], tmp_path / "out", stop=SecondCheck())
    inside = {path for path in before if path.parent.name in (files.LABELS, files.MASKS, files.BEADS, files.OVERLAYS)}
    assert len(inside) == 1 + 1 + 2 + 4
    assert all(path.read_bytes() == before[path] for path in inside)
    assert not list((tmp_path / "out").rglob(f"{files.TEMPORARY_PREFIX}*"))


# --- Memory -----------------------------------------------------------------------------------------------------------


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_stack_of_sixty_planes_needs_little_more_than_one(segmenter: Segmenter, tmp_path: Path):
    segmenter.options = segmenter.options.replace(objects=segmenter.options.objects.replace(separate=False))
    plane = beads(3, 256)
    for name, planes in (("short", 2), ("long", 60)):
        tifffile.imwrite(tmp_path / f"{name}.tif", np.stack([plane] * planes), photometric="minisblack")
    counted: list[int] = []

    def predicted(name: str) -> None:
        result = predict_folder(segmenter, [tmp_path / f"{name}.tif"], tmp_path / "out", overlays=False)
        counted.append(len(result.counts))

    predicted("short")  # what libraries allocate once
    few, sixty = peak_bytes(lambda: predicted("short")), peak_bytes(lambda: predicted("long"))
    # Labels and probability, kept for all planes, would be 8 bytes per pixel of 58 more planes.
    assert sixty - few < 0.1 * 58 * 8 * plane.size
    assert counted == [2, 2, 60]
