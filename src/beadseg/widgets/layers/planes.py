"""The pixels of a layer, whether it holds them at once, lazily, or in several resolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.errors import InputError

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray


def finest(layer: Image | Labels) -> Any:
    """Return a layer's data, of a multiscale one the finest level; it may be lazy."""
    return layer.data[0] if layer.multiscale else layer.data


def plane_count(layer: Image | Labels) -> tuple[int, ...]:
    """Return the lengths of a layer's axes before y and x (and colour); empty for a single image."""
    shape = finest(layer).shape
    return tuple(int(length) for length in (shape[:-3] if getattr(layer, "rgb", False) else shape[:-2]))


def shown_index(layer: Image | Labels, dims: Dims) -> tuple[int, ...]:
    """Return which plane of a layer the sliders show, as indices of its axes before y and x."""
    stack = plane_count(layer)
    if dims.ndisplay != 2:
        raise InputError("The viewer shows three dimensions.", layer.name, "Switch it to two dimensions (Ctrl+Y).")
    order = dims.order[-2:]
    if tuple(order) != (dims.ndim - 2, dims.ndim - 1):
        raise InputError("The viewer does not show y and x.", layer.name, "Bring the axes back into their order.")
    point = np.asarray(dims.point, float)[dims.ndim - len(stack) - 2 :]
    at = np.asarray(layer.world_to_data(point))[: len(stack)]
    return tuple(int(np.clip(np.rint(place), 0, length - 1)) for place, length in zip(at, stack, strict=True))


def shown_plane(layer: Image | Labels, dims: Dims) -> NDArray[Any]:
    """Return the plane of a layer that the sliders show: (Y, X), or (Y, X, 3 or 4) of a colour image."""
    return np.asarray(finest(layer)[shown_index(layer, dims)])


def place_of(layer: Layer, ndim: int | None = None) -> dict[str, Any]:
    """Return where a layer lies, in the words of napari's layers: its whole transform, and its units.

    `ndim`: of so many last axes alone, for a layer that has fewer.
    """
    last = layer.ndim if ndim is None else ndim
    affine = np.asarray(layer.affine.affine_matrix)
    kept = [*range(layer.ndim - last, layer.ndim)]
    rotate, shear = np.asarray(layer.rotate), layer.shear
    place: dict[str, Any] = {
        "scale": np.asarray(layer.scale)[kept],
        "rotate": rotate[np.ix_(kept, kept)],
        "shear": _last_shears(np.asarray(shear, float), layer.ndim, last),
        "translate": np.asarray(layer.translate)[kept],
        "affine": affine[np.ix_([*kept, layer.ndim], [*kept, layer.ndim])],
    }
    units = getattr(layer, "units", None)
    return place if units is None else {**place, "units": tuple(units)[layer.ndim - last :]}


def _last_shears(shear: NDArray[np.float64], ndim: int, last: int) -> NDArray[np.float64]:
    """Return the shears among the last axes; given as the upper triangle of a matrix, row by row, or as the matrix."""
    matrix = np.eye(ndim)
    if shear.ndim == 2:
        matrix = shear
    else:
        matrix[np.triu_indices(ndim, 1)] = shear
    part = matrix[ndim - last :, ndim - last :]
    return part if shear.ndim == 2 else part[np.triu_indices(last, 1)]
