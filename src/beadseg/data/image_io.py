"""Read microscope images and masks: PNG, JPEG, BMP (Pillow), TIFF (tifffile), OME-Zarr (zarr), CZI, ND2, LIF (bioio).

`read_image` reads a whole image. `open_image` reads one plane at a time, so that a stack needs no more memory than
one of its planes.
"""

from __future__ import annotations

import struct
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
from PIL import Image as PilImage
from PIL import UnidentifiedImageError

from beadseg.data.masks import Mask, interpret_labels, interpret_mask
from beadseg.data.ome_zarr import find_image, part_reader, read_ome_zarr, read_planes
from beadseg.data.raw import (
    ORIENTATION,
    QUARTER_TURNS,
    VENDOR_READERS,
    VENDOR_SUFFIXES,
    Raw,
    check_file,
    check_size,
    damaged,
    is_zarr,
    plausible_pixel_size,
    upright,
    valid_orientation,
)
from beadseg.data.tiff import (
    axis_names,
    is_tiff,
    meaning,
    only_series,
    opened,
    orientation_of,
    read_tiff,
    segment_reader,
)
from beadseg.errors import ImageError
from beadseg.files import user_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import tifffile

FORMATS = ("PNG", "JPEG", "BMP")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_GREY_OR_COLOUR = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I", "F")


class Planes(ABC):
    """What the letters of its axes say of an image, whether its pixels have been read or not."""

    axes: str
    pixel_size_um: float | None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, px."""
        return self.shape[-2], self.shape[-1]

    @property
    def channels(self) -> int:
        """Number of channels; 1 for grey."""
        return self.shape[self.axes.index("C")] if "C" in self.axes else 1

    @property
    def stack_shape(self) -> tuple[int, ...]:
        """Lengths of the T and Z axes that there are; empty for a single image."""
        return tuple(n for n, axis in zip(self.shape, self.axes, strict=True) if axis in "TZ")

    @property
    def names(self) -> list[str]:
        """Names of its planes, in storage order: ``[""]``, or ``"t003"``, ``"z001"``, ``"t003_z001"``."""
        return plane_names(self.axes, self.stack_shape)


@dataclass(frozen=True, eq=False)
class Image(Planes):
    """An image with named axes.

    Attributes
    ----------
    data : numpy.ndarray
        Unsigned or signed integers or floats, finite, native byte order, C-contiguous.
    axes : str
        One letter per dimension out of ``TZCYX``, in that order. Grey: ``YX``; RGB: ``CYX`` with C of length 3.
    pixel_size_um : float or None
        Side of a pixel, µm, where the file tells it.
    turned : bool
        The pixels were turned as the file's orientation tag (EXIF) says.
    """

    data: np.ndarray
    axes: str
    pixel_size_um: float | None = None
    turned: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return tuple(map(int, self.data.shape))

    def planes(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield the name and the (C, Y, X) view of every plane: ``""``, or ``"t003"``, ``"z001"``, ``"t003_z001"``."""
        flat = self.data.reshape(-1, self.channels, *self.size)
        yield from zip(self.names, flat, strict=True)


def plane_names(axes: str, stack_shape: tuple[int, ...]) -> list[str]:
    """Return the names of a stack's planes in storage order; ``[""]`` for a single image. Counted from 0."""
    letters = [axis.lower() for axis in axes if axis in "TZ"]
    return [
        "_".join(f"{letter}{i:03d}" for letter, i in zip(letters, index, strict=True))
        for index in np.ndindex(*stack_shape)
    ]


