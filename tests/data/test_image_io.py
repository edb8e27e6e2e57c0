from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from PIL import Image as PilImage
from PIL import ImageOps

from beadseg.data.image_io import open_image, read_image, read_labels, read_mask
from beadseg.data.raw import micrometres
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 30), np.uint8)
RGB = RNG.integers(0, 256, (20, 30, 3), np.uint8)
CHANNELS_FIRST = RGB.transpose(2, 0, 1)


def discs(radius: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Twelve discs: uint32 labels, and float coverage with soft edges."""
    y, x = np.mgrid[:60, :80]
    labels = np.zeros((60, 80), np.uint32)
    soft = np.zeros((60, 80))
    for i in range(12):
        distance = np.hypot(y - 10.3 - 20 * (i // 4), x - 10.7 - 20 * (i % 4))
        labels[distance < radius] = i + 1
        soft = np.maximum(soft, np.clip(radius + 0.5 - distance, 0, 1))
    return labels, soft


# --- Images -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_grey_and_rgb_keep_their_values(tmp_path: Path, suffix: str) -> None:
    for values, axes, expected in ((GREY, "YX", GREY), (RGB, "CYX", CHANNELS_FIRST)):
        path = tmp_path / f"{axes}{suffix}"
        if suffix in (".tif", ".TIFF"):
            tifffile.imwrite(path, values, photometric="rgb" if values.ndim == 3 else "minisblack")
        else:
            iio.imwrite(path, values)
        image = read_image(path)
        assert image.axes == axes
        assert image.size == (20, 30)
        np.testing.assert_array_equal(image.data, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_an_image_is_turned_as_its_orientation_tag_says(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"turned{suffix}"
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    blocks = np.kron(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, np.ones((8, 8), np.uint8))
    PilImage.fromarray(blocks).save(path, exif=exif, **({"quality": 100} if suffix == ".jpg" else {}))
    with PilImage.open(path) as stored:
        expected = np.array(ImageOps.exif_transpose(stored))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, expected)
    assert image.turned == (orientation > 1)


def oriented_tiff(path: Path, pixels: np.ndarray, orientation: int, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, extratags=[(0x0112, "H", 1, orientation, True)], **options)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_a_png_of_the_same_orientation(tmp_path: Path, orientation: int) -> None:
    blocks = np.kron(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10, np.ones((8, 8), np.uint8))
    exif = PilImage.Exif()
    exif[0x0112] = orientation
    PilImage.fromarray(blocks).save(tmp_path / "a.png", exif=exif)
    expected = read_image(tmp_path / "a.png").data
    path = oriented_tiff(tmp_path / "a.tif", blocks, orientation)
    image, lazy = read_image(path), open_image(path)
    np.testing.assert_array_equal(image.data, expected)
    assert image.turned == lazy.turned == (orientation > 1)
    assert lazy.size == expected.shape
    np.testing.assert_array_equal(next(plane for _, plane in lazy.planes())[0], expected)
    np.testing.assert_array_equal(read_labels(path).labels, expected)
    assert read_labels(path).turned == (orientation > 1)


@pytest.mark.parametrize(
    "options",
    [{"photometric": "minisblack"}, {"photometric": "minisblack", "compression": "zlib"}, {"photometric": "rgb"}],
)
def test_every_plane_of_a_tiff_is_turned(tmp_path: Path, options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(1).integers(
        0, 255, (3, 20, 30, 3) if options["photometric"] == "rgb" else (3, 20, 30)
    )
    path = oriented_tiff(tmp_path / "a.tif", pixels.astype(np.uint8), 6, **options)
    image, lazy = read_image(path), open_image(path)
    assert image.size == lazy.size == (30, 20)
    assert image.stack_shape == (3,)
    for (_, whole), (_, plane), stored in zip(image.planes(), lazy.planes(), pixels, strict=True):
        upright = np.rot90(stored, -1)
        expected = np.moveaxis(upright, -1, 0) if upright.ndim == 3 else upright[np.newaxis]
        np.testing.assert_array_equal(whole, expected)
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_dtypes_and_byte_orders(tmp_path: Path, dtype: str, order: str) -> None:
    values = RNG.integers(0, 100, (20, 30)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=order, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    assert image.data.dtype == np.dtype(dtype)
    assert image.data.dtype.isnative
    np.testing.assert_array_equal(image.data, values)


def test_16_bit_png(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (20, 30), np.uint16)
    iio.imwrite(tmp_path / "a.png", values)
    image = read_image(tmp_path / "a.png")
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, values)


def test_16_bit_colour_png_is_not_cut_to_8_bits(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (20, 30, 3)).astype(np.uint16)
    write_png(tmp_path / "a.png", values)
    image = read_image(tmp_path / "a.png")
    assert (image.axes, image.data.dtype) == ("CYX", np.uint16)
    np.testing.assert_array_equal(image.data, values.transpose(2, 0, 1))


def write_png(path: Path, rgb: np.ndarray, size: tuple[int, int] | None = None) -> None:
    """Write a 16-bit RGB PNG by hand; `size` (height, width) is what its header claims."""
    height, width = size or rgb.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in [*chunks, (b"IEND", b"")]:
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    path.write_bytes(data)


def test_one_bit_and_palette_png(tmp_path: Path) -> None:
    PilImage.fromarray(GREY > 127).save(tmp_path / "bit.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bit.png").data, np.where(GREY > 127, 255, 0))
    palette = PilImage.fromarray(GREY % 3, mode=None).convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.png")
    image = read_image(tmp_path / "palette.png")
    assert image.axes == "CYX"
    np.testing.assert_array_equal(image.data[0], np.array([0, 255, 10])[GREY % 3])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_constant_alpha_is_dropped(tmp_path: Path, suffix: str) -> None:
    for alpha in (255, 0):
        rgba = np.dstack([RGB, np.full((20, 30), alpha, np.uint8)])
        path = tmp_path / f"{alpha}{suffix}"
        if suffix == ".png":
            iio.imwrite(path, rgba)
        else:
            tifffile.imwrite(path, rgba, photometric="rgb")
        image = read_image(path)
        assert image.axes == "CYX"
        np.testing.assert_array_equal(image.data, CHANNELS_FIRST)


def test_partly_transparent_is_laid_over_white(tmp_path: Path) -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2, :, 3] = 255
    rgba[2, :, 3] = 51
    iio.imwrite(tmp_path / "a.png", rgba)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data[0, :, 0], [0, 0, 204, 255])


def test_grey_with_alpha_is_grey(tmp_path: Path) -> None:
    PilImage.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]), mode=None).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.axes == "YX"
    np.testing.assert_array_equal(image.data, GREY)


def test_planar_rgb_and_white_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "planar.tif", CHANNELS_FIRST, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planar.tif").data, CHANNELS_FIRST)
    tifffile.imwrite(tmp_path / "white.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "white.tif").data, 255 - GREY)


@pytest.mark.parametrize(
    ("shape", "options", "axes", "expected"),
    [
        ((5, 20, 30), {"metadata": None}, "TYX", (5, 20, 30)),
        ((5, 20, 30), {}, "TYX", (5, 20, 30)),
        ((2, 5, 20, 30), {}, "TZYX", (2, 5, 20, 30)),
        ((5, 2, 20, 30), {"imagej": True, "metadata": {"axes": "ZCYX"}}, "ZCYX", (5, 2, 20, 30)),
        ((5, 20, 30), {"ome": True, "metadata": {"axes": "ZYX"}}, "ZYX", (5, 20, 30)),
        ((2, 5, 20, 30), {"ome": True, "metadata": {"axes": "CTYX"}}, "TCYX", (5, 2, 20, 30)),
        ((1, 20, 30), {"ome": True, "metadata": {"axes": "ZYX"}}, "YX", (20, 30)),
        ((20, 1), {}, "YX", (20, 1)),
        ((1, 1), {}, "YX", (1, 1)),
    ],
)
def test_axes(tmp_path: Path, shape: tuple[int, ...], options: dict, axes: str, expected: tuple[int, ...]) -> None:
    values = RNG.integers(0, 1000, shape).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", **options)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.data.shape) == (axes, expected)
    assert sorted(image.data.ravel()) == sorted(values.ravel())
    assert image.data.flags.c_contiguous


def test_planes_are_named_in_order(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    tifffile.imwrite(tmp_path / "a.tif", values, imagej=True, metadata={"axes": "TZYX"})
    planes = dict(read_image(tmp_path / "a.tif").planes())
    assert list(planes) == ["t000_z000", "t000_z001", "t000_z002", "t001_z000", "t001_z001", "t001_z002"]
    np.testing.assert_array_equal(planes["t001_z002"], values[1, 2][None])
    iio.imwrite(tmp_path / "b.png", RGB)
    ((name, plane),) = read_image(tmp_path / "b.png").planes()
    assert name == ""
    np.testing.assert_array_equal(plane, CHANNELS_FIRST)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"ome": True, "metadata": {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}}, 0.25),
        ({"ome": True, "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm"}}, 0.25),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "um"}}, 0.25),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "micrometers"}}, 0.25),
        ({"imagej": True, "resolution": (4000, 4000), "metadata": {"unit": "Millimeters"}}, 0.25),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True, "resolution": (4, 4), "metadata": {}}, None),
        ({"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}, 0.25),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({}, None),
    ],
)
def test_pixel_size(tmp_path: Path, options: dict, expected: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="minisblack", **options)
    assert read_image(tmp_path / "a.tif").pixel_size_um == (None if expected is None else pytest.approx(expected))


UNITS = {
    1e-3: ["nm", "nanometer", "Nanometres"],
    1.0: [
        "µm",
        "\u03bcm",
        "um",
        "UM",
        "micron",
        "microns",
        "micrometer",
        "micrometers",
        "Micrometre",
        "\\u00B5m",
        " µm ",
    ],
    1e3: ["mm", "millimeter", "millimeters", "millimetre"],
    1e4: ["cm", "centimeter", "centimetres"],
    1e6: ["m", "meter", "metres"],
    25400.0: ["inch", "inches", "in"],
    None: ["pixel", "px", "", "None", "s", "furlong"],
}


@pytest.mark.parametrize(("unit", "expected"), [(name, um) for um, names in UNITS.items() for name in names])
def test_every_name_of_a_unit_is_known(unit: str, expected: float | None) -> None:
    assert micrometres(unit) == (None if expected is None else pytest.approx(expected))


def test_pixel_size_of_png_only_where_plausible(tmp_path: Path) -> None:
    PilImage.fromarray(GREY).save(tmp_path / "screen.png", dpi=(96, 96))
    PilImage.fromarray(GREY).save(tmp_path / "scope.png", dpi=(25400, 25400))
    assert read_image(tmp_path / "screen.png").pixel_size_um is None
    assert read_image(tmp_path / "scope.png").pixel_size_um == pytest.approx(1.0, rel=1e-3)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", GREY)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", GREY)
    (tmp_path / "b.tif").rename(tmp_path / "b.png")
    for name in ("a.tif", "b.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name).data, GREY)


def test_huge_finite_values_are_kept(tmp_path: Path) -> None:
    values = np.array([[1e300, -1e300], [0, 1]])
    tifffile.imwrite(tmp_path / "a.tif", values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, values)


# --- Files that cannot be read ----------------------------------------------------------------------------------------


def broken(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.{'tif' if 'tif' in kind or kind in {'nan', 'complex'} else 'png'}"
    buffer = io.BytesIO()
    if kind == "missing png":
        return path
    if kind == "folder png":
        path.mkdir()
    elif kind == "kind":
        path = folder / "image.gif"
        path.write_bytes(b"GIF89a")
    elif kind in {"nan", "complex"}:
        values = np.zeros((4, 4), np.float32 if kind == "nan" else np.complex64)
        values[1, 1:3] = np.nan, np.inf
        tifffile.imwrite(path, values)
    elif kind == "absurd tif":
        tifffile.imwrite(path, GREY)
        with tifffile.TiffFile(path, mode="r+") as tiff:
            for name in ("ImageWidth", "ImageLength"):
                tiff.pages[0].tags[name].overwrite(2_000_000)
    elif kind == "absurd png":
        write_png(path, RGB, (200_000, 200_000))
    elif kind == "large png":
        write_png(path, RGB, (10_000, 10_000))
    elif kind == "two sizes tif":
        with tifffile.TiffWriter(path) as writer:
            writer.write(GREY)
            writer.write(GREY[:10])
    elif kind == "animated png":
        frames = [PilImage.fromarray(GREY), PilImage.fromarray(255 - GREY)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    else:
        if "tif" in kind:
            tifffile.imwrite(buffer, np.stack([GREY] * 3), metadata=None, photometric="minisblack")
        else:
            iio.imwrite(buffer, RGB, extension=".png")
        whole = buffer.getvalue()
        share = {"text": 0, "empty": 0, "half": 0.5, "last": 0.97, "header": 0.02}[kind.split()[0]]
        path.write_bytes(b"beads\n" * 50 if kind.startswith("text") else whole[: int(share * len(whole))])
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing png", "No such file"),
        ("folder png", "Is a folder"),
        ("kind", "'.gif' are not read"),
        ("empty png", "0 bytes"),
        ("empty tif", "0 bytes"),
        ("text png", "Is not a PNG, JPEG or BMP"),
        ("text tif", "Is not a TIFF"),
        ("half png", "damaged"),
        ("header png", "."),
        ("half tif", "damaged"),
        ("last tif", "damaged"),
        ("header tif", "damaged"),
        ("nan", "2 of its 16 values are NaN or infinite"),
        ("complex", "complex64"),
        ("absurd tif", "GiB"),
        ("absurd png", "million pixels"),
        ("large png", "damaged"),
        ("two sizes tif", "2 separate images"),
        ("animated png", "animated"),
    ],
)
def test_one_clear_error(tmp_path: Path, kind: str, message: str) -> None:
    path = broken(tmp_path, kind)
    for read in (read_image, read_mask):
        with pytest.raises(ImageError) as caught:
            read(path)
        assert message in caught.value.what
        assert caught.value.where == str(path)
        assert caught.value.remedy
        assert "\n" not in str(caught.value)


def test_a_stack_cut_short_anywhere_never_gives_wrong_pixels(tmp_path: Path) -> None:
    stack = np.stack([GREY, GREY[::-1], 255 - GREY])
    tifffile.imwrite(tmp_path / "whole.tif", stack, metadata=None, photometric="minisblack")
    whole = (tmp_path / "whole.tif").read_bytes()
    path = tmp_path / "cut.tif"
    refused = 0
    for length in range(1, len(whole), 61):
        path.write_bytes(whole[:length])
        try:
            image = read_image(path)
        except ImageError:
            refused += 1
        else:  # only the resolution, at the very end, is lost
            np.testing.assert_array_equal(image.data, stack)
    assert refused > 0.9 * len(whole) / 61


# --- Masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, 255, 7])
def test_binary(tmp_path: Path, value: int) -> None:
    expected = discs()[0] > 0
    iio.imwrite(tmp_path / "a.png", np.where(expected, value, 0).astype(np.uint8))
    mask = read_mask(tmp_path / "a.png")
    assert (mask.kind, mask.labels, mask.axes) == ("binary", None, "YX")
    np.testing.assert_array_equal(mask.foreground, expected)


@pytest.mark.parametrize("value", [0, 255])
def test_empty_and_full(tmp_path: Path, value: int) -> None:
    iio.imwrite(tmp_path / "a.png", np.full((5, 6), value, np.uint8))
    mask = read_mask(tmp_path / "a.png")
    assert mask.kind == "binary"
    assert mask.foreground.all() == mask.foreground.any() == bool(value)


def test_inverted_is_not_guessed(tmp_path: Path) -> None:
    beads = discs()[0] > 0
    iio.imwrite(tmp_path / "a.png", np.where(beads, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").foreground, ~beads)


@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("uint16", 4095), ("float32", 1.0)])
def test_soft_edges_are_cut_at_half(tmp_path: Path, dtype: str, white: float) -> None:
    soft = discs()[1]
    tifffile.imwrite(tmp_path / "a.tif", (soft * white).astype(dtype))
    mask = read_mask(tmp_path / "a.tif")
    assert (mask.kind, mask.labels) == ("soft", None)
    np.testing.assert_array_equal(mask.foreground, (soft * white).astype(dtype) >= white / 2)


def test_a_single_soft_bead_is_not_taken_for_labels(tmp_path: Path) -> None:
    soft = discs()[1][:20, :20]
    iio.imwrite(tmp_path / "a.png", (255 * soft).astype(np.uint8))
    assert read_mask(tmp_path / "a.png").kind == "soft"


def test_jpeg_noise_on_an_empty_mask_is_background(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", RNG.integers(0, 7, (40, 40)).astype(np.uint8))
    assert not read_mask(tmp_path / "a.png").foreground.any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint32", "int64", "float32"])
def test_labels_in_the_masks_folder_are_recognised(tmp_path: Path, dtype: str) -> None:
    labels = discs()[0].astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", labels)
    mask = read_mask(tmp_path / "a.tif")
    assert mask.kind == "labels"
    assert mask.labels is not None
    assert mask.labels.dtype == np.uint32
    np.testing.assert_array_equal(mask.labels, labels)


@pytest.mark.parametrize(("dtype", "offset"), [("uint16", 65000), ("uint32", 70000), ("int64", 70000)])
def test_large_ids(tmp_path: Path, dtype: str, offset: int) -> None:
    labels = discs()[0].astype(dtype)
    labels[labels > 0] += offset
    tifffile.imwrite(tmp_path / "a.tif", labels)
    for read in (read_mask, read_labels):
        np.testing.assert_array_equal(read(tmp_path / "a.tif").labels, labels)


def test_ids_beyond_uint32_are_numbered_anew(tmp_path: Path) -> None:
    labels = discs()[0].astype(np.int64)
    tifffile.imwrite(tmp_path / "a.tif", labels * 2**33)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif").labels, labels)


def test_labels_folder_never_thresholds(tmp_path: Path) -> None:
    labels = np.zeros((9, 9), np.uint8)
    labels[1, 1], labels[1, 3], labels[5, 5] = 3, 200, 255
    iio.imwrite(tmp_path / "a.png", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png").labels, labels)


def test_a_binary_mask_among_labels_is_refused(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", np.where(discs()[0] > 0, 255, 0).astype(np.uint8))
    with pytest.raises(ImageError, match="12 separate pieces"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("wrap", [2, 3])
def test_classes_and_wrapped_ids_are_refused(tmp_path: Path, wrap: int) -> None:
    labels = discs()[0]
    iio.imwrite(tmp_path / "a.png", np.where(labels > 0, labels % wrap + 1, 0).astype(np.uint8))
    with pytest.raises(ImageError, match="separate regions"):
        read_mask(tmp_path / "a.png")


def test_palette_indices_are_ids(tmp_path: Path) -> None:
    labels = discs()[0].astype(np.uint8)
    image = PilImage.fromarray(labels).convert("P")
    image.putpalette([0, 0, 0, *RNG.integers(1, 255, 36).tolist()])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").labels, labels)


@pytest.mark.parametrize("channels", [3, 4])
def test_grey_saved_as_colour(tmp_path: Path, channels: int) -> None:
    beads = np.where(discs()[0] > 0, 255, 0).astype(np.uint8)
    alpha = [np.full_like(beads, 255)] * (channels - 3)
    iio.imwrite(tmp_path / "a.png", np.dstack([beads] * 3 + alpha))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").foreground, beads > 0)


def test_masks_that_are_not_clear(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "colour.png", RGB)
    iio.imwrite(tmp_path / "clear.png", np.dstack([GREY, GREY, GREY, GREY]))
    tifffile.imwrite(tmp_path / "negative.tif", np.array([[-1, 0], [1, 2]], np.int16))
    iio.imwrite(tmp_path / "background.png", GREY % 2 + 1)
    tifffile.imwrite(tmp_path / "nan.tif", np.array([[np.nan, 1.0]], np.float32))
    for name, message in (
        ("colour.png", "different colours"),
        ("clear.png", "transparent"),
        ("negative.tif", "negative"),
        ("background.png", "no background"),
        ("nan.tif", "1 of its 2 values are NaN"),
    ):
        with pytest.raises(ImageError, match=message):
            read_mask(tmp_path / name)
    tifffile.imwrite(tmp_path / "float.tif", np.array([[0.5, 1.0]], np.float32))
    with pytest.raises(ImageError, match="whole numbers"):
        read_labels(tmp_path / "float.tif")


def test_stack_of_masks(tmp_path: Path) -> None:
    beads = np.stack([discs()[0] > 0, discs(2.0)[0] > 0])
    tifffile.imwrite(tmp_path / "a.tif", np.where(beads, 255, 0).astype(np.uint8), metadata={"axes": "TYX"})
    mask = read_mask(tmp_path / "a.tif")
    assert mask.axes == "TYX"
    for (foreground, labels), expected in zip(mask.planes(), beads, strict=True):
        assert labels is None
        np.testing.assert_array_equal(foreground, expected)


def test_a_path_may_be_text_as_the_readme_writes_it(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.png", np.arange(64, dtype=np.uint8).reshape(8, 8))
    assert np.array_equal(read_image(str(tmp_path / "a.png")).data, read_image(tmp_path / "a.png").data)


def test_a_tiff_that_claims_more_pixels_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, np.zeros((20, 24), np.uint8), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageWidth"].overwrite(5_000_000)
    with pytest.raises(ImageError, match=r"claims 0\.1 GiB of pixels"):
        read_image(path)
