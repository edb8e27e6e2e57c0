from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numcodecs
import numpy as np
import ome_zarr_models.v05
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Node, Reader

from beadseg import files
from beadseg.data import Dataset, Image, read_image, read_labels, read_mask
from beadseg.data.image_io import open_image
from beadseg.data.ome_zarr_write import write_ome_zarr
from beadseg.errors import ImageError, InputError, MachineError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it uses its own deprecated class as a default value
    from ome_zarr.writer import write_image, write_labels

Version = Literal["0.4", "0.5"]
VERSIONS: tuple[Version, ...] = ("0.4", "0.5")
FORMATS = {"0.4": FormatV04(), "0.5": FormatV05()}


def colours(height: int = 300, width: int = 421) -> Image:
    data = np.random.default_rng(1).integers(0, 256, (3, height, width), dtype=np.uint8)
    return Image(data, "CYX", 0.325)


def ids(height: int = 300, width: int = 421) -> np.ndarray:
    """Return labels with gaps, ids above 65535 and the largest uint32; objects of one pixel too."""
    labels = np.zeros((height, width), np.uint32)
    labels[2:9, 3:10] = 1
    labels[20:27, 3:10] = 65_536
    labels[200:300, 400:421] = 123_456_789
    labels[0, 420] = 2**32 - 1
    labels[150, 150] = 7
    return labels


def array_file(path: Path, version: str) -> Path:
    return path / "0" / (".zarray" if version == "0.4" else "zarr.json")


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def group_file(path: Path, version: str) -> Path:
    return path / (".zattrs" if version == "0.4" else "zarr.json")


def described(document: dict[str, Any]) -> dict[str, Any]:
    """Return the OME part of a group's attributes, of either version."""
    return document["attributes"]["ome"] if "attributes" in document else document


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> Version:
    return request.param


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("originals")
    for version in VERSIONS:
        write_ome_zarr(folder / version / "a.ome.zarr", ids(), colours(), version=version)
    return {version: folder / version / "a.ome.zarr" for version in VERSIONS}


@pytest.fixture
def written(tmp_path: Path, version: Version, originals: dict[str, Path]) -> Path:
    return Path(shutil.copytree(originals[version], tmp_path / "a.ome.zarr"))


# --- Round trips ------------------------------------------------------------------------------------------------------


def test_image_labels_and_pixel_size_come_back_without_loss(written: Path):
    image = read_image(written)
    assert (image.axes, image.pixel_size_um, image.data.dtype) == ("CYX", 0.325, np.uint8)
    assert (image.data == colours().data).all()
    for path in (written, written / "labels" / "beads"):
        for read in (read_labels, read_mask):
            mask = read(path)
            assert mask.kind == "labels"
            assert mask.labels is not None
            assert mask.labels.dtype == np.uint32
            assert (mask.labels == ids()).all()


@pytest.mark.parametrize(
    ("axes", "shape", "dtype"),
    [
        ("YX", (40, 50), "uint16"),
        ("YX", (40, 50), "float64"),
        ("YX", (40, 50), "int32"),
        ("TZCYX", (2, 3, 4, 20, 30), "float32"),
        ("ZCYX", (2, 3, 20, 30), "uint8"),
    ],
)
def test_every_dtype_and_stack_comes_back(tmp_path: Path, version: Version, dtype: str, axes: str, shape: tuple):
    data = (np.random.default_rng(0).random(shape) * 250).astype(dtype)
    write_ome_zarr(tmp_path / "a.zarr", None, Image(data, axes), version=version)
    image = read_image(tmp_path / "a.zarr")
    assert (image.axes, image.data.dtype, image.pixel_size_um) == (axes, np.dtype(dtype), None)
    assert (image.data == data).all()


