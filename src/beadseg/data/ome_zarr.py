"""Read OME-Zarr folders (NGFF 0.4 or 0.5, https://ngff.openmicroscopy.org) at the highest resolution.

First what the folder says of its image, checked before a pixel is read; then its pixels, whole or plane by plane.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.data.raw import Raw, check_size, damaged, is_zarr, micrometres, plausible_pixel_size
from beadseg.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_BLOSC_HEADER = 16
_MOST_UNPACKED = 8
"""Filters may store a value in a type of up to this many times its bytes."""

LABELS_GROUP = "labels"
"""Group of an image's label images."""
BEADS_LABEL = "beads"
"""The label image that is written, and read where there are several."""

MAX_DOCUMENT = 64 * 1024**2
"""Largest metadata document read, bytes."""
MAX_CHUNKS = 10_000_000
"""More chunks than this in one image are taken for a wrong header."""

NGFF_AXES = "TCZYX"
"""The order that the specification asks for: time, channel, space."""

_LETTER_OF_TYPE = {"time": "T", "channel": "C"}
_V2_CODECS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma", "shuffle", "delta", "crc32", "adler32"}
_V3_CODECS = {"bytes", "blosc", "gzip", "zstd", "crc32c", "transpose", "sharding_indexed"} | {
    f"numcodecs.{name}" for name in _V2_CODECS
}


def read_ome_zarr(path: Path, *, labels: bool = False) -> Raw:
    """Return the pixels of an OME-Zarr image, or of its label image.

    Parameters
    ----------
    path : pathlib.Path
        See `beadseg.data.ome_zarr.find_image`.
    labels : bool
        Read an image's ``labels/beads``, or only label image, where it has one.

    Raises
    ------
    ImageError
        It cannot be read; see `find_image`. A chunk is damaged.
    """
    image = find_labels(path) if labels else find_image(path)
    check_size(image.shape, image.dtype, image.array)
    order = [letter for letter in "TZYXC" if letter in image.kept_axes]
    data = _read_array(image, {})
    present = [letter for letter in image.axes if letter in image.kept_axes]
    return Raw(data.transpose([present.index(a) for a in order]), "".join(order), pixel_size_um=image.pixel_size_um)


def read_planes(image: ZarrImage) -> Iterator[np.ndarray]:
    """Yield the (C, Y, X) pixels of every plane, reading one at a time; raises `ImageError` for a damaged chunk."""
    lengths = dict(zip(image.axes, image.shape, strict=True))
    stack = [letter for letter in "TZ" if letter in image.kept_axes]
    inside = [letter for letter in image.axes if letter in image.kept_axes and letter not in "TZ"]
    for index in np.ndindex(*(lengths[letter] for letter in stack)):
        plane = _read_array(image, dict(zip(stack, index, strict=True)))
        plane = plane.transpose([inside.index(a) for a in "CYX" if a in inside])
        yield np.ascontiguousarray(plane if "C" in inside else plane[np.newaxis])


def part_reader(image: ZarrImage) -> Callable[[slice, slice], np.ndarray]:
    """Return what reads some rows and columns (C, Y, X) of an image without stacks; its chunks are checked once."""
    checked: list[bool] = []
    present = [letter for letter in image.axes if letter in image.kept_axes]

    def read(rows: slice, columns: slice) -> np.ndarray:
        if not checked:
            _check_chunks(image, {})
            checked.append(True)
        part = _selected(image, {"Y": rows, "X": columns})
        part = part.transpose([present.index(a) for a in "CYX" if a in present])
        return np.ascontiguousarray(part if "C" in present else part[np.newaxis])

    return read


def _read_array(image: ZarrImage, at: dict[str, int]) -> np.ndarray:
    """Return the array at the indices `at` of some axes, without axes of length 1, in native byte order."""
    _check_chunks(image, at)
    return _selected(image, at)


