"""Images whose pixels are read one plane at a time, so that a stack needs no more memory than one of its planes.

TIFF stacks are read page by page (BigTIFF, OME-TIFF), or through the system's pages where the pixels lie in one piece
(ImageJ), OME-Zarr by the chunks of a plane. A PNG, JPEG or BMP is one plane and is decoded at once; so are the rare
TIFFs whose values can only be understood all together (palettes, transparency, inverted floats).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.image_io import Image, Planes, as_intensities, decodes_as_tiff, read_image
from beadseg.data.ome_zarr import read_planes
from beadseg.data.ome_zarr_meta import find_image
from beadseg.data.raw import QUARTER_TURNS, check_file, check_size, damaged, is_zarr, upright
from beadseg.data.tiff import axis_names, is_tiff, meaning, only_series, opened, orientation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import tifffile


@dataclass(frozen=True, eq=False)
class LazyImage(Planes):
    """An image of which everything but its pixels is known.

    Attributes
    ----------
    axes : str
        One letter per dimension out of ``TZCYX``, in that order, as in `beadseg.data.Image`.
    lengths : tuple of int
        Length of every axis.
    dtype : numpy.dtype
        Of its pixels.
    pixel_size_um : float or None
        Side of a pixel, µm, where the file tells it.
    turned : bool
        The pixels are turned as the file's orientation tag (EXIF) says.
    """

    axes: str
    lengths: tuple[int, ...]
    dtype: np.dtype
    pixel_size_um: float | None
    _read: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return self.lengths

    def planes(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the (C, Y, X) pixels of every plane, as `Image.planes` does, reading one at a time.

        Raises
        ------
        ImageError
            A plane is damaged or holds NaN or infinite values.
        """
        yield from zip(self.names, self._read(), strict=True)


def open_image(path: Path) -> LazyImage:
    """Open an image file or OME-Zarr folder without reading its planes; they are those of `read_image`.

    Raises
    ------
    ImageError
        As for `read_image`, where that shows before pixels are decoded.
    """
    check_file(path)
    if is_zarr(path):
        return _open_zarr(path)
    if decodes_as_tiff(path) and is_tiff(path):
        with opened(path) as tiff:
            series = only_series(tiff, path)
            layout = _layout(tiff, series, path)
        if layout is not None:
            return layout
    return _in_memory(read_image(path))


def _in_memory(image: Image) -> LazyImage:
    return LazyImage(
        image.axes,
        image.shape,
        image.data.dtype,
        image.pixel_size_um,
        lambda: (plane for _, plane in image.planes()),
        image.turned,
    )


def _open_zarr(path: Path) -> LazyImage:
    image = find_image(path)
    lengths = dict(zip(image.axes, image.shape, strict=True))
    shape = tuple(lengths[letter] for letter in image.kept_axes)
    dtype = np.dtype(np.uint8) if image.dtype == np.bool_ else image.dtype

    def read() -> Iterator[np.ndarray]:
        return (as_intensities(plane, path) for plane in read_planes(image))

    return LazyImage(image.kept_axes, shape, dtype, image.pixel_size_um, read)


def _layout(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, path: Path) -> LazyImage | None:
    """Return a TIFF as lazy image; None where its planes cannot be understood one by one."""
    alpha, inverted, palette, pixel_size_um = meaning(tiff, series, path)
    dtype = np.dtype(series.dtype).newbyteorder("=")
    names = axis_names(series.shape, series.axes, path)
    contiguous = series.dataoffset is not None and dtype.kind != "b"
    together = alpha != "none" or palette is not None or (inverted and dtype.kind == "f")
    if together or not (contiguous or _has_plain_pages(series, names)):
        return None
    lengths = {name: length for name, length in zip(names, series.shape, strict=True) if name}
    orientation = orientation_of(series)
    if orientation in QUARTER_TURNS:
        lengths["Y"], lengths["X"] = lengths["X"], lengths["Y"]
    axes = "".join(letter for letter in "TZCYX" if letter in lengths)
    shape = tuple(int(lengths[letter]) for letter in axes)
    check_size(shape[len([a for a in axes if a in "TZ"]) :], dtype, path)

    def read() -> Iterator[np.ndarray]:
        planes = _mapped(path, names, axes) if contiguous else _paged(path, names, axes)
        turned = (upright(plane, "CYX", orientation) for plane in planes)
        return (as_intensities(plane, path, inverted=inverted) for plane in turned)

    stored = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    return LazyImage(axes, shape, stored, pixel_size_um, read, turned=orientation != 1)


def _has_plain_pages(series: tifffile.TiffPageSeries, names: list[str]) -> bool:
    """Tell whether every page is a plane or a channel of one (not several depths in one page)."""
    lead = _leading(series)
    return lead is not None and not {"T", "Z"} & set(names[lead:])


def _leading(series: tifffile.TiffPageSeries) -> int | None:
    """Return how many axes of a series run over its pages; None where pages and axes do not fit."""
    for lead in range(len(series.shape) - 1):
        count = int(np.prod(series.shape[:lead], dtype=np.int64))
        if count == len(series.pages) and int(np.prod(series.shape[lead:])) == int(np.prod(series.keyframe.shape)):
            return lead
    return None


def _mapped(path: Path, names: list[str], axes: str) -> Iterator[np.ndarray]:
    """Yield the planes of pixels that lie in one piece."""
    with opened(path) as tiff:
        series = only_series(tiff, path)
        stored = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
        pixels = np.memmap(path, stored, "r", int(series.dataoffset or 0), series.shape)
        ordered = _ordered(pixels, names, axes)
        stack = ordered.shape[: len([letter for letter in axes if letter in "TZ"])]
        for index in np.ndindex(*stack):
            plane = np.ascontiguousarray(ordered[index], stored.newbyteorder("="))
            yield plane if "C" in axes else plane[np.newaxis]


def _paged(path: Path, names: list[str], axes: str) -> Iterator[np.ndarray]:
    """Yield the planes of pixels that lie in pages; a plane may have a page for each channel."""
    with opened(path) as tiff:
        series = only_series(tiff, path)
        lead = _leading(series) or 0
        outer, inner = series.shape[:lead], series.shape[lead:]
        over = "".join(letter for letter in axes if letter in names[:lead])
        within = "".join(letter for letter in axes if letter in names[lead:])
        pages = _ordered(np.arange(len(series.pages)).reshape(outer), names[:lead], over)
        by_plane = pages.reshape(-1, pages.shape[-1] if over.endswith("C") else 1)
        for numbers in by_plane:
            parts = [_ordered(_page(series, int(n), path).reshape(inner), names[lead:], within) for n in numbers]
            plane = np.stack(parts) if "C" not in within else parts[0]
            yield np.ascontiguousarray(plane, plane.dtype.newbyteorder("="))


def _page(series: tifffile.TiffPageSeries, number: int, path: Path) -> np.ndarray:
    page = series.pages[number]
    if page is None:
        raise damaged(path, f"page {number} is missing")
    return np.asarray(page.asarray())


def _ordered(data: np.ndarray, names: list[str], axes: str) -> np.ndarray:
    """Return `data`, whose axes have `names` (``""`` for those to drop), with its axes in the order of `axes`."""
    kept = "".join(names)
    data = data.reshape([length for length, name in zip(data.shape, names, strict=True) if name])
    return data.transpose([kept.index(letter) for letter in axes])
