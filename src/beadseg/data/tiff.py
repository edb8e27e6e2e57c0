"""TIFF files by tifffile: plain, ImageJ, OME; single images and stacks. And the bytes of a PNG or TIFF to be written.

Axes come from the metadata (OME, ImageJ); pages of a file that names no axes are time points (T). Pixel sizes come
from OME and ImageJ metadata; the resolution tags of a plain TIFF are believed only where they give a size that
a microscope can have, since most programs write a screen's or printer's resolution there. Pixels are turned as the
orientation tag says, as those of PNG and JPEG are.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import imageio.v3 as iio
import numpy as np
import tifffile

from beadseg.data.raw import (
    ORIENTATION,
    Raw,
    check_size,
    damaged,
    micrometres,
    plausible_pixel_size,
    upright,
    valid_orientation,
)
from beadseg.errors import BeadsegError, ImageError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_KEPT_BYTES = 128 * 1024**2
"""Decoded strips and tiles that are kept for the next part."""
_UNNAMED = "IQ"
_OTHER_COLOURS = {
    "SEPARATED": "printing colours (CMYK)",
    "YCBCR": "brightness and colour differences (YCbCr)",
    "CIELAB": "Lab colours",
    "ICCLAB": "Lab colours",
    "ITULAB": "Lab colours",
    "LOGLUV": "LogLuv colours",
    "CFA": "the raw pattern of a colour camera",
    "LINEAR_RAW": "raw colours of a camera",
}
"""By the name of a TIFF photometric interpretation: samples that are neither grey nor red, green and blue."""
_JPEG = ("OJPEG", "JPEG", "ALT_JPEG", "JPEG_LOSSY")
"""Compressions whose YCbCr is decoded to red, green and blue."""


# Its remarks on odd files belong to whoever configures logging, not on the terminal of somebody who did not.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


BELIEVED_BYTES = 64 * 1024**2
"""So many bytes of pixels are believed of any file."""
MOST_COMPRESSED = 100_000
"""No codec makes an image smaller than by this factor, not even a blank one."""


def is_tiff(path: Path) -> bool:
    """Tell by its first bytes whether a file is a TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_tiff(path: Path) -> Raw:
    """Return the pixels of a TIFF file.

    Raises
    ------
    ImageError
        It is damaged or cut short, holds several images of different sizes, is spread over several files, or has
        axes other than time, depth, channel, Y and X.
    """
    if not is_tiff(path):
        raise ImageError("Is not a TIFF file, whatever its name says.", path, "Export it again.")
    with opened(path) as tiff:
        return _decode(tiff, path)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file whose chain of pages is whole; whatever its decoder raises inside becomes an `ImageError`."""
    try:
        _check_pages(path)
        with tifffile.TiffFile(path) as tiff:
            yield tiff
    except BeadsegError:
        raise
    except MemoryError:
        raise ImageError("Does not fit into memory.", path, "Cut it into parts, or use a larger machine.") from None
    except Exception as error:  # a damaged header makes tifffile and its codecs raise nearly anything
        raise damaged(path, error) from None


def _decode(tiff: tifffile.TiffFile, path: Path) -> Raw:
    series = only_series(tiff, path)
    check_size(series.shape, np.dtype(series.dtype), path)
    data, axes = _named_axes(series.asarray(), series.axes, path)
    data = _alpha_last(data.astype(data.dtype.newbyteorder("="), copy=False), axes, series.keyframe)
    orientation = orientation_of(series)
    data = upright(data, axes, orientation)
    return Raw(data, axes, *meaning(tiff, series, path), imagej=bool(tiff.is_imagej), turned=orientation != 1)


def segment_reader(path: Path) -> Callable[[slice, slice], np.ndarray]:
    """Return what reads some rows and columns (C, Y, X) of a single image by its strips or tiles.

    The last ones that were decoded are kept (`_KEPT_BYTES`), since parts lie side by side.
    """
    kept: OrderedDict[tuple[int, int], np.ndarray] = OrderedDict()

    def read(rows: slice, columns: slice) -> np.ndarray:
        with opened(path) as tiff:
            pages = [page.aspage() for page in only_series(tiff, path).pages if page is not None]
            return np.concatenate([_part_of_page(tiff, page, rows, columns, kept) for page in pages])

    return read


def _part_of_page(
    tiff: tifffile.TiffFile, page: Any, rows: slice, columns: slice, kept: OrderedDict[tuple[int, int], np.ndarray]
) -> np.ndarray:
    """Return rows and columns (C, Y, X) of a page: tifffile's segments are (depth, Y, X, samples) of one sample set."""
    sets = page.samplesperpixel if page.planarconfig == 2 else 1
    per_set = len(page.dataoffsets) // sets
    high, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
    across = -(-page.imagewidth // wide)
    samples = 1 if sets > 1 else page.samplesperpixel
    out = np.zeros((sets * samples, rows.stop - rows.start, columns.stop - columns.start), page.dtype.newbyteorder("="))
    for plane in range(sets):
        own = out[plane * samples : (plane + 1) * samples]
        for down in range(rows.start // high, -(-rows.stop // high)):
            for along in range(columns.start // wide, -(-columns.stop // wide)):
                segment = _segment(tiff, page, plane * per_set + down * across + along, kept)
                top, left = down * high - rows.start, along * wide - columns.start
                _lay(own, segment, top, left)
    return out


def _lay(out: np.ndarray, segment: np.ndarray, top: int, left: int) -> None:
    """Copy what lies inside of `out` (samples, Y, X) of a segment (Y, X, samples) whose first pixel is (top, left)."""
    high, wide = min(out.shape[1], top + segment.shape[0]), min(out.shape[2], left + segment.shape[1])
    first, start = max(0, top), max(0, left)
    out[:, first:high, start:wide] = segment[first - top : high - top, start - left : wide - left].transpose(2, 0, 1)


def _segment(
    tiff: tifffile.TiffFile, page: Any, index: int, kept: OrderedDict[tuple[int, int], np.ndarray]
) -> np.ndarray:
    """Return a decoded strip or tile (Y, X, samples)."""
    key = (page.index, index)
    if key not in kept:
        tiff.filehandle.seek(page.dataoffsets[index])
        data = tiff.filehandle.read(page.databytecounts[index]) or None
        tables = {} if page.jpegtables is None else {"jpegtables": page.jpegtables}
        segment, _, (_, high, wide, samples) = page.decode(data, index, **tables)
        kept[key] = np.zeros((high, wide, samples), page.dtype) if segment is None else segment[0, :high, :wide]
    kept.move_to_end(key)
    while len(kept) > 1 and sum(each.nbytes for each in kept.values()) > _KEPT_BYTES:
        kept.popitem(last=False)
    return kept[key]


def orientation_of(series: tifffile.TiffPageSeries) -> int:
    """Return the orientation tag of a series' pages, 1 to 8; 1, as stored, where there is none that is valid."""
    tag = series.keyframe.tags.get(ORIENTATION)
    return 1 if tag is None else valid_orientation(tag.value)


def meaning(
    tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path
) -> tuple[str, bool, np.ndarray | None, float | None]:
    """Return what a series' values mean: the last four attributes of `Raw`."""
    page = series.keyframe
    photometric = tifffile.PHOTOMETRIC(page.photometric)
    _refuse_other_colours(page, photometric, path)
    inverted = photometric is tifffile.PHOTOMETRIC.MINISWHITE
    return _alpha(page, photometric), inverted, _palette(tiff, page, photometric), _pixel_size(tiff, page)


def _refuse_other_colours(page: Any, photometric: tifffile.PHOTOMETRIC, path: Path) -> None:
    decoded = photometric is tifffile.PHOTOMETRIC.YCBCR and tifffile.COMPRESSION(page.compression).name in _JPEG
    if photometric.name in _OTHER_COLOURS and not decoded:
        raise ImageError(f"Holds {_OTHER_COLOURS[photometric.name]}.", path, "Convert it to RGB or grey.")


def only_series(tiff: tifffile.TiffFile, path: Path) -> tifffile.TiffPageSeries:
    """Return a file's only image of full resolution, all of whose pixels are there; raise `ImageError` for others."""
    full = [series for series in tiff.series if not series.keyframe.is_reduced]
    if not full:
        raise damaged(path, "no pages")
    if len(full) > 1:
        shapes = ", ".join("x".join(map(str, series.shape)) for series in full[:4])
        raise ImageError(
            f"Holds {plural(len(full), 'separate image')} ({shapes}).", path, "Export each as a file of its own."
        )
    if full[0].is_multifile:
        raise ImageError("Is one part of an OME-TIFF spread over several files.", path, "Export it as one file.")
    _check_segments(full[0], path)
    return full[0]


def _named_axes(data: np.ndarray, axes: str, path: Path) -> tuple[np.ndarray, str]:
    """Drop axes of length 1, name the others, and order them as TZYXC."""
    names = axis_names(data.shape, axes, path)
    data = data.reshape([length for length, name in zip(data.shape, names, strict=True) if name])
    kept = "".join(names)
    order = [letter for letter in "TZYXC" if letter in kept]
    return data.transpose([kept.index(letter) for letter in order]), "".join(order)


def axis_names(shape: tuple[int, ...], axes: str, path: Path) -> list[str]:
    """Name the axes of a series out of TZYXC: unnamed ones T then Z, samples C; ``""`` for one of length 1."""
    keep = [i for i, letter in enumerate(axes) if letter in "YX" or shape[i] > 1]
    names = [""] * len(axes)
    for i in keep:
        letter = axes[i]
        names[i] = "C" if letter == "S" else letter
        if letter in _UNNAMED:
            names[i] = next((free for free in "TZ" if free not in names and free not in axes), letter)
    kept = [names[i] for i in keep]
    if len(set(kept)) != len(kept) or not set("YX") <= set(kept) <= set("TZCYX"):
        sizes = "x".join(str(shape[i]) for i in keep)
        text = f"Has axes {axes} of sizes {sizes}; only time, depth, channel, Y and X are read."
        raise ImageError(text, path, "Export one stack with at most these axes.")
    return names


def _alpha(page: Any, photometric: tifffile.PHOTOMETRIC) -> str:
    extra = _extra_samples(page)
    if 1 in extra:
        return "premultiplied"
    untold = not extra and photometric is tifffile.PHOTOMETRIC.RGB and page.samplesperpixel == 4
    return "straight" if 2 in extra or untold else "none"


def _extra_samples(page: Any) -> tuple[int, ...]:
    """Return what the samples beyond colour or grey are: 0 something else, 1 and 2 alpha; empty where nothing says."""
    return tuple(int(sample) for sample in page.extrasamples)


def _alpha_last(data: np.ndarray, axes: str, page: Any) -> np.ndarray:
    """Return samples, which lie along a last axis C, with the alpha sample, where there is one, at its end."""
    extra = _extra_samples(page)
    alpha = [i - len(extra) + page.samplesperpixel for i, sample in enumerate(extra) if sample in (1, 2)]
    if not alpha or not axes.endswith("C") or data.shape[-1] != page.samplesperpixel:
        return data
    order = [i for i in range(page.samplesperpixel) if i != alpha[0]]
    return np.asarray(data[..., [*order, alpha[0]]])


def _palette(tiff: tifffile.TiffFile, page: Any, photometric: tifffile.PHOTOMETRIC) -> np.ndarray | None:
    """Return the colours of a palette image; ImageJ's are a display table over real intensities, so not those."""
    if photometric is not tifffile.PHOTOMETRIC.PALETTE or tiff.is_imagej or page.colormap is None:
        return None
    return np.asarray(page.colormap.T >> 8, np.uint8)


def _check_pages(path: Path) -> None:
    """Follow the chain of pages; raise when it leads past the end: tifffile would return the pages before that."""
    size = path.stat().st_size
    with path.open("rb") as file:
        order = "<" if file.read(2) == b"II" else ">"
        big = struct.unpack(order + "H", file.read(2))[0] == 43
        offset_code, count_code, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
        file.seek(8 if big else 4)
        seen: set[int] = set()
        while offset := _unpack(file.read(8 if big else 4), order + offset_code, path):
            if offset >= size or offset in seen:
                raise damaged(path, f"page {len(seen)} is missing")
            seen.add(offset)
            file.seek(offset)
            count = _unpack(file.read(8 if big else 2), order + count_code, path)
            file.seek(offset + (8 if big else 2) + count * entry)


def _unpack(text: bytes, code: str, path: Path) -> int:
    if len(text) != struct.calcsize(code):
        raise damaged(path, "the file ends inside a page's header")
    return int(struct.unpack(code, text)[0])


def _check_segments(series: tifffile.TiffPageSeries, path: Path) -> None:
    """Raise when a strip or tile lies past the end of the file, or cannot hold so much: pixels would read as zeros."""
    end = path.stat().st_size
    claimed = math.prod(series.shape) * np.dtype(series.dtype).itemsize
    if claimed > BELIEVED_BYTES and claimed > MOST_COMPRESSED * end:
        raise damaged(path, f"it claims {claimed / 1024**3:.1f} GiB of pixels in a file of {end} bytes")
    for page in series.pages:
        if page is None:
            raise damaged(path, "a plane is missing")
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > end:
                raise damaged(path, f"its pixels end at byte {offset + count}, the file at {end}")


def _pixel_size(tiff: tifffile.TiffFile, page: Any) -> float | None:
    if tiff.is_ome:
        return _ome_pixel_size(tiff.ome_metadata or "")
    unit = None
    if tiff.is_imagej:
        unit = str((tiff.imagej_metadata or {}).get("unit", ""))
    elif int(page.resolutionunit) in (2, 3):
        unit = "inch" if int(page.resolutionunit) == 2 else "cm"
    scale = micrometres(unit)
    x, y = (_pixels_per_unit(page, name) for name in ("XResolution", "YResolution"))
    if scale is None or not x or not y:
        return None
    return plausible_pixel_size(scale / x, scale / y)


def _pixels_per_unit(page: Any, name: str) -> float:
    tag = page.tags.get(name)
    numerator, denominator = tag.value if tag is not None else (0, 1)
    return float(numerator) / denominator if denominator else 0.0


def _ome_pixel_size(xml: str) -> float | None:
    pixels: Any = None
    with contextlib.suppress(Exception):  # the pixels are read where the metadata cannot be parsed
        image = tifffile.xml2dict(xml)["OME"]["Image"]
        pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    if not isinstance(pixels, dict):
        return None
    sizes = []
    for axis in "XY" if "PhysicalSizeY" in pixels else "XX":
        value = pixels.get(f"PhysicalSize{axis}")
        scale = micrometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        if not isinstance(value, int | float) or scale is None:
            return None
        sizes.append(float(value) * scale)
    return plausible_pixel_size(*sizes)


def png_bytes(pixels: NDArray[np.generic]) -> bytes:
    """Return the PNG of an image (Y, X) or (Y, X, 3) uint8 or uint16."""
    return bytes(iio.imwrite("<bytes>", pixels, extension=".png"))


def tiff_bytes(values: NDArray[np.generic], axes: str) -> bytes:
    """Return a compressed TIFF of a mask or labels whose `axes` are ``YX``, or with T and Z before."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, photometric="minisblack", compression="zlib", metadata={"axes": axes})
    return buffer.getvalue()


def resolution_of(pixel_size_um: float | None) -> dict[str, Any]:
    """Return the options of `tifffile.imwrite` for the pixel size, µm; none where it is unknown."""
    if pixel_size_um is None:
        return {}
    return {"resolution": (1e4 / pixel_size_um, 1e4 / pixel_size_um), "resolutionunit": "CENTIMETER"}