def _selected(image: ZarrImage, at: Mapping[str, int | slice]) -> np.ndarray:
    import zarr
    from zarr.storage import LocalStore

    selection = tuple(
        at.get(letter, slice(None) if letter in image.kept_axes else 0) for letter in image.axes
    )  # fmt: skip
    try:
        array: Any = zarr.open_array(
            store=LocalStore(image.array, read_only=True), mode="r", zarr_format=3 if image.zarr_format == 3 else 2
        )
        data = np.asarray(array[selection])
    except MemoryError:
        raise ImageError("Does not fit into memory.", image.array, "Use a larger machine.") from None
    except PermissionError:
        raise ImageError("May not be read.", image.array, "Check the permissions of its files.") from None
    except Exception as error:  # a damaged chunk makes zarr and its codecs raise nearly anything
        raise damaged(image.array, error) from None
    return data.astype(image.dtype, copy=False)


def _check_chunks(image: ZarrImage, at: dict[str, int]) -> None:
    """Raise where no chunk of a whole image is there, or a Blosc chunk is cut short: its decoder would read past it."""
    found = False
    for path in _chunk_files(image, at):
        try:
            with path.open("rb") as file:
                header = file.read(_BLOSC_HEADER)
                size = file.seek(0, 2)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ImageError(f"Cannot be read: {error.strerror}.", path, "Check its permissions.") from None
        found = True
        if image.blosc:
            _check_blosc(header, size, image, path)
    if not found and not at and not image.is_label:
        raise damaged(image.array, "not one of its chunks is there")


def _check_blosc(header: bytes, size: int, image: ZarrImage, path: Path) -> None:
    if len(header) < _BLOSC_HEADER:
        raise damaged(path, f"a chunk of {size} bytes")
    unpacked, _, packed = struct.unpack("<III", header[4:])
    wanted = int(np.prod(image.chunks, dtype=np.int64)) * image.dtype.itemsize
    if packed != size:
        raise damaged(path, f"a chunk of {packed} bytes of which {size} are there")
    if unpacked > _MOST_UNPACKED * wanted:
        raise damaged(path, f"a chunk that unpacks to {unpacked} bytes instead of {wanted}")