@pytest.mark.parametrize("with_image", [True, False])
def test_labels_of_a_stack_come_back(tmp_path: Path, version: Version, with_image: bool):
    labels = np.stack([ids(), ids() * 0, ids()[::-1]]).astype(np.int64)
    image = Image(np.zeros((3, 2, 300, 421), np.uint8), "TCYX") if with_image else None
    write_ome_zarr(tmp_path / "a.zarr", labels, image, version=version, pixel_size_um=0.5)
    mask = read_labels(tmp_path / "a.zarr")
    assert mask.axes == "TYX"
    assert mask.labels is not None
    assert (mask.labels == labels).all()


def test_an_existing_one_is_replaced_whole(written: Path, version: Version):
    write_ome_zarr(written, None, Image(np.ones((8, 9), np.uint8), "YX"), version=version)
    assert read_image(written).data.shape == (8, 9)
    assert not (written / "labels").exists()
    assert [path.name for path in written.parent.iterdir()] == [written.name]


# --- The peers --------------------------------------------------------------------------------------------------------


def nodes(path: Path, version: str) -> list[Node]:
    location = parse_url(path, fmt=FORMATS[version])
    assert location is not None
    return list(Reader(location)())


def test_ome_zarr_py_opens_what_was_written(written: Path, version: Version):
    image, *_, labels = nodes(written, version)
    assert (np.asarray(image.data[0]) == colours().data).all()
    assert (np.asarray(labels.data[0]) == ids()).all()
    for node, first in ((image, [1, 0.325, 0.325]), (labels, [0.325, 0.325])):
        (level_0,), (level_1,) = node.metadata["coordinateTransformations"][:2]
        assert level_0["scale"] == first
        assert level_1["scale"] == [1, *(2 * s for s in first[1:])] if len(first) == 3 else [2 * s for s in first]
        assert [axis["unit"] for axis in node.metadata["axes"][-2:]] == ["micrometer", "micrometer"]


def test_the_pyramid_averages_the_image_and_keeps_ids(written: Path, version: Version):
    image, *_, labels = nodes(written, version)
    assert [level.shape for level in image.data] == [(3, 300, 421), (3, 150, 210)]
    mean = colours().data[:, :, :420].reshape(3, 150, 2, 210, 2).mean(axis=(2, 4))
    assert (np.asarray(image.data[1]) == np.rint(mean)).all()
    assert (np.asarray(labels.data[1]) == ids()[::2, :420:2]).all()


def test_the_published_model_accepts_what_was_written(tmp_path: Path):
    path = tmp_path / "a.ome.zarr"
    write_ome_zarr(path, ids(), colours(), version="0.5")
    image = ome_zarr_models.v05.Image.from_zarr(zarr.open_group(path, mode="r"))
    assert image.labels is not None
    assert image.labels.label_paths == ["beads"]


def peer_written(path: Path, version: str, data: np.ndarray, axes: str, labels: dict[str, np.ndarray]) -> Path:
    """Write by ome-zarr-py, 250 nm per px."""
    form = FORMATS[version]
    group = zarr.open_group(path, mode="w", zarr_format=form.zarr_format)
    told: dict[str, Any] = {
        "axes": axes,
        "fmt": form,
        "scale_factors": [2],
        "scale": {a: 250.0 if a in "yx" else 1.0 for a in axes},
        "axes_units": dict.fromkeys("yx", "nanometer"),
    }
    write_image(data, group, **told)
    for name, values in labels.items():
        write_labels(values, group, name, scaler=None, **told)
    return path


def test_what_ome_zarr_py_wrote_is_read(tmp_path: Path, version: Version):
    data = np.random.default_rng(2).integers(0, 4096, (2, 1, 3, 64, 80)).astype(np.uint16)
    path = peer_written(tmp_path / "peer.zarr", version, data, "tczyx", {"beads": np.uint8(data > 2000)})
    image = read_image(path)
    assert (image.axes, image.pixel_size_um) == ("TZYX", 0.25)
    assert (image.data == data[:, 0]).all()
    assert (read_mask(path / "labels" / "beads").foreground == (data[:, 0] > 2000)).all()


