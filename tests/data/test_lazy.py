from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from beadseg.data import Image, read_image
from beadseg.data.image_io import LazyImage, open_image
from beadseg.data.ome_zarr_write import write_ome_zarr
from beadseg.errors import ImageError


def pixels(*shape: int, dtype: str = "uint8") -> np.ndarray:
    return (np.random.default_rng(0).random(shape) * 255).astype(dtype)


GREY: dict[str, Any] = {"photometric": "minisblack"}
KINDS: dict[str, Callable[[Path], object]] = {
    "plain": lambda p: tifffile.imwrite(p, pixels(5, 30, 41), **GREY),
    "one plane": lambda p: tifffile.imwrite(p, pixels(30, 41), **GREY),
    "compressed": lambda p: tifffile.imwrite(p, pixels(5, 30, 41), compression="zlib", **GREY),
    "big": lambda p: tifffile.imwrite(p, pixels(5, 30, 41, dtype="uint16"), bigtiff=True, compression="lzw", **GREY),
    "big-endian": lambda p: tifffile.imwrite(p, pixels(3, 30, 41, dtype=">u2"), byteorder=">", **GREY),
    "big-endian, compressed": lambda p: tifffile.imwrite(
        p, pixels(3, 30, 41, dtype=">f4"), byteorder=">", compression="zlib", **GREY
    ),
    "imagej": lambda p: tifffile.imwrite(
        p, pixels(3, 2, 4, 30, 41), imagej=True, resolution=(4, 4), metadata={"axes": "TZCYX", "unit": "um"}
    ),
    "ome": lambda p: tifffile.imwrite(
        p, pixels(3, 2, 30, 41, dtype="uint16"), ome=True, metadata={"axes": "ZCYX", "PhysicalSizeX": 0.5}, **GREY
    ),
    "ome, channels first, compressed": lambda p: tifffile.imwrite(
        p, pixels(2, 3, 30, 41, dtype="float32"), ome=True, compression="zlib", metadata={"axes": "CZYX"}, **GREY
    ),
    "colour pages": lambda p: tifffile.imwrite(p, pixels(4, 30, 41, 3), photometric="rgb", compression="deflate"),
    "colour planes": lambda p: tifffile.imwrite(
        p, pixels(4, 3, 30, 41), photometric="rgb", planarconfig="separate", compression="deflate"
    ),
    "tiled": lambda p: tifffile.imwrite(p, pixels(4, 50, 70), tile=(32, 32), compression="zlib", **GREY),
    "white is 0": lambda p: tifffile.imwrite(p, pixels(4, 30, 41), photometric="miniswhite"),
    "white is 0, float": lambda p: tifffile.imwrite(p, pixels(4, 30, 41, dtype="float32"), photometric="miniswhite"),
    "1 bit": lambda p: tifffile.imwrite(p, pixels(4, 30, 41) > 99, **GREY),
    "transparent": lambda p: tifffile.imwrite(p, pixels(4, 30, 41, 4), photometric="rgb", extrasamples=["unassalpha"]),
    "palette": lambda p: tifffile.imwrite(
        p, pixels(4, 30, 41), photometric="palette", colormap=pixels(3, 256, dtype="uint16") * 200
    ),
    "volume": lambda p: tifffile.imwrite(p, pixels(32, 32, 48), tile=(16, 16, 16), compression="zlib", **GREY),
    "volumetric": lambda p: tifffile.imwrite(p, pixels(2, 16, 32, 48), volumetric=True, tile=(16, 16, 16), **GREY),
}


def same(image: Image, lazy: LazyImage) -> None:
    assert (lazy.axes, lazy.shape, lazy.dtype) == (image.axes, image.shape, image.data.dtype)
    assert (lazy.pixel_size_um, lazy.size, lazy.channels) == (image.pixel_size_um, image.size, image.channels)
    for (name, plane), (lazy_name, lazy_plane) in zip(image.planes(), lazy.planes(), strict=True):
        assert lazy_name == name
        assert lazy_plane.shape == plane.shape
        assert lazy_plane.dtype == plane.dtype
        assert lazy_plane.flags.c_contiguous
        assert (lazy_plane == plane).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_lazy_planes_are_those_of_the_whole_tiff(tmp_path: Path, kind: str):
    KINDS[kind](tmp_path / "a.tif")
    same(read_image(tmp_path / "a.tif"), open_image(tmp_path / "a.tif"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("axes", "shape"), [("TZCYX", (2, 3, 2, 20, 30)), ("CYX", (3, 20, 30)), ("YX", (20, 30))])
def test_lazy_planes_are_those_of_the_whole_zarr(tmp_path: Path, version: Any, axes: str, shape: tuple[int, ...]):
    write_ome_zarr(tmp_path / "a.zarr", None, Image(pixels(*shape), axes, 0.4), version=version)
    same(read_image(tmp_path / "a.zarr"), open_image(tmp_path / "a.zarr"))


def test_a_picture_is_one_plane(tmp_path: Path):
    iio.imwrite(tmp_path / "a.png", pixels(30, 41, 3))
    same(read_image(tmp_path / "a.png"), open_image(tmp_path / "a.png"))


def test_planes_can_be_read_twice(tmp_path: Path):
    tifffile.imwrite(tmp_path / "a.tif", pixels(3, 9, 9), compression="zlib", **GREY)
    lazy = open_image(tmp_path / "a.tif")
    assert [plane.sum() for _, plane in lazy.planes()] == [plane.sum() for _, plane in lazy.planes()]


# --- Memory -----------------------------------------------------------------------------------------------------------


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def walked(path: Path) -> int:
    return sum(int(plane[0, 0, 0]) for _, plane in open_image(path).planes())


@pytest.mark.parametrize("kind", ["contiguous", "compressed", "zarr"])
def test_a_stack_needs_the_memory_of_a_few_planes(tmp_path: Path, kind: str):
    stack = np.full((60, 400, 500), 7, np.uint16)
    path = tmp_path / ("a.zarr" if kind == "zarr" else "a.tif")
    if kind == "zarr":
        write_ome_zarr(path, None, Image(stack, "TYX"))
    else:
        tifffile.imwrite(path, stack, compression="zlib" if kind == "compressed" else None, **GREY)
    walked(path)  # what libraries allocate once
    assert peak_bytes(lambda: walked(path)) < 6 * stack[0].nbytes
    assert peak_bytes(lambda: read_image(path)) > 55 * stack[0].nbytes


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_opening_decodes_no_pixels(tmp_path: Path, compression: str | None):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 500, 600), np.uint16), compression=compression, **GREY)
    open_image(tmp_path / "a.tif")
    assert peak_bytes(lambda: open_image(tmp_path / "a.tif")) < 500 * 600