def _chunk_files(image: ZarrImage, at: dict[str, int]) -> Iterator[Path]:
    prefix, separator = ("c", image.keys[-1]) if image.keys.startswith("c") else ("", image.keys)
    ranges = [
        range(at[letter] // chunk, at[letter] // chunk + 1) if letter in at else range(-(-length // chunk))
        for letter, length, chunk in zip(image.axes, image.shape, image.chunks, strict=True)
    ]
    for index in itertools.product(*ranges):
        yield image.array / separator.join([*([prefix] if prefix else []), *map(str, index)])


@dataclass(frozen=True)
class ZarrImage:
    """The highest resolution of one image in an OME-Zarr folder.

    Attributes
    ----------
    array : pathlib.Path
        Folder of its array.
    group : pathlib.Path
        Folder of its image.
    zarr_format : int
        2 or 3.
    axes : str
        One letter per dimension out of ``TCZYX``, also for those of length 1.
    shape, chunks : tuple of int
        Of the array; chunks are what lies in one file.
    dtype : numpy.dtype
        Native byte order.
    keys : str
        How chunk files are named: a prefix (``c/`` or none) and the separator.
    blosc : bool
        Chunk files are Blosc buffers.
    pixel_size_um : float or None
        Side of a pixel, µm.
    is_label : bool
        It says that its values are ids.
    """

    array: Path
    group: Path
    zarr_format: int
    axes: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype
    keys: str
    blosc: bool
    pixel_size_um: float | None
    is_label: bool

    @property
    def kept_axes(self) -> str:
        """Axes that an `Image` keeps: Y, X, and those longer than 1, in the order ``TZCYX``."""
        lengths = dict(zip(self.axes, self.shape, strict=True))
        return "".join(a for a in "TZCYX" if a in "YX" or lengths.get(a, 1) > 1)


def find_image(path: Path) -> ZarrImage:
    """Return the image of an OME-Zarr folder.

    Parameters
    ----------
    path : pathlib.Path
        An image group (also a label image: ``a.ome.zarr/labels/beads``), or a bioformats2raw container of one image.

    Raises
    ------
    ImageError
        It is not an OME-Zarr, has an unknown version, is damaged, holds several images, a plate, or labels only, or
        its array is of a kind that is not read.
    """
    attributes = _attributes(path)
    if "plate" in attributes or "well" in attributes:
        kind = "plate" if "plate" in attributes else "well"
        remedy = "Give the folder of one field of view inside, such as PLATE.zarr/A/1/0."
        raise ImageError(f"Is a {kind} with several images.", path, remedy)
    if "multiscales" in attributes:
        return _image(path, attributes)
    if "bioformats2raw.layout" in attributes:
        return find_image(_only_series(path, attributes))
    if _array_document(path) is not None:
        raise ImageError(
            "Is a plain Zarr array that does not say what its axes are.", path, "Give the OME-Zarr image around it."
        )
    names = label_names(path)
    if names:
        text = f"Holds labels ({', '.join(names[:4])}) but no image."
        raise ImageError(text, path, f"Give {path.name}/{LABELS_GROUP}/{names[0]} as labels.")
    raise ImageError("Is not an OME-Zarr image (no `multiscales`).", path, "Give the folder that holds the image.")


def find_labels(path: Path) -> ZarrImage:
    """Return the label image of an OME-Zarr folder: of an image its ``labels/beads`` or only label image, else itself.

    Raises
    ------
    ImageError
        As for `find_image`; or it has several label images, none of them called ``beads``.
    """
    group = label_group(path)
    return find_image(path if group is None else group)


def label_group(path: Path) -> Path | None:
    """Return the folder of an image's label image; None where it has none; raise `ImageError` for several."""
    attributes = _attributes(path)
    if "multiscales" not in attributes and "bioformats2raw.layout" in attributes:
        path = _only_series(path, attributes)
    names = label_names(path)
    if not names:
        return None
    if BEADS_LABEL not in names and len(names) > 1:
        text = f"Has several label images ({', '.join(names[:4])}), none of them called {BEADS_LABEL}."
        raise ImageError(text, path, f"Give one of them, such as {path.name}/{LABELS_GROUP}/{names[0]}.")
    return _inside(path / LABELS_GROUP, BEADS_LABEL if BEADS_LABEL in names else names[0])


def label_names(path: Path) -> list[str]:
    """Return the names of the label images of an image group."""
    folder = path / LABELS_GROUP
    if not is_zarr(folder):
        return []
    listed = _attributes(folder).get("labels", [])
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise damaged(folder, "its list of labels is none")
    return [name for name in listed if _inside(folder, name).is_dir()]


def _image(group: Path, attributes: dict[str, Any]) -> ZarrImage:
    """Understand an image group: axes, size of a pixel, and the array of the highest resolution."""
    multiscales = attributes["multiscales"]
    if not isinstance(multiscales, list) or not multiscales or not isinstance(multiscales[0], dict):
        raise damaged(group, "`multiscales` is not a list of images")
    if len(multiscales) > 1:
        raise ImageError(f"Holds {len(multiscales)} images.", group, "Export each as an OME-Zarr of its own.")
    image = _validated(group, multiscales[0], _version(group, attributes, multiscales[0]))
    axes = _axes(group, image)
    array = _inside(group, image.datasets[0].path)
    document = _array_document(array)
    if document is None:
        raise damaged(group, f"its array {image.datasets[0].path!r} is missing")
    shape, chunks, dtype = _layout(array, document)
    if len(shape) != len(axes):
        raise damaged(array, f"{len(shape)} dimensions, but {len(axes)} axes")
    keys, blosc = _storage(array, document)
    size = _pixel_size(image, axes)
    labels = "image-label" in attributes
    return ZarrImage(array, group, document["zarr_format"], axes, shape, chunks, dtype, keys, blosc, size, labels)


def _version(group: Path, attributes: dict[str, Any], image: dict[str, Any]) -> str:
    version = str(attributes.get("version", image.get("version", "0.4")))
    if version not in ("0.4", "0.5"):
        text = f"Is an OME-Zarr of version {version[:20]}; 0.4 and 0.5 are read."
        raise ImageError(text, group, "Convert it, e.g. with ome2024-ngff-challenge or a newer bioformats2raw.")
    return version


def _validated(group: Path, image: dict[str, Any], version: str) -> Any:
    """Return the entry of `multiscales` as the model of its version."""
    from pydantic import ValidationError

    if version == "0.4":
        from ome_zarr_models.v04.multiscales import Multiscale
    else:
        from ome_zarr_models.v05.multiscales import Multiscale  # type: ignore[assignment]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it remarks on what is allowed but unusual
            return Multiscale.model_validate(image)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise damaged(group, f"multiscales.{place}: {first['msg']}") from None


def _axes(group: Path, image: Any) -> str:
    letters = [_LETTER_OF_TYPE.get(axis.type, str(axis.name).upper()) for axis in image.axes]
    if len(set(letters)) != len(letters) or not set("YX") <= set(letters) <= set(NGFF_AXES):
        names = ", ".join(str(axis.name) for axis in image.axes)
        text = f"Has the axes {names[:80]}; only time, channel, z, y and x are read."
        raise ImageError(text, group, "Export one stack with at most these axes.")
    return "".join(letters)


def _pixel_size(image: Any, axes: str) -> float | None:
    """Return the side of a pixel, µm, from the first level's scale times the image's; None where no unit is given."""
    sides = []
    for letter in "XY":
        at = axes.index(letter)
        factor = micrometres(image.axes[at].unit)
        scales = [t for t in (*image.datasets[0].coordinateTransformations, *(image.coordinateTransformations or ()))
                  if t.type == "scale"]  # fmt: skip
        if factor is None or not all(hasattr(t, "scale") for t in scales):
            return None
        sides.append(factor * math.prod(float(t.scale[at]) for t in scales))
    return plausible_pixel_size(*sides)


def _only_series(path: Path, attributes: dict[str, Any]) -> Path:
    """Return the only image of a bioformats2raw container."""
    listed = attributes.get("series")
    if listed is None and is_zarr(path / "OME"):
        listed = _attributes(path / "OME").get("series")
    if listed is None:
        listed = sorted((p.name for p in path.iterdir() if p.is_dir() and p.name.isdecimal()), key=int)
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        raise damaged(path, "its list of images is empty")
    if len(listed) > 1:
        names = ", ".join(listed[:4]) + (" …" if len(listed) > 4 else "")
        text = f"Holds {len(listed)} images ({names})."
        raise ImageError(text, path, f"Give the folder of one of them, such as {path.name}/{listed[0]}.")
    series = _inside(path, listed[0])
    if "bioformats2raw.layout" in _attributes(series):
        raise damaged(path, "a container inside a container")
    return series


def _inside(folder: Path, name: str) -> Path:
    """Return the path `name` below `folder`; raise where it leads out of it."""
    parts = name.strip("/").split("/")
    if not name or name.startswith("/") or "\\" in name or ":" in name or any(p in ("", ".", "..") for p in parts):
        raise ImageError(f"Names a part {name[:80]!r} that is not inside it.", folder, "Export it again.")
    return folder.joinpath(*parts)


def _attributes(folder: Path) -> dict[str, Any]:
    """Return what a node says of itself: `ome` of Zarr 3, the attributes of Zarr 2."""
    if not folder.is_dir():
        raise ImageError("No such folder.", folder, "Check the path.")
    if (folder / "zarr.json").exists():
        attributes = _read_document(folder / "zarr.json").get("attributes", {})
        if not isinstance(attributes, dict) or not isinstance(attributes.get("ome", {}), dict):
            raise damaged(folder / "zarr.json", "its attributes are not an object")
        return dict(attributes.get("ome", {}))
    if not any((folder / name).exists() for name in (".zgroup", ".zarray")):
        text = "Is not a Zarr: it has neither zarr.json nor .zgroup."
        raise ImageError(text, folder, "Copy it again with its hidden files, or give the OME-Zarr folder itself.")
    return _read_document(folder / ".zattrs") if (folder / ".zattrs").exists() else {}


def _array_document(folder: Path) -> dict[str, Any] | None:
    """Return the metadata of an array; None where `folder` holds no array."""
    for name, zarr_format in (("zarr.json", 3), (".zarray", 2)):
        if not (folder / name).exists():
            continue
        document = _read_document(folder / name)
        if zarr_format == 3 and document.get("node_type") != "array":
            return None
        if document.get("zarr_format") != zarr_format:
            raise damaged(folder / name, f"zarr_format {document.get('zarr_format')!r}")
        return document
    return None


def _read_document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_DOCUMENT:
            raise ImageError(f"Is larger than {MAX_DOCUMENT // 1024**2} MiB.", path, "Export it again.")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ImageError(f"Cannot be read: {error.strerror}.", path, "Check the file and its permissions.") from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"no JSON: {error}") from None
    if not isinstance(document, dict):
        raise damaged(path, "no JSON object")
    return document