# --- Containers and what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2, "order": "F", "compressors": numcodecs.Zlib(), "filters": [numcodecs.Delta("<u2")]},
        {"zarr_format": 2, "compressors": None, "dtype": ">u2"},
        {"zarr_format": 3, "shards": (40, 60)},
        {
            "zarr_format": 3,
            "compressors": zarr.codecs.GzipCodec(),
            "chunk_key_encoding": {"name": "v2", "separator": "."},
        },
    ],
)
def test_arrays_stored_in_other_ways_are_read(originals: dict[str, Path], tmp_path: Path, options: dict[str, Any]):
    data = (np.random.default_rng(3).random((3, 70, 90)) * 60_000).astype(options.pop("dtype", "<u2"))
    path = shutil.copytree(originals["0.4" if options["zarr_format"] == 2 else "0.5"], tmp_path / "a.zarr")
    plane = options.get("shards")
    if plane:
        options["shards"] = (1, *plane)
    zarr.create_array(path / "0", data=data, chunks=(1, 20, 30), overwrite=True, **options)
    assert (read_image(path).data == data).all()
    assert [(pixels == data).all() for _, pixels in open_image(path).planes()] == [True]
    chunk = max((p for p in (path / "0").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-50])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_a_container_of_one_image_is_that_image(tmp_path: Path, version: Version, originals: dict[str, Path]):
    path = tmp_path / "c.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    layout = {"bioformats2raw.layout": 3}
    group.attrs.update(layout if version == "0.4" else {"ome": {"version": "0.5", **layout}})
    shutil.copytree(originals[version], path / "0")
    assert (read_image(path).data == colours().data).all()
    labels = read_labels(path).labels
    assert labels is not None
    assert (labels == ids()).all()
    shutil.copytree(path / "0", path / "1")
    with pytest.raises(ImageError, match=r"2 images.*c\.zarr/0"):
        read_image(path)
    assert read_image(path / "1").size == (300, 421)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"plate": {}}, "is a plate"),
        ({"well": {}}, "is a well"),
        ({}, "not an OME-Zarr image"),
        ({"multiscales": []}, "not a list of images"),
        ({"multiscales": [{}, {}]}, "2 images"),
        ({"multiscales": [{"version": "0.3"}], "version": "0.3"}, "version 0.3"),
        ({"multiscales": [{"axes": "yx", "datasets": []}]}, "damaged"),
        ({"multiscales": 7}, "not a list of images"),
    ],
)
def test_groups_that_are_no_image_are_refused(written: Path, version: Version, attributes: dict, message: str):
    def change(document: dict[str, Any]) -> None:
        part = described(document)
        part.clear()
        part.update(attributes)

    shutil.rmtree(written / "labels")
    changed(group_file(written, version), change)
    with pytest.raises(ImageError, match=f"(?i){message}"):
        read_image(written)


def test_labels_alone_are_no_image_but_labels(written: Path, version: Version):
    changed(group_file(written, version), lambda document: described(document).pop("multiscales"))
    with pytest.raises(ImageError, match=r"but no image.*labels/beads"):
        read_image(written)
    assert read_labels(written).labels is not None


def test_several_label_images_need_a_name(tmp_path: Path, version: Version):
    data = np.zeros((16, 16), np.uint8)
    path = peer_written(tmp_path / "a.zarr", version, data, "yx", {"cells": data, "dust": data})
    with pytest.raises(ImageError, match="several label images"):
        read_labels(path)
    assert not read_mask(path / "labels" / "dust").foreground.any()


@pytest.mark.parametrize("address", ["https://host/a.ome.zarr", "s3://bucket/a.ome.zarr"])
def test_addresses_are_refused(address: str):
    with pytest.raises(ImageError, match="address on the network"):
        read_image(Path(address))


def test_a_folder_that_is_no_zarr_is_refused(tmp_path: Path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ImageError, match="Is not a Zarr"):
        read_image(tmp_path / "a.zarr")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="Is a folder"):
        read_image(tmp_path / "folder.png")


