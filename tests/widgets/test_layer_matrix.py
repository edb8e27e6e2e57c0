"""Every kind of layer, however it lies: its pixels, planes and unit reach the engine, and results lie where it lies."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from beadseg.data.image_io import read_image
from beadseg.errors import ImageError, InputError
from beadseg.events import StopFlag

pytest.importorskip("napari")

SIZE = (20, 24)
DTYPES = {"uint8": np.uint8, "uint16": np.uint16, "float": np.float32}
KINDS = ("YX", "RGB", "RGBA", "CYX", "TYX", "ZYX", "multiscale", "dask")
TURN = np.deg2rad(30)
PLACES: dict[str, dict[str, Any]] = {
    "plain": {},
    "scale": {"scale": (0.25, 0.25)},
    "units": {"scale": (0.25, 0.25), "units": ("um", "um")},
    "nanometres": {"scale": (250, 250), "units": ("nm", "nm")},
    "translate": {"translate": (7, -3), "scale": (0.5, 0.5), "units": ("um", "um")},
    "rotate": {"rotate": 30, "scale": (2, 2), "units": ("um", "um")},
    "shear": {"shear": [0.3]},
    "affine": {"affine": [[np.cos(TURN), -np.sin(TURN), 4], [np.sin(TURN), np.cos(TURN), 9], [0, 0, 1]],
               "scale": (0.5, 0.5), "units": ("um", "um")},
    "oblong": {"scale": (0.5, 0.25), "units": ("um", "um")},
}  # fmt: skip
PIXEL_UM = {"units": 0.25, "nanometres": 0.25, "translate": 0.5, "rotate": 2.0, "affine": 0.5}
"""Of the places that tell one pixel size."""


def pixels_of(kind: str, dtype: str) -> np.ndarray:
    random = np.random.default_rng(1)
    shape = {"RGB": (*SIZE, 3), "RGBA": (*SIZE, 4), "CYX": (2, *SIZE), "TYX": (3, *SIZE), "ZYX": (3, *SIZE)}
    values = random.integers(0, 200, shape.get(kind, SIZE))
    if kind == "RGBA":
        values[..., 3] = {"uint8": 255, "uint16": 65535, "float": 255}[dtype]  # transparent ones are laid on white
    if dtype == "float" and kind in ("RGB", "RGBA"):
        values = values / 255  # napari shows colours of 0 to 1
    return values.astype(DTYPES[dtype])


def wide(values: Any, ndim: int, fill: Any) -> Any:
    """Return the last two entries with others before them."""
    return (*(fill,) * (ndim - 2), *values)


def placed(place: dict[str, Any], ndim: int) -> dict[str, Any]:
    """Return a place of two axes for a layer of more."""
    found: dict[str, Any] = {}
    for name, value in place.items():
        if name in ("scale", "translate"):
            found[name] = wide(value, ndim, 1 if name == "scale" else 0)
        elif name == "units":
            found[name] = wide(value, ndim, "pixel")
        elif name == "rotate" and ndim > 2:
            turn = np.eye(ndim)
            turn[-2:, -2:] = [[np.cos(TURN), -np.sin(TURN)], [np.sin(TURN), np.cos(TURN)]]
            found[name] = turn
        elif name == "shear" and ndim > 2:
            shear = np.eye(ndim)
            shear[-2, -1] = value[0]
            found[name] = shear
        elif name == "affine" and ndim > 2:
            affine = np.eye(ndim + 1)
            affine[-3:, -3:] = value
            found[name] = affine
        else:
            found[name] = value
    return found


def layer_of(kind: str, pixels: np.ndarray, place: dict[str, Any], path: Path | None) -> Any:
    from napari.layers import Image
    from napari.layers._source import layer_source

    data: Any = pixels
    if kind == "dask":
        import dask.array

        data = dask.array.from_array(pixels, chunks=(10, 10))  # type: ignore[attr-defined,no-untyped-call]
    if kind == "multiscale":
        data = [pixels, pixels[::2, ::2]]
    rgb = kind in ("RGB", "RGBA")
    options = {"multiscale": kind == "multiscale", "rgb": rgb, **placed(place, pixels.ndim - int(rgb))}
    with layer_source(path=None if path is None else str(path)):
        return Image(data, name=f"{kind} layer", **options)


def save(kind: str, pixels: np.ndarray, folder: Path) -> Path:
    path = folder / f"{kind}.tif"
    colour = {"photometric": "rgb" if kind in ("RGB", "RGBA") else "minisblack"}
    if kind == "RGBA":
        colour["extrasamples"] = "unassalpha"
    axes = kind if kind in ("CYX", "TYX", "ZYX") else None
    tifffile.imwrite(path, pixels, metadata=None if axes is None else {"axes": axes}, imagej=False, **colour)
    return path


@pytest.mark.parametrize("source", ["memory", "file"])
@pytest.mark.parametrize("dtype", list(DTYPES))
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_planes_and_unit_reach_the_engine(kind: str, dtype: str, source: str, tmp_path: Path) -> None:
    from beadseg.widgets.predict.session import LayerImage

    pixels = pixels_of(kind, dtype)
    path = save(kind, pixels, tmp_path) if source == "file" else None
    first = {"CYX": "C1", "TYX": "T", "ZYX": "Z"}.get(kind, "")
    expected = pixels[1] if kind == "CYX" else pixels
    made = tmp_path / "made"
    made.mkdir()
    names = PLACES if dtype == "uint8" else ("plain", "units", "rotate")
    for name in names:
        layer = layer_of(kind, pixels, PLACES[name], path)
        image = LayerImage.of(layer, (), first)
        written = image.write(made, StopFlag())
        found = read_image(written)
        last = np.moveaxis(found.data, found.axes.index("C"), -1) if "C" in found.axes else found.data
        assert np.array_equal(last, expected[..., :3] if kind == "RGBA" else expected), name
        assert found.axes.replace("C", "") == {"TYX": "TYX", "ZYX": "ZYX"}.get(kind, "YX"), name
        size = image.pixel_size_um if image.pixel_size_um is not None else found.pixel_size_um
        assert size == pytest.approx(PIXEL_UM[name]) if name in PIXEL_UM else size is None, name
        if written != path:
            written.unlink()


@pytest.mark.parametrize("kind", KINDS)
def test_results_lie_where_the_layer_lies(kind: str) -> None:
    from napari.layers import Labels

    from beadseg.widgets.layers import place_of

    pixels = pixels_of(kind, "uint8")
    for name, place in PLACES.items():
        layer = layer_of(kind, pixels, place, None)
        shape = pixels.shape[1:] if kind == "CYX" else pixels.shape[:-1] if layer.rgb else pixels.shape
        labels = Labels(np.zeros(shape, np.uint32), **place_of(layer, len(shape)))
        for corner in ((0, 0), (19, 0), (3.5, 21)):
            own = np.asarray(layer.data_to_world([0.0] * (layer.ndim - 2) + list(corner)))
            there = np.asarray(labels.data_to_world([0.0] * (len(shape) - 2) + list(corner)))
            assert np.allclose(own[-2:], there[-2:]), (name, corner)
        assert [str(unit) for unit in labels.units[-2:]] == [str(unit) for unit in layer.units[-2:]], name


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 3, 4, *SIZE), np.uint8), "3 axes before y and x"),
        (np.zeros(SIZE, np.complex64), "The pixels are complex64"),
    ],
)
def test_what_cannot_be_an_image_is_one_message(pixels: np.ndarray, message: str) -> None:
    from napari.layers import Image

    from beadseg.widgets.predict.session import LayerImage

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = Image(pixels, contrast_limits=(0, 1)) if pixels.dtype.kind != "c" else None
    if layer is None:
        layer = Image(np.abs(pixels), name="complex")
        layer._data = pixels
    with pytest.raises(InputError, match=message):
        LayerImage.of(layer)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_one_message(value: float, tmp_path: Path) -> None:
    from beadseg.widgets.predict.session import LayerImage

    pixels = pixels_of("YX", "float")
    pixels[3, 5] = value
    written = LayerImage.of(layer_of("YX", pixels, {}, None)).write(tmp_path, StopFlag())
    with pytest.raises(ImageError, match="NaN or infinite"):
        read_image(written)
