"""A layer of the viewer as an image file that the batch engine predicts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from beadseg.data.dataset import stem_of
from beadseg.data.lazy import LazyImage, open_image
from beadseg.data.raw import micrometres
from beadseg.errors import BeadsegError, InputError
from beadseg.files import write_atomically
from beadseg.widgets.layers.planes import finest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.layers import Image

    from beadseg.events import StopFlag


@dataclass(frozen=True, eq=False)
class LayerImage:
    """What a prediction needs of a layer, taken in the viewer's thread.

    Attributes
    ----------
    name : str
        A name for files.
    data : array
        The finest pixels; maybe lazy: (…, Y, X), or (…, Y, X, 3 or 4) of a colour image.
    rgb : bool
        The last axis is colour.
    stack_axes : str
        Letters of the axes before y and x.
    pixel_size_um : float or None
        Of the layer as it is shown: from its scale and units. None where these tell nothing; a file may then.
    path : pathlib.Path or None
        The file that it was opened from.
    """

    name: str
    data: Any
    rgb: bool
    stack_axes: str
    pixel_size_um: float | None
    path: Path | None

    @classmethod
    def of(cls, layer: Image, axis_labels: tuple[str, ...] = (), first_axis: str = "") -> LayerImage:
        """Look at a layer; `axis_labels` are the viewer's.

        `first_axis` says what a single axis before y and x is: T, Z, or C and the number of the channel to predict; as
        it is labelled when not given.

        Raises
        ------
        InputError
            It has no y and x, or more axes before them than time and depth, or its pixels are not numbers.
        """
        data = finest(layer)
        channel = int(first_axis[1:]) if first_axis.startswith("C") else None
        if channel is not None:
            data = data[channel]
        shape = data.shape[:-1] if layer.rgb else data.shape
        if len(shape) < 2 or 0 in shape:
            raise InputError(f"The layer has the shape {tuple(data.shape)}.", layer.name, "Choose an image of y and x.")
        if len(shape) > 4:
            text = f"The layer has {len(shape) - 2} axes before y and x, time and depth are two."
            raise InputError(text, layer.name, "Split its channels into layers (right click on the layer).")
        if np.dtype(data.dtype).kind not in "uifb":
            raise InputError(f"The pixels are {data.dtype}.", layer.name, "Choose an image of whole or real numbers.")
        source = layer.source.path
        path = Path(source) if source and Path(source).exists() else None
        name = stem_of(path) if path is not None else re.sub(r"[^\w.-]+", "_", layer.name).strip("._") or "image"
        if channel is not None:
            name = f"{name}_c{channel}"
        axes = (
            first_axis
            if first_axis in ("T", "Z") and len(shape) == 3
            else _stack_axes(layer, len(shape) - 2, axis_labels)
        )
        return cls(name, data, bool(layer.rgb), axes, pixel_size_of(layer), None if channel is not None else path)

    def write(self, folder: Path, stop: StopFlag) -> Path:
        """Return the file to predict: the one that the layer was opened from where it holds the same, else a new one.

        Raises
        ------
        Cancelled
            `stop` was set.
        MachineError
            The disk is full.
        """
        if self.path is not None and self._same(self.path, stop):
            return self.path
        target = folder / f"{self.name}.tif"
        write_atomically(target, lambda file: self._write(file, stop))
        return target

    def planes(self, stop: StopFlag) -> Iterator[np.ndarray]:
        """Yield every plane as the layer has it, reading one at a time."""
        stack = self.data.shape[: len(self.stack_axes)]
        for index in np.ndindex(*stack):
            stop.check()
            plane = np.asarray(self.data[index])
            yield plane.astype(np.uint8) * np.uint8(255) if plane.dtype.kind == "b" else plane

    def _same(self, path: Path, stop: StopFlag) -> bool:
        """Tell whether a file is one image with just these pixels."""
        try:
            image = open_image(path)
            if not self._fits(image) or not self._same_size(image.pixel_size_um):
                return False
            pairs = zip(image.planes(), self.planes(stop), strict=True)
            return all(np.array_equal(_channels_last(pixels), shown) for (_, pixels), shown in pairs)
        except BeadsegError:
            stop.check()
            return False

    def _same_size(self, other: float | None) -> bool:
        """Tell whether a file says no other pixel size than the layer, which is the one that counts."""
        own = self.pixel_size_um
        return own is None or (other is not None and bool(np.isclose(own, other, rtol=1e-3)))

    def _fits(self, image: LazyImage) -> bool:
        shape = tuple(int(length) for length in self.data.shape)
        own = (*image.stack_shape, *image.size, *((image.channels,) if image.channels > 1 else ()))
        return own == shape and (image.channels > 1) == self.rgb and image.dtype == np.dtype(self.data.dtype)

    def _write(self, file: Path, stop: StopFlag) -> None:
        size = self.pixel_size_um
        resolution: dict[str, Any] = (
            {} if size is None else {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
        )
        dtype = np.uint8 if np.dtype(self.data.dtype).kind == "b" else self.data.dtype
        colour: dict[str, Any] = {"photometric": "rgb"} if self.rgb else {"photometric": "minisblack"}
        if self.rgb and self.data.shape[-1] == 4:
            colour["extrasamples"] = ["unassalpha"]
        axes = f"{self.stack_axes}YX{'S' if self.rgb else ''}"
        tifffile.imwrite(
            file, self.planes(stop), shape=self.data.shape, dtype=dtype, metadata={"axes": axes},
            bigtiff=self.data.size * np.dtype(dtype).itemsize > 2**32 - 2**25, **colour, **resolution,
        )  # fmt: skip


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Return (C, Y, X) as (Y, X), or (Y, X, C) of several channels."""
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def first_axis_of(layer: Image, axis_labels: tuple[str, ...] = ()) -> str:
    """Return what the single axis before y and x is labelled as, T, Z or C; empty where nothing tells."""
    if finest(layer).ndim - int(layer.rgb) != 3:
        return ""
    for names in (getattr(layer, "axis_labels", ()), axis_labels):
        label = str(names[-3]).strip().lower() if len(names) > 2 else ""
        if label[:1] in ("z", "t", "c"):
            return label[:1].upper()
    return ""


def _stack_axes(layer: Image, count: int, axis_labels: tuple[str, ...]) -> str:
    """Return T or Z for one axis before y and x, as it is labelled (else T); TZ for two."""
    if count != 1:
        return "TZ"[:count]
    return "Z" if first_axis_of(layer, axis_labels) == "Z" else "T"


def pixel_size_of(layer: Image) -> float | None:
    """Return the side of a pixel, µm, where the layer's scale and units tell it."""
    units = getattr(layer, "units", None) or ()
    if len(units) < 2:
        return None
    scale = np.asarray(layer.scale, float) * np.linalg.norm(np.asarray(layer.affine.linear_matrix, float), axis=0)
    sizes = [float(scale[at]) * (micrometres(units[at]) or np.nan) for at in (-2, -1)]
    return sizes[0] if np.isfinite(sizes[0]) and np.isclose(sizes[0], sizes[1], rtol=1e-3) else None