def read_image(path: Path | str) -> Image:
    """Read an image file, or an OME-Zarr folder.

    Parameters
    ----------
    path : path
        A .png, .jpg, .jpeg, .bmp, .tif or .tiff file, or an OME-Zarr folder (0.4 or 0.5; its highest resolution).

    Returns
    -------
    Image
        Its pixels. Pages of a TIFF without named axes are time points. Palette colours become RGB (grey where the
        palette is grey); a TIFF whose 0 is white is inverted, so that bright is large. Pixels are
        turned as the orientation tag of a PNG, JPEG or TIFF says.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, cut short, of another kind, absurdly large, or holds NaN, infinite or
        complex values.
    """
    path = user_path(path)
    raw = _read_raw(path)
    data, axes = _coloured(raw)
    data = as_intensities(data, path, inverted=raw.inverted)
    if raw.alpha != "none":
        data, axes = _opaque(data, axes, raw.alpha, path)
    order = [axes.index(letter) for letter in "TZCYX" if letter in axes]
    names = "".join(axes[i] for i in order)
    return Image(np.ascontiguousarray(data.transpose(order)), names, raw.pixel_size_um, raw.turned)


def read_mask(path: Path) -> Mask:
    """Read a mask file; `Mask.kind` says how its values were understood.

    Parameters
    ----------
    path : pathlib.Path
        A file or folder as for `read_image`; of an OME-Zarr image that has label images, ``labels/beads`` or the only
        one is read. Of a palette the colours count: black is background; an inverted mask is not guessed at.

    Returns
    -------
    Mask
        ``"binary"``: 0 and one other value. ``"soft"``: grades between background and foreground, cut at half of
        white (1.0 for floats up to 1, 255 for values up to 255, else the largest value). ``"labels"``: one id per
        object, told from soft edges by the size of the regions of equal value; see `beadseg.data.masks`.

    Raises
    ------
    ImageError
        As for `read_image`; or it has different colours, transparency, negative values, or values that are neither
        edges nor ids.
    """
    data, axes, turned = _mask_values(path)
    return replace(interpret_mask(data, axes, path), turned=turned)


def read_labels(path: Path) -> Mask:
    """Read instance labels: 0 is background, every other integer one object, of any integer dtype.

    Raises
    ------
    ImageError
        As for `read_mask`; or the values are not integers, or a single id is spread over many separate pieces (a binary
        mask where labels were expected).
    """
    data, axes, turned = _mask_values(path)
    return replace(interpret_labels(data, axes, path), turned=turned)


def _read_raw(path: Path, *, labels: bool = False) -> Raw:
    check_file(path)
    if is_zarr(path):
        return read_ome_zarr(path, labels=labels)
    if path.suffix.lower() in VENDOR_SUFFIXES:
        return _read_vendor(path)
    try:
        return read_tiff(path) if decodes_as_tiff(path) else read_raster(path)
    except PermissionError:
        raise ImageError("May not be read.", path, "Check the file's permissions.") from None
    except MemoryError:
        raise ImageError("Does not fit into memory.", path, "Cut it into parts, or use a larger machine.") from None


def _read_vendor(path: Path) -> Raw:
    """Read the file of a microscope's maker by bioio (https://bioio-devs.github.io/bioio), extra ``vendor``."""
    from bioio import BioImage

    try:
        image = BioImage(path, reader=import_module(VENDOR_READERS[path.suffix.lower()]).Reader)
        if len(image.scenes) > 1:
            text = f"Holds {len(image.scenes)} images (scenes)."
            raise ImageError(text, path, "Export each of them as OME-TIFF, for example by Bio-Formats in Fiji.")
        axes, shape = str(image.dims.order), tuple(image.dims.shape)
        check_size(shape, np.dtype(image.dtype), path)
        data, size = np.asarray(image.data), image.physical_pixel_sizes
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # of any reader's own kind
        raise damaged(path, error) from None
    if "S" in axes and shape[axes.index("C")] == 1:  # colours: samples in place of the one channel
        data, axes = data[:, 0], axes.replace("C", "").replace("S", "C")
    order = [letter for letter in "TZYXC" if letter in "YX" or (letter in axes and data.shape[axes.index(letter)] > 1)]
    kept = "".join(letter for letter in axes if letter in order)
    data = data[tuple(slice(None) if letter in order else 0 for letter in axes)]
    data = np.ascontiguousarray(data.transpose([kept.index(letter) for letter in order]))
    pixel_size = plausible_pixel_size(size.X, size.Y) if size.X and size.Y else None
    return Raw(data, "".join(order), pixel_size_um=pixel_size)