def test_a_plain_array_is_refused(written: Path):
    with pytest.raises(ImageError, match="plain Zarr array"):
        read_image(written / "0")


# --- Strangers' files -------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("dtype", ["|O", "<U8", "|V8", [["a", "<f4"]], "<M8[s]", "<c16", "vlen"])
def test_objects_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: Any):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.zarr"
    write_ome_zarr(path, None, Image(np.ones((8, 8), np.uint8), "YX"), version="0.4")
    pickled = numcodecs.Pickle()
    changed(path / "0" / ".zarray", lambda d: d.update(dtype=dtype, filters=[pickled.get_config()], compressor=None))
    objects = np.full((8, 8), None, object)
    objects[0, 0] = Bomb()
    (path / "0" / "0" / "0").write_bytes(pickle.dumps([*objects.ravel(), "|O", (8, 8)]))
    with pytest.raises(ImageError, match="not plain numbers"):
        read_image(path)
    changed(path / "0" / ".zarray", lambda d: d.update(dtype="|u1"))
    with pytest.raises(ImageError, match="codec 'pickle'"):
        read_image(path)
    assert not (tmp_path / "exploded").exists()


def test_unknown_codecs_are_refused_at_any_depth(tmp_path: Path):
    path = tmp_path / "a.zarr"
    write_ome_zarr(path, None, Image(np.ones((8, 8), np.uint8), "YX"))
    inner = {
        "name": "sharding_indexed",
        "configuration": {"chunk_shape": [8, 8], "codecs": [{"name": "numcodecs.pickle"}]},
    }
    changed(path / "0" / "zarr.json", lambda d: d.update(codecs=[inner]))
    with pytest.raises(ImageError, match=r"codec 'numcodecs\.pickle'"):
        read_image(path)


@pytest.mark.parametrize("name", ["../b.zarr/0", "/etc", "a/../../b.zarr/0", "..\\b", "", "C:x"])
def test_paths_out_of_the_folder_are_refused(written: Path, version: Version, name: str):
    shutil.copytree(written, written.with_name("b.zarr"))
    changed(group_file(written, version), lambda d: described(d)["multiscales"][0]["datasets"][0].update(path=name))
    with pytest.raises(ImageError, match="not inside it"):
        read_image(written)


@pytest.mark.parametrize("shape", [[3, 10**6, 10**6], [3, -1, 5], [3, 0, 5], "big", [3, 1e3, 5], [True, 4, 4], []])
def test_absurd_shapes_are_refused(written: Path, version: Version, shape: Any):
    changed(array_file(written, version), lambda d: d.update(shape=shape))
    with pytest.raises(ImageError):
        read_image(written)


def test_absurd_chunks_are_refused(written: Path, version: Version):
    def change(document: dict[str, Any]) -> None:
        if version == "0.4":
            document["chunks"] = [1, 10**6, 10**6]
        else:
            document["chunk_grid"]["configuration"]["chunk_shape"] = [1, 10**6, 10**6]

    changed(array_file(written, version), change)
    with pytest.raises(ImageError, match="at most 16 GiB"):
        read_image(written)


def test_an_axis_that_is_not_known_is_refused(written: Path, version: Version):
    changed(
        group_file(written, version), lambda d: described(d)["multiscales"][0]["axes"][0].update(name="v", type="x")
    )
    with pytest.raises(ImageError, match="axes v, y, x"):
        read_image(written)


@pytest.mark.parametrize("unit", [None, "parsec", 7])
def test_a_pixel_size_without_a_known_unit_is_none(written: Path, version: Version, unit: Any):
    changed(group_file(written, version), lambda d: described(d)["multiscales"][0]["axes"][2].update(unit=unit))
    assert read_image(written).pixel_size_um is None


# --- Faults -----------------------------------------------------------------------------------------------------------


def chunk_file(path: Path, version: str) -> Path:
    return path / "0" / ("0/0/0" if version == "0.4" else "c/0/0/0")