# --- Faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kept", [3, 10, 300, 3000, -2000])
def test_a_stack_cut_short_is_an_error(tmp_path: Path, compression: str | None, kept: int):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(5, 50, 60), compression=compression, metadata=None, **GREY)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ImageError):
        list(open_image(path).planes())


def test_damage_inside_a_page_shows_when_it_is_read(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(5, 50, 60), compression="zlib", **GREY)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    damaged = bytearray(path.read_bytes())
    damaged[offset : offset + 40] = b"x" * 40
    path.write_bytes(damaged)
    planes = open_image(path).planes()
    assert [next(planes)[0] for _ in range(3)] == ["t000", "t001", "t002"]
    with pytest.raises(ImageError, match="damaged"):
        next(planes)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_nan_in_a_plane_is_an_error(tmp_path: Path, compression: str | None):
    stack = pixels(3, 9, 9, dtype="float32")
    stack[1, 4, 4] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", stack, compression=compression, **GREY)
    with pytest.raises(ImageError, match="1 of its 81 values"):
        list(open_image(tmp_path / "a.tif").planes())


def test_an_absurd_plane_is_refused_before_it_is_read(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels(2, 9, 9), compression="zlib", **GREY)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        for page in tiff.pages:
            page.tags["ImageWidth"].overwrite(10**6)
            page.tags["ImageLength"].overwrite(10**6)
    with pytest.raises(ImageError):
        open_image(path)


PARTS: dict[str, dict[str, Any]] = {
    "in one piece": {},
    "strips": {"compression": "zlib", "rowsperstrip": 37},
    "tiles": {"tile": (64, 80)},
    "compressed tiles": {"tile": (64, 80), "compression": "zlib", "predictor": True},
    "colours apart": {"tile": (64, 80), "compression": "zlib", "planarconfig": "separate"},
    "big-endian": {"rowsperstrip": 16, "compression": "lzw", "bigtiff": True, "byteorder": ">"},
    "0 is white": {"tile": (64, 64), "photometric": "miniswhite"},
}


@pytest.mark.parametrize("kind", [*PARTS, "ome-zarr"])
@pytest.mark.parametrize("colour", [False, True], ids=["grey", "colour"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_part_is_that_of_the_whole(kind: str, colour: bool, dtype: str, tmp_path: Path) -> None:
    values = pixels(*((200, 217, 3) if colour else (200, 217)), dtype=dtype)
    options = {"photometric": "rgb" if colour else "minisblack"} | PARTS.get(kind, {})
    if (kind == "0 is white" and (colour or dtype == "float32")) or (kind == "colours apart" and not colour):
        pytest.skip("TIFF has no such combination: a white 0 is for grey integers, separate planes are for colours")
    path = tmp_path / ("a.ome.zarr" if kind == "ome-zarr" else "a.tif")
    if kind == "ome-zarr":
        image = Image(np.ascontiguousarray(np.moveaxis(values, -1, 0)), "CYX") if colour else Image(values, "YX")
        write_ome_zarr(path, None, image)
    else:
        tifffile.imwrite(path, np.moveaxis(values, -1, 0) if kind == "colours apart" else values, **options)
    image = open_image(path)
    ((_, whole),) = image.planes()
    assert image.in_parts
    for rows, columns in (
        ((0, 200), (0, 217)),
        ((10, 150), (33, 200)),
        ((199, 200), (216, 217)),
        ((64, 128), (80, 160)),
    ):
        part = image.part(slice(*rows), slice(*columns))
        assert part.dtype == whole.dtype
        np.testing.assert_array_equal(part, whole[:, slice(*rows), slice(*columns)])


def test_what_is_not_read_in_parts_is_cut_from_the_whole(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", pixels(30, 41))
    image = open_image(tmp_path / "a.png")
    assert not image.in_parts
    np.testing.assert_array_equal(image.part(slice(3, 9), slice(5, 41))[0], pixels(30, 41)[3:9, 5:])