def decodes_as_tiff(path: Path) -> bool:
    """Tell whether a file is read as a TIFF: by its content, and by its name where that tells nothing."""
    return is_tiff(path) or (path.suffix.lower().startswith(".tif") and not _is_raster(path))


def _is_raster(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(4)
    return start.startswith((b"\x89PNG", b"\xff\xd8\xff", b"BM"))


def _coloured(raw: Raw) -> tuple[np.ndarray, str]:
    """Replace palette indices by their colours, or greys where all colours used are grey."""
    if raw.palette is None:
        return raw.data, raw.axes
    colours = raw.palette[raw.data]
    if (colours == colours[..., :1]).all():
        return colours[..., 0], raw.axes
    return colours, raw.axes + "C"


def as_intensities(data: np.ndarray, path: Path, *, inverted: bool = False) -> np.ndarray:
    """Return values of which more is brighter: 1-bit ones as 0 and 255; raise `ImageError` for values that are none."""
    if data.dtype == np.bool_:
        data = data.astype(np.uint8) * np.uint8(255)
    _check_values(data, path)
    return _inverted(data) if inverted else data


def _check_values(data: np.ndarray, path: Path) -> None:
    if data.dtype.kind not in "uif":
        raise ImageError(
            f"Holds values of the kind {data.dtype}.", path, "Save it as integers or floats (no complex numbers)."
        )
    if data.dtype.kind != "f":
        return
    wrong = int(data.size - np.count_nonzero(np.isfinite(data)))
    if wrong:
        if wrong == data.size:
            raise ImageError("Holds nothing but NaN or infinite values.", path, "Export it again from its source.")
        text = f"{wrong} of its {data.size} values are NaN or infinite."
        raise ImageError(text, path, "Replace them, e.g. by the median of the image, and save it again.")


def _inverted(data: np.ndarray) -> np.ndarray:
    if data.dtype.kind == "f":
        return np.asarray(data.max() - data + data.min(), data.dtype)
    if data.dtype.kind == "u":
        return np.asarray(np.iinfo(data.dtype).max - data, data.dtype)
    return np.asarray(-1 - data, data.dtype)


def _opaque(data: np.ndarray, axes: str, kind: str, path: Path) -> tuple[np.ndarray, str]:
    """Drop the alpha sample (last along C, the last axis); lay the image over white where alpha varies."""
    alpha, values = data[..., -1:], data[..., :-1]
    if int(alpha.min()) != int(alpha.max()):
        if data.dtype.kind != "u":
            raise ImageError(
                "Is partly transparent, with values that are not unsigned integers.", path, "Remove its alpha channel."
            )
        values = _over_white(values, alpha, kind)
    if values.shape[-1] == 1:
        return values[..., 0], axes.replace("C", "")
    return values, axes


def _over_white(values: np.ndarray, alpha: np.ndarray, kind: str) -> np.ndarray:
    white = float(np.iinfo(values.dtype).max)
    share = alpha / white
    shown = values * (share if kind == "straight" else 1.0)
    return np.asarray(np.clip(np.rint(shown + white * (1.0 - share)), 0, white), values.dtype)


def _mask_values(path: Path) -> tuple[np.ndarray, str, bool]:
    """Return a mask's single value per pixel, its axes out of ``TZYX``, and whether it was turned."""
    raw = _read_raw(path, labels=True)
    data, axes = _mask_colours(raw)
    _check_values(data.astype(np.uint8) if data.dtype == np.bool_ else data, path)
    if raw.alpha != "none":
        if data[..., -1].min() != data[..., -1].max():
            raise ImageError("Is partly transparent.", path, "Save the mask without an alpha channel: 0 and 255.")
        data = data[..., :-1]
    if "C" in axes:
        if (data != data[..., :1]).any():
            data = _on_black(data, path)[..., np.newaxis]
        data, axes = data[..., 0], axes.replace("C", "")
    return np.ascontiguousarray(data), axes, raw.turned


def _mask_colours(raw: Raw) -> tuple[np.ndarray, str]:
    """Return a mask's values: a palette's greys, else its indices with what is black as 0; white-is-zero turned round.

    Colours of a palette only show ids (as in PASCAL VOC), but what is black is background, whichever index it has. A
    palette without black, or one that shows its index 0 in white beside other colours, keeps its indices.
    """
    if raw.palette is None:
        turned = raw.inverted and not raw.imagej
        return (_two_values_turned(raw.data) if turned else raw.data), raw.axes
    data, axes = _coloured(raw)
    if axes == raw.axes:
        return data, axes
    indices = np.asarray(raw.data)
    black = [int(i) for i in np.unique(indices) if not raw.palette[i].any()]
    if 0 in black or not black or ((raw.palette[0] == 255).all() and (indices == 0).any()):
        return indices, raw.axes
    ids = np.arange(1, len(raw.palette) + 1, dtype=np.uint16)
    ids[black] = 0
    return ids[indices], raw.axes


def _two_values_turned(data: np.ndarray) -> np.ndarray:
    """Return a white-is-zero mask as it is shown; ids, which no program shows as they are, stay."""
    if data.dtype == np.bool_:
        return ~data
    highest = np.iinfo(data.dtype).max if data.dtype.kind == "u" else 0
    return _inverted(data) if highest and np.isin(np.unique(data), (0, highest)).all() else data


def _on_black(colours: np.ndarray, path: Path) -> np.ndarray:
    """Return where a coloured mask is not black, as 0 and 255, where it has one other colour only."""
    marked = colours.any(axis=-1)
    found = colours[marked]
    if marked.all() or (found != found[0]).any():
        raise ImageError(
            "Has different colours, so that what is a bead is not clear.",
            path,
            "Save the mask in grey: 0 and 255, or one number per bead.",
        )
    return np.where(marked, np.uint8(255), np.uint8(0))


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
    _part: Callable[[slice, slice], np.ndarray] | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return self.lengths

    @property
    def in_parts(self) -> bool:
        """Whether `part` reads no more than it returns: of single images in OME-Zarr, and most TIFF files."""
        return self._part is not None

    def part(self, rows: slice, columns: slice) -> np.ndarray:
        """Return some rows and columns (C, Y, X) of a single image; the slices have a start and a stop.

        Raises
        ------
        ImageError
            A part is damaged or holds NaN or infinite values.
        """
        if self._part is None:
            (plane,) = self._read()
            return plane[:, rows, columns]
        return self._part(rows, columns)

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

    part = part_reader(image)
    parts = None if {"T", "Z"} & set(image.kept_axes) else lambda *where: as_intensities(part(*where), path)
    return LazyImage(image.kept_axes, shape, dtype, image.pixel_size_um, read, _part=parts)


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
    single = orientation == 1 and axes in ("YX", "CYX") and series.keyframe.imagedepth == 1
    part = _mapped_reader(path, names, axes) if contiguous else segment_reader(path)
    parts = lambda *where: as_intensities(part(*where), path, inverted=inverted)  # noqa: E731
    return LazyImage(axes, shape, stored, pixel_size_um, read, orientation != 1, parts if single else None)


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


def _map(tiff: tifffile.TiffFile, path: Path, names: list[str], axes: str) -> np.ndarray:
    series = only_series(tiff, path)
    stored = np.dtype(series.dtype).newbyteorder(tiff.byteorder)
    return _ordered(np.memmap(path, stored, "r", int(series.dataoffset or 0), series.shape), names, axes)


def _mapped_reader(path: Path, names: list[str], axes: str) -> Callable[[slice, slice], np.ndarray]:
    """Return what reads some rows and columns (C, Y, X) of a single image whose pixels lie in one piece."""

    def read(rows: slice, columns: slice) -> np.ndarray:
        with opened(path) as tiff:
            part = _map(tiff, path, names, axes)[..., rows, columns]
            part = np.ascontiguousarray(part, part.dtype.newbyteorder("="))
        return part if "C" in axes else part[np.newaxis]

    return read


def _mapped(path: Path, names: list[str], axes: str) -> Iterator[np.ndarray]:
    """Yield the planes of pixels that lie in one piece."""
    with opened(path) as tiff:
        ordered = _map(tiff, path, names, axes)
        stored = ordered.dtype
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


def read_raster(path: Path) -> Raw:
    """Return the pixels of a PNG, JPEG or BMP file.

    Raises
    ------
    ImageError
        It is damaged, cut short, animated, absurdly large, or no image.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large images; the size is checked below.
            warnings.simplefilter("ignore")
            with PilImage.open(path, formats=FORMATS) as image:
                return _upright(_decode(image, path), _orientation(image))
    except PilImage.DecompressionBombError:
        limit = 2 * (PilImage.MAX_IMAGE_PIXELS or 0) // 10**6
        raise ImageError(
            f"Claims more than {limit} million pixels.", path, "Save images of that size as TIFF."
        ) from None
    except UnidentifiedImageError:
        raise ImageError("Is not a PNG, JPEG or BMP image, whatever its name says.", path, "Export it again.") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, imagecodecs.DelayedImportError) as error:
        raise damaged(path, error) from None


def _orientation(image: PilImage.Image) -> int:
    """Return the orientation tag, 1 to 8; 1, as stored, where there is none that is valid."""
    try:
        return valid_orientation(image.getexif().get(ORIENTATION, 1))
    except Exception:  # a damaged EXIF block makes its parser raise nearly anything
        return 1


def _upright(raw: Raw, orientation: int) -> Raw:
    if orientation == 1:
        return raw
    return replace(raw, data=upright(raw.data, raw.axes, orientation), turned=True)


def _decode(image: PilImage.Image, path: Path) -> Raw:
    if image.format == "PNG" and getattr(image, "n_frames", 1) > 1:
        raise ImageError("Is an animated PNG.", path, "Save its frames as a TIFF stack or as single images.")
    check_size((image.height, image.width, len(image.getbands())), np.dtype(np.uint16), path)
    pixel_size = _pixel_size(image)
    if _is_deep_colour(path):
        return _decode_deep(path, pixel_size)
    if image.mode == "P" and "transparency" not in image.info:
        return Raw(np.asarray(image), "YX", palette=_palette(image), pixel_size_um=pixel_size)
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    elif image.mode == "CMYK":
        raise ImageError("Holds printing colours (CMYK).", path, "Convert it to RGB or grey.")
    elif image.mode not in _GREY_OR_COLOUR:
        image = image.convert("RGB")
    data = np.array(image)
    alpha = "straight" if image.mode in ("LA", "RGBA") else "none"
    return Raw(_native(data), "YX" if data.ndim == 2 else "YXC", alpha, pixel_size_um=pixel_size)


def _decode_deep(path: Path, pixel_size: float | None) -> Raw:
    try:
        data = imagecodecs.png_decode(path.read_bytes())
    except imagecodecs.PngError as error:
        raise damaged(path, error) from None
    alpha = "straight" if data.ndim == 3 and data.shape[2] in (2, 4) else "none"
    return Raw(_native(data), "YX" if data.ndim == 2 else "YXC", alpha, pixel_size_um=pixel_size)


def _is_deep_colour(path: Path) -> bool:
    """Tell from the header whether it is a PNG of 16 bits with more than one channel."""
    with path.open("rb") as file:
        header = file.read(26)
    return len(header) == 26 and header.startswith(_PNG_MAGIC) and header[24] == 16 and header[25] != 0


def _palette(image: PilImage.Image) -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    stored = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    colours[: len(stored)] = stored
    return colours


def _pixel_size(image: PilImage.Image) -> float | None:
    dpi = image.info.get("dpi", (0, 0))
    try:
        x, y = (25400.0 / float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return plausible_pixel_size(x, y)


def _native(data: np.ndarray) -> np.ndarray:
    return data.astype(data.dtype.newbyteorder("="), copy=False)