@pytest.mark.parametrize("kept", [0, 7, 16, 1000])
def test_a_chunk_cut_short_is_an_error(written: Path, version: Version, kept: int):
    chunk = chunk_file(written, version)
    chunk.write_bytes(chunk.read_bytes()[:kept])
    with pytest.raises(ImageError, match="damaged"):
        read_image(written)


@pytest.mark.parametrize("compressor", ["gzip", "zstd", None])
def test_a_chunk_of_another_codec_cut_short_is_an_error(tmp_path: Path, compressor: str | None):
    data = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    path = tmp_path / "a.zarr"
    write_ome_zarr(path, None, Image(data * 0, "YX"), version="0.4")
    codec = numcodecs.get_codec({"id": compressor}) if compressor else None
    zarr.create_array(path / "0", data=data, zarr_format=2, compressors=codec, chunks=(64, 64), overwrite=True)
    assert (read_image(path).data == data).all()
    chunk = path / "0" / "0.0"
    chunk.write_bytes(chunk.read_bytes()[:-100])
    with pytest.raises(ImageError, match="damaged"):
        read_image(path)


def test_an_image_without_a_chunk_is_an_error(written: Path, version: Version):
    for path in (written / "0").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
    with pytest.raises(ImageError, match="not one of its chunks"):
        read_image(written)


def test_labels_without_a_chunk_are_empty(tmp_path: Path, version: Version):
    write_ome_zarr(tmp_path / "a.zarr", np.zeros((9, 9), np.uint8), None, version=version)
    assert not read_labels(tmp_path / "a.zarr").foreground.any()


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"a": ' * 5000, "\xff"])
def test_broken_json_is_an_error(written: Path, version: Version, text: str):
    for path in (group_file(written, version), array_file(written, version)):
        good = path.read_bytes()
        path.write_text(text, encoding="latin-1")
        with pytest.raises(ImageError):
            read_image(written)
        path.write_bytes(good)


def test_missing_metadata_is_an_error(written: Path, version: Version):
    array_file(written, version).unlink()
    with pytest.raises(ImageError, match="array '0' is missing"):
        read_image(written)
    (written / (".zgroup" if version == "0.4" else "zarr.json")).unlink()
    with pytest.raises(ImageError, match="Is not a Zarr"):
        read_image(written)


def test_nan_is_an_error(tmp_path: Path, version: Version):
    data = np.ones((8, 8), np.float32)
    data[3, 3] = np.nan
    write_ome_zarr(tmp_path / "a.zarr", None, Image(data, "YX"), version=version)
    with pytest.raises(ImageError, match="1 of its 64 values"):
        read_image(tmp_path / "a.zarr")


