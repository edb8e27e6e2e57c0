"""Write OME-Zarr folders (NGFF 0.4 on Zarr 2, 0.5 on Zarr 3): an image, its labels, and a pyramid of both.

An image lies at the root and its labels in ``labels/beads``, as the specification has it
(https://ngff.openmicroscopy.org). Without an image the root itself is the label image.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beadseg import files
from beadseg.data.ome_zarr import BEADS_LABEL, LABELS_GROUP, NGFF_AXES
from beadseg.data.raw import ZARR_SUFFIX, is_zarr
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import zarr

    from beadseg.data.image_io import Image

Version = Literal["0.4", "0.5"]

CHUNK = 1024
"""Side of a chunk, px. A chunk holds one channel of one plane."""
SMALLEST_LEVEL = 256
"""The pyramid ends with the first level that is no larger than this, px."""
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}


def write_ome_zarr(
    path: Path,
    labels: np.ndarray | None,
    image: Image | None,
    *,
    version: Version = "0.5",
    pixel_size_um: float | None = None,
) -> None:
    """Write an image, its labels, or both, as an OME-Zarr folder that is there whole or not at all.

    Every level of the pyramid halves Y and X: an image by the mean of 2x2 px, labels by every second pixel.

    Parameters
    ----------
    path : pathlib.Path
        A name that ends with ``.zarr``; an OME-Zarr that is there is replaced.
    labels : (Y, X), (T or Z, Y, X) or (T, Z, Y, X) integers, or None
        Ids up to 4294967295, 0 is background; of the image's planes and size. Without an image the planes of three
        dimensions are time points.
    image : Image or None
        The image.
    version : {"0.4", "0.5"}
        Of the specification.
    pixel_size_um : float, optional
        Side of a pixel, µm; the image's own when not given.

    Raises
    ------
    InputError
        There is neither image nor labels, they do not fit each other, ids are negative or too large, or something
        that is not an OME-Zarr is in the way.
    MachineError
        The disk is full, or the place is not writable.
    """
    _check_target(path)
    axes, checked = _checked_labels(labels, image, path)
    size = image.pixel_size_um if image is not None and pixel_size_um is None else pixel_size_um
    temporary = path.with_name(
        f"{files.TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(4)}{files.TEMPORARY_SUFFIX}{path.suffix}"
    )
    try:
        _fill(temporary, path.name, image, axes, checked, version, size)
        flush(temporary)
        move(temporary, path)
    except OSError as error:
        raise files.machine_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_target(path: Path) -> None:
    if path.suffix.lower() != ZARR_SUFFIX:
        raise InputError("The name of an OME-Zarr folder ends with .zarr.", path, "Name it NAME.ome.zarr.")
    if path.exists() and not is_zarr(path):
        raise InputError("Something that is not an OME-Zarr is in the way.", path, "Choose another name, or move it.")


def _checked_labels(labels: np.ndarray | None, image: Image | None, path: Path) -> tuple[str, np.ndarray | None]:
    """Return the axes of the planes, and the labels as uint32."""
    if image is None and labels is None:
        raise InputError("There is neither an image nor labels to write.", path)
    if labels is None:
        return "", None
    if labels.dtype.kind not in "ui" or not 2 <= labels.ndim <= 4 or labels.size == 0:
        text = f"Labels of shape {labels.shape} and dtype {labels.dtype} are not a label image."
        raise InputError(text, path, "Give whole numbers, (Y, X) or a stack of such planes.")
    axes = {2: "YX", 3: "TYX", 4: "TZYX"}[labels.ndim] if image is None else image.axes.replace("C", "")
    if image is not None and labels.shape != (*image.stack_shape, *image.size):
        text = f"The labels have the shape {labels.shape}, the image's planes {(*image.stack_shape, *image.size)}."
        raise InputError(text, path, "Give labels of the image's planes and size.")
    if int(labels.min()) < 0 or int(labels.max()) > np.iinfo(np.uint32).max:
        text = f"Its ids run from {labels.min()} to {labels.max()}; they must fit into 0 to {np.iinfo(np.uint32).max}."
        raise InputError(text, path, "Renumber the objects.")
    return axes, labels.astype(np.uint32, copy=False)


def _fill(
    folder: Path,
    name: str,
    image: Image | None,
    axes: str,
    labels: np.ndarray | None,
    version: Version,
    pixel_size_um: float | None,
) -> None:
    """Write everything into `folder`."""
    import zarr

    root = zarr.open_group(store=str(folder), mode="w-", zarr_format=2 if version == "0.4" else 3)
    if image is not None:
        ordered = "".join(letter for letter in NGFF_AXES if letter in image.axes)
        data = image.data.transpose([image.axes.index(letter) for letter in ordered])
        document = _write_levels(root, data, ordered, _mean, version, pixel_size_um)
        _describe(root, {"multiscales": [{"name": name, **document}]}, version)
    if labels is None:
        return
    group = root
    if image is not None:
        parent = root.create_group(LABELS_GROUP)
        _describe(parent, {"labels": [BEADS_LABEL]}, version)
        group = parent.create_group(BEADS_LABEL)
    document = _write_levels(group, labels, axes, _every_second, version, pixel_size_um)
    source = {} if image is None else {"source": {"image": "../../"}}
    numbered = {"version": version} if version == "0.4" else {}
    told = {**numbered, "colors": [], **source}
    _describe(group, {"multiscales": [{"name": BEADS_LABEL, **document}], "image-label": told}, version)


def _describe(group: zarr.Group, document: dict[str, Any], version: Version) -> None:
    group.attrs.update(document if version == "0.4" else {"ome": {"version": version, **document}})


def _write_levels(
    group: zarr.Group,
    data: np.ndarray,
    axes: str,
    halve: Callable[[np.ndarray], np.ndarray],
    version: Version,
    pixel_size_um: float | None,
) -> dict[str, Any]:
    """Write the arrays ``0``, ``1``, … plane by plane, and return their entry of ``multiscales``."""
    lead = data.shape[:-2]
    sizes = _level_sizes(data.shape[-2], data.shape[-1])
    arrays = [_create(group, str(level), (*lead, *size), data.dtype, axes) for level, size in enumerate(sizes)]
    for index in np.ndindex(*lead):
        plane = data[index]
        for array in arrays:
            array[index] = plane
            plane = halve(plane) if array is not arrays[-1] else plane
    return _multiscale(axes, len(sizes), version, pixel_size_um)


def write_label_blocks(
    path: Path, size: tuple[int, int], blocks: Iterable[tuple[int, int, np.ndarray]], pixel_size_um: float | None
) -> None:
    """Write labels that come in blocks, none of them too large for the memory, as an OME-Zarr 0.5 with its pyramid.

    Parameters
    ----------
    path : pathlib.Path
        A folder that nobody reads yet; what was there before is replaced.
    size : (int, int)
        Y and X.
    blocks : iterable of (int, int, (Y, X) uint32)
        First row and column, multiples of `CHUNK`, and ids.
    pixel_size_um : float, optional
        Side of a pixel, µm.
    """
    import zarr

    shutil.rmtree(path, ignore_errors=True)
    root = zarr.open_group(store=str(path), mode="w-", zarr_format=3)
    sizes = _level_sizes(*size)
    arrays: list[Any] = [_create(root, str(level), each, np.dtype(np.uint32), "YX") for level, each in enumerate(sizes)]
    for top, left, labels in blocks:
        arrays[0][top : top + labels.shape[0], left : left + labels.shape[1]] = labels
    for finer, coarser in itertools.pairwise(arrays):
        for top, left in itertools.product(*(range(0, length, CHUNK) for length in coarser.shape)):
            high, wide = (min(CHUNK, n - at) for n, at in zip(coarser.shape, (top, left), strict=True))
            part = finer[2 * top : 2 * (top + high), 2 * left : 2 * (left + wide)]
            coarser[top : top + high, left : left + wide] = part[::2, ::2]
    document = {"name": BEADS_LABEL, **_multiscale("YX", len(sizes), "0.5", pixel_size_um)}
    _describe(root, {"multiscales": [document], "image-label": {"colors": []}}, "0.5")
    flush(path)


def _multiscale(axes: str, levels: int, version: Version, pixel_size_um: float | None) -> dict[str, Any]:
    """Return an entry of ``multiscales``."""
    unit = {} if pixel_size_um is None else {"unit": "micrometer"}
    side = 1.0 if pixel_size_um is None else float(pixel_size_um)
    return {
        **({"version": version} if version == "0.4" else {}),
        "axes": [{"name": a.lower(), "type": _TYPES[a], **(unit if a in "YX" else {})} for a in axes],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [side * 2**level if a in "YX" else 1.0 for a in axes]}
                ],
            }
            for level in range(levels)
        ],
    }


def _level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    sizes = [(height, width)]
    while max(sizes[-1]) > SMALLEST_LEVEL and min(sizes[-1]) > 1:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def _create(group: zarr.Group, name: str, shape: tuple[int, ...], dtype: np.dtype, axes: str) -> zarr.Array[Any]:
    chunks = (*(1 for _ in shape[:-2]), *(min(CHUNK, size) for size in shape[-2:]))
    if group.metadata.zarr_format == 2:
        from numcodecs import Blosc  # type: ignore[import-untyped]

        return group.create_array(
            name,
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill_value=0,
            compressors=Blosc(cname="zstd", clevel=5, shuffle=Blosc.SHUFFLE),
            chunk_key_encoding={"name": "v2", "separator": "/"},
        )
    from zarr.codecs import BloscCodec

    return group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        fill_value=0,
        compressors=BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
        dimension_names=[letter.lower() for letter in axes],
    )


def _mean(plane: np.ndarray) -> np.ndarray:
    """Return (Y, X) at half the size: the mean of 2x2 px, rounded for integers; an odd last row or column is left."""
    height, width = (n // 2 * 2 for n in plane.shape)
    blocks = plane[:height, :width].reshape(height // 2, 2, width // 2, 2)
    mean = blocks.mean(axis=(1, 3), dtype=np.float64)
    return np.asarray(mean if plane.dtype.kind == "f" else np.rint(mean), dtype=plane.dtype)


def _every_second(plane: np.ndarray) -> np.ndarray:
    height, width = (n // 2 * 2 for n in plane.shape)
    return plane[:height:2, :width:2]


def flush(folder: Path) -> None:
    """Wait until everything is on the disk, so that the rename cannot get there first."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb+") as file:
                os.fsync(file.fileno())


def move(new: Path, path: Path) -> None:
    """Put `new` in the place of `path`; what was there is kept until then."""
    old = new.with_name(f"{new.stem.removesuffix(files.TEMPORARY_SUFFIX)}-old{files.TEMPORARY_SUFFIX}{new.suffix}")
    replaced = path.exists()
    if replaced:
        path.rename(old)
    try:
        new.rename(path)
    except OSError:
        if replaced:
            old.rename(path)
        raise
    if replaced:
        shutil.rmtree(old, ignore_errors=True)