def _layout(array: Path, document: dict[str, Any]) -> tuple[tuple[int, ...], tuple[int, ...], np.dtype]:
    """Return shape, chunk shape and dtype of an array; raise `ImageError` where one is not acceptable."""
    v3 = document["zarr_format"] == 3
    grid = document.get("chunk_grid") if v3 else None
    if v3 and (not isinstance(grid, dict) or grid.get("name") != "regular"):
        raise damaged(array, "its chunks are not a regular grid")
    configuration = grid.get("configuration") if isinstance(grid, dict) else None
    chunks = (configuration if isinstance(configuration, dict) else {}).get("chunk_shape") if v3 else None
    shape = _counts(document.get("shape"), array, "shape")
    sizes = _counts(chunks if v3 else document.get("chunks"), array, "chunks")
    dtype = _number_type(document.get("data_type" if v3 else "dtype"), array)
    if len(sizes) != len(shape) or min(sizes, default=1) < 1:
        raise damaged(array, f"chunks {sizes} of an array of shape {shape}")
    check_size(shape[-2:], dtype, array)
    check_size(sizes, dtype, array)
    if math.prod(-(-length // size) for length, size in zip(shape, sizes, strict=True)) > MAX_CHUNKS:
        raise ImageError(f"Claims more than {MAX_CHUNKS} chunks.", array, "Export it again with larger chunks.")
    return shape, sizes, dtype


def _counts(value: object, array: Path, what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not value or not all(type(n) is int and n >= 0 for n in value):
        raise damaged(array, f"its {what} is {str(value)[:60]}")
    return tuple(value)


def _number_type(name: object, array: Path) -> np.dtype:
    """Return a dtype of plain numbers; objects, texts and records are refused unread."""
    try:
        dtype = np.dtype(name) if isinstance(name, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "buif":
        raise ImageError(
            f"Holds values of the kind {str(name)[:40]!r}, not plain numbers.", array, "Save it as integers or floats."
        )
    return dtype.newbyteorder("=")


def _storage(array: Path, document: dict[str, Any]) -> tuple[str, bool]:
    """Return how chunk files are named, and whether they are Blosc buffers; refuse unknown codecs."""
    if document["zarr_format"] == 2:
        codecs = [*(document.get("filters") or []), *filter(None, [document.get("compressor")])]
        _check_codecs(codecs, "id", _V2_CODECS, array)
        keys = str(document.get("dimension_separator", "."))
        blosc = (document.get("compressor") or {}).get("id") == "blosc"
    else:
        codecs = document.get("codecs") or []
        _check_codecs(codecs, "name", _V3_CODECS, array)
        if document.get("storage_transformers"):
            raise ImageError("Has storage transformers, which are not read.", array, "Export it again without them.")
        encoding = document.get("chunk_key_encoding") or {}
        default = isinstance(encoding, dict) and encoding.get("name") == "default"
        options = encoding.get("configuration") or {} if isinstance(encoding, dict) else {}
        separator = str(options.get("separator", "/" if default else "."))
        keys = f"c{separator}" if default else separator
        blosc = codecs[-1].get("name") in ("blosc", "numcodecs.blosc")
    if keys not in ("c/", "c.", "/", "."):
        raise damaged(array, f"chunk names {keys[:20]!r}")
    return keys, blosc


def _check_codecs(codecs: object, key: str, known: set[str], array: Path) -> None:
    """Raise `ImageError` for a codec, at any depth, that is not in the list of harmless ones."""
    for name in _codec_names(codecs, key, array):
        if name not in known:
            text = f"Is stored with the codec {name[:40]!r}, which is not run on files from elsewhere."
            raise ImageError(text, array, "Export it again, compressed with zstd, blosc or gzip.")


def _codec_names(codecs: object, key: str, array: Path) -> Iterator[str]:
    if not isinstance(codecs, list) or (key == "name" and not codecs):
        raise damaged(array, "its codecs are not a list")
    for codec in codecs:
        if not isinstance(codec, dict) or not isinstance(codec.get(key), str):
            raise damaged(array, "a codec has no name")
        yield codec[key]
        options = codec.get("configuration")
        for inner in ("codecs", "index_codecs"):
            if isinstance(options, dict) and inner in options:
                yield from _codec_names(options[inner], key, array)