# --- Writing: what is refused, and nothing half done ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "image", "message"),
    [
        (None, None, "neither"),
        (np.zeros((4, 4), np.float32), None, "not a label image"),
        (np.zeros((4, 4), np.uint8), Image(np.zeros((5, 4), np.uint8), "YX"), "planes"),
        (np.full((4, 4), -1), None, "-1"),
        (np.full((4, 4), 2**32), None, "4294967296"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, labels: Any, image: Any, message: str):
    with pytest.raises(InputError, match=message):
        write_ome_zarr(tmp_path / "a.zarr", labels, image)
    assert not any(tmp_path.iterdir())


def test_other_folders_are_never_replaced(tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    with pytest.raises(InputError, match=r"ends with \.zarr"):
        write_ome_zarr(tmp_path / "thesis", ids(), None)
    (tmp_path / "a.zarr").write_text("a file")
    with pytest.raises(InputError, match="in the way"):
        write_ome_zarr(tmp_path / "a.zarr", ids(), None)


def test_a_folder_that_is_not_there_is_a_machine_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        write_ome_zarr(tmp_path / "file" / "a.zarr", ids(), None)


def test_a_failure_leaves_the_old_one(written: Path, version: Version):
    class Broken(np.ndarray):
        def __getitem__(self, key: Any) -> Any:
            raise OSError(28, "No space left on device")

    with pytest.raises(MachineError, match="No space left"):
        write_ome_zarr(written, None, Image(np.zeros((4, 9, 9), np.uint8).view(Broken), "TYX"), version=version)
    assert [path.name for path in written.parent.iterdir()] == [written.name]
    assert (read_image(written).data == colours().data).all()


def test_what_a_killed_process_left_is_no_image_and_can_be_removed(tmp_path: Path, written: Path):
    left = written.rename(tmp_path / f"{files.TEMPORARY_PREFIX}1-ab{files.TEMPORARY_SUFFIX}.zarr")
    assert files.remove_unfinished(tmp_path) == [left]
    assert not left.exists()


def test_zarr_is_loaded_only_when_it_is_used():
    names = "import beadseg.data.image_io, beadseg.data.ome_zarr_write, sys"
    code = f"{names}\nprint({{'zarr', 'ome_zarr_models'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- Data sets --------------------------------------------------------------------------------------------------------


@pytest.fixture
def dataset(tmp_path: Path, version: Version, originals: dict[str, Path]) -> Path:
    root = tmp_path / "dataset"
    for name in ("a", "b"):
        shutil.copytree(originals[version], root / files.IMAGES / f"{name}.ome.zarr")
    return root


def test_a_dataset_of_images_with_labels_inside(dataset: Path):
    samples = Dataset.open(dataset)
    assert samples.names == ("a", "b")
    for sample in samples:
        assert sample.has_labels
        assert sample.mask_path == sample.image_path / "labels" / "beads"
        target = sample.read_target()
        assert target.labels is not None
        assert (target.labels == ids()).all()


def test_annotation_folders_go_before_labels_inside(dataset: Path, version: Version):
    for folder in (files.LABELS, files.MASKS, files.IGNORE):
        (dataset / folder).mkdir()
    write_ome_zarr(dataset / files.LABELS / "a_labels.ome.zarr", ids() * 0, None, version=version)
    write_ome_zarr(dataset / files.IGNORE / "a.ome.zarr", ids(), None, version=version)
    tifffile.imwrite(dataset / files.MASKS / "b.tif", (ids() == 7).astype(np.uint8))
    a, b = Dataset.open(dataset)
    assert a.read_target().objects == 0
    assert (a.read_target().ignore == (ids() > 0)).all()
    assert (b.has_labels, b.read_target().objects) == (False, 1)


def test_hashes_of_folders_tell_image_and_labels_apart(dataset: Path, tmp_path: Path, version: Version):
    (sample, twin) = Dataset.open(dataset)
    before = sample.sha256()
    assert before["mask"] == twin.sha256()["mask"]
    assert before["mask"] != before["image"]
    shutil.copytree(dataset, tmp_path / "copy")
    assert Dataset.open(tmp_path / "copy")["a"].sha256() == before
    chunk = chunk_file(sample.image_path / "labels" / "beads", version).parent
    chunk.write_bytes(chunk.read_bytes() + b" ")
    after = sample.sha256()
    assert (after["image"], after["mask"] == before["mask"]) == (before["image"], False)
    chunk = next(path for path in sorted((sample.image_path / "0").rglob("*")) if path.is_file())
    chunk.rename(chunk.with_name("other"))
    assert sample.sha256()["image"] != before["image"]


def test_damaged_labels_inside_are_reported(dataset: Path, version: Version):
    group_file(dataset / files.IMAGES / "a.ome.zarr" / "labels", version).write_text("{")
    samples = Dataset.open(dataset)
    assert samples.names == ("b",)
    assert any("label images cannot be used" in problem.message for problem in samples.problems)


def test_an_image_is_no_dataset(dataset: Path):
    with pytest.raises(InputError, match="one image, not a dataset"):
        Dataset.open(dataset / files.IMAGES / "a.ome.zarr")
