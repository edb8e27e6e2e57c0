"""Models, runs and counts for other programs: ONNX, packages for the BioImage Model Zoo, a run as one file, Excel.

An ONNX file holds normalisation, network and sigmoid: intensities in, one map per head out, as `Segmenter.predict`
computes them for an image that needs no resampling. A package holds the same, and our own model file, from which
`take_in` makes a run again. Nothing is unpickled and no code of a package is executed.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
import zipfile
import zlib
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from beadseg import files
from beadseg.config.train import BackgroundNormConfig, ImageConfig, PercentileNormConfig, RgbConfig, ZScoreNormConfig
from beadseg.data.documents import is_plain_name
from beadseg.errors import ConfigError, InputError
from beadseg.files import write_atomically
from beadseg.model import inputs
from beadseg.model.checkpoint import model_file, named_model
from beadseg.predict.segmenter import Segmenter
from beadseg.runtime.locking import new_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

HASHES = "SHA256SUMS"
"""In the file of a run: one line per file, as ``sha256sum -c`` takes it."""
MODEL = "model.safetensors"
"""Our own model file in a package."""
MOST_BYTES = 16 * 1024**3
"""What is packed in a file may be no larger than this."""
OPSET = 17
"""Version of ONNX's operators, of 2022: what programs of today know."""
SIDE = 128
"""Side of the image that a package is tested with, px."""
_NOT_PACKED = {files.LOCK, files.STOP}
_SAID_OF = {
    "foreground": "probability of being part of a bead",
    "centre": "centre map, with a peak at the centre of every bead",
    "size": "size of the bead that a pixel belongs to",
}


def require(module: str, what: str) -> None:
    """Raise `ConfigError` where a package of the extra ``exchange`` is missing."""
    try:
        there = find_spec(module) is not None
    except ModuleNotFoundError:
        there = False
    if not there:
        raise ConfigError(
            f"{what} needs {module}, which is not installed.", "--format", 'Run: pip install "beadseg[exchange]".'
        )


class RawNetwork(nn.Module):
    """A network with all that happens to an image before and after it: raw intensities to probabilities.

    The computations of `beadseg.model.inputs.prepare` and of padding, in operations that can be exported, for float32
    images of any size. Without normalisation (``range``) intensities are expected from 0 to 1.

    Parameters
    ----------
    segmenter : Segmenter
        The trained model.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.network, self.image = segmenter.network, segmenter.config.image
        self.multiple = int(segmenter.network.size_multiple)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps (1, K, Y, X), 0 to 1, of an image (1, C, Y, X) float32."""
        planes = [normalised(plane, self.image) for plane in x[0].split(1)]
        size = torch._shape_as_tensor(x)[2:]
        rows, columns = (_mirrored(size[at], self.multiple) for at in (0, 1))
        padded = torch.cat(planes)[:, rows][:, :, columns][None]
        return torch.sigmoid(self.network(padded))[:, :, : size[0], : size[1]]


def _indices(count: Tensor) -> Tensor:
    """Return 0, 1, … below a number that depends on the image's size."""
    return torch.arange(count)  # type: ignore[call-overload,no-any-return]


def _mirrored(length: Tensor, multiple: int) -> Tensor:
    """Return which pixels of an axis stand where it is padded to a multiple, mirrored at its end."""
    padded = torch.clamp((length + multiple - 1) // multiple, min=2) * multiple
    at = _indices(padded)
    return torch.where(at < length, at, 2 * (length - 1) - at).clamp(min=0)


def normalised(plane: Tensor, config: ImageConfig) -> Tensor:
    """Return a plane (1, Y, X) as the network sees it; see `beadseg.model.inputs.prepare`."""
    if isinstance(config.norm, BackgroundNormConfig):
        return _relative_to_background(plane[0], config.norm)[None]
    if isinstance(config.norm, ZScoreNormConfig):
        return (plane - plane.mean()) / plane.std(correction=0).clamp(min=1e-30)
    if isinstance(config.norm, PercentileNormConfig):
        low, high = (_percentile(plane.flatten(), share) for share in (config.norm.low, config.norm.high))
        return (plane - low) / (high - low).clamp(min=1e-30)
    return plane


def _relative_to_background(plane: Tensor, config: BackgroundNormConfig) -> Tensor:
    """Return what `beadseg.model.inputs.relative_to_background` returns; the notes there say why each step is."""
    size = torch._shape_as_tensor(plane)
    rows, columns = (_edges(length, config.window) for length in (size[0], size[1]))
    at_rows, in_rows = _members(rows)
    at_columns, in_columns = _members(columns)
    blocks = plane[at_rows][:, :, at_columns].permute(0, 2, 1, 3)
    inside = in_rows[:, None, :, None] & in_columns[None, :, None, :]
    medians = _medians(blocks, inside)
    off = (blocks - medians[:, :, None, None]).abs()[:, :, ::2]
    noise = 1.4826 * _median(_medians(off, inside[:, :, ::2]).flatten())
    deviation = plane - (background := _interpolated(medians, rows, columns))
    typical = _median(medians.flatten())
    contrast = _object_contrast(deviation, typical, noise)
    floor = torch.maximum(
        torch.maximum(inputs.SHADE_FLOOR * typical, inputs.NOISE_FLOOR * noise), config.gain * contrast
    )
    denominator = torch.maximum(background, floor)
    flat = denominator <= 1e-6 * _largest(plane.abs())
    relative = torch.where(
        flat, torch.zeros_like(plane), deviation / torch.where(flat, torch.ones_like(plane), denominator)
    )
    return (config.gain * relative).clamp(-inputs.MOST * config.gain, inputs.MOST * config.gain)


def _edges(length: Tensor, window: int) -> Tensor:
    count = torch.clamp(torch.round(length / window), min=1).to(torch.int64)
    return _indices(count + 1) * length // count


def _members(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices (B, W) of the pixels of each block, and which of them are its own: blocks differ by one."""
    lengths = edges[1:] - edges[:-1]
    at = edges[:-1, None] + _indices(lengths.max())[None]
    return at.clamp(max=edges.max() - 1), at < edges[1:, None]


def _medians(blocks: Tensor, inside: Tensor) -> Tensor:
    """Return the medians (B, C) of blocks (B, C, Y, X) over the pixels that are theirs."""
    ordered = torch.where(inside, blocks, torch.full_like(blocks, torch.inf)).flatten(2).sort(dim=2).values
    count = inside.flatten(2).sum(dim=2, keepdim=True)
    return (ordered.gather(2, (count - 1) // 2) + ordered.gather(2, count // 2))[:, :, 0] / 2


def _median(values: Tensor) -> Tensor:
    ordered, count = values.sort().values, torch._shape_as_tensor(values)
    return (ordered.gather(0, (count - 1) // 2) + ordered.gather(0, count // 2)).sum() / 2


def _percentile(values: Tensor, share: float, count: Tensor | None = None) -> Tensor:
    """Return a percentile of the `count` smallest values (all by default), interpolated as NumPy does."""
    ordered = values.sort().values
    number = (torch._shape_as_tensor(values) if count is None else count.reshape(1)).clamp(min=1)
    place = (number - 1).to(torch.float64) * (share / 100)
    below = place.floor()
    low = ordered.gather(0, below.to(torch.int64))
    high = ordered.gather(0, torch.minimum(below.to(torch.int64) + 1, number - 1))
    return (low + (high - low) * (place - below).to(torch.float32)).sum()


def _interpolated(blocks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    (top, bottom, down), (left, right, across) = _neighbours(rows), _neighbours(columns)
    wide = blocks[:, left] * (1 - across) + blocks[:, right] * across
    return wide[top] * (1 - down)[:, None] + wide[bottom] * down[:, None]


def _neighbours(edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return for each pixel the two nearest blocks along an axis, and the share of the second."""
    centres = (edges[:-1] + edges[1:]).to(torch.float64) / 2 - 0.5
    at = _indices(edges.max()).to(torch.float64)
    last = torch._shape_as_tensor(centres)[0] - 1
    first = ((at[:, None] >= centres[None]).to(torch.int64).sum(dim=1) - 1).clamp(min=0)
    second = torch.minimum(first + 1, last)
    apart = (centres[second] - centres[first]).clamp(min=1)
    return first, second, ((at - centres[first]) / apart).clamp(0, 1).to(torch.float32)


def _largest(size: Tensor) -> Tensor:
    size = torch.minimum(size[:-1], size[1:])
    return torch.minimum(size[:, :-1], size[:, 1:]).max()


def _object_contrast(deviation: Tensor, typical: Tensor, noise: Tensor) -> Tensor:
    limit = inputs.DARK_FIELD * typical.clamp(min=0)
    size = deviation.abs()
    least = torch.maximum(inputs._OBJECT_NOISE * noise, 1e-3 * _largest(size))
    objects = size > least
    values = torch.where(objects, size, torch.full_like(size, torch.inf)).flatten()
    contrast = _percentile(values, inputs._OBJECT_QUANTILE, objects.sum())
    counts = (size.max() > limit) & (objects.sum() > 0) & (contrast > limit)
    return torch.where(counts, contrast, torch.zeros_like(contrast))


def onnx_bytes(segmenter: Segmenter) -> bytes:
    """Return a model as an ONNX file: input ``image`` (1, C, Y, X) float32, output ``maps`` (1, K, Y, X).

    Raises
    ------
    ConfigError
        onnx is not installed.
    """
    require("onnx", "ONNX")
    example = torch.rand(1, _channels(segmenter), SIDE, SIDE + 16) * 200 + 20
    axes = {"image": {2: "y", 3: "x"}, "maps": {2: "y", 3: "x"}}
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter about itself, and about checks that are made once
        torch.onnx.register_custom_op_symbolic(  # type: ignore[attr-defined]
            "aten::asinh", lambda graph, x: graph.op("Asinh", x), 9
        )
        torch.onnx.export(RawNetwork(segmenter).eval(), (example,), content, input_names=["image"],  # type: ignore[arg-type]
                          output_names=["maps"], dynamic_axes=axes, opset_version=OPSET, dynamo=False)  # fmt: skip
    return content.getvalue()


def write_onnx(segmenter: Segmenter, path: Path) -> None:
    """Write a model as an ONNX file; raises as `onnx_bytes`, and `MachineError`."""
    write_atomically(path, onnx_bytes(segmenter))


def write_bioimageio(run: Path | str, path: Path) -> None:
    """Write a model as a package for the BioImage Model Zoo, a ``.zip`` file (https://bioimage.io, description 0.5).

    Its ``rdf.yaml`` is written here: building it by bioimageio.spec would need that library for every user. The same
    model gives the same bytes.

    Parameters
    ----------
    run : str or path
        As for `Segmenter.load`.
    path : pathlib.Path
        The file to write.

    Raises
    ------
    ConfigError
        onnx is not installed.
    RunError
        There is no such model.
    """
    segmenter = Segmenter.load(run, device="cpu")
    with torch.no_grad():
        image = _test_image(_channels(segmenter), segmenter.config.image.norm.kind == "range")
        maps = RawNetwork(segmenter).eval()(image)
    contents = {
        "model.onnx": onnx_bytes(segmenter), MODEL: model_file(named_model(run)).read_bytes(),
        "README.md": _readme(segmenter).encode(), "input.npy": _npy(image), "output.npy": _npy(maps),
    }  # fmt: skip
    description = yaml.safe_dump(_description(segmenter, contents), sort_keys=False, allow_unicode=True)
    _write_zip(path, {"rdf.yaml": description.encode(), **contents})


def _channels(segmenter: Segmenter) -> int:
    return 3 if isinstance(segmenter.config.image.channels, RgbConfig) else 1


def _npy(values: Tensor) -> bytes:
    content = io.BytesIO()
    np.save(content, values.numpy())
    return content.getvalue()


def _description(segmenter: Segmenter, contents: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what describes the files of a package, as ``rdf.yaml`` holds it."""
    import beadseg

    def named(name: str, **more: Any) -> dict[str, Any]:
        return {"source": name, "sha256": hashlib.sha256(contents[name]).hexdigest(), **more}

    def axes(channels: list[str], size: Callable[[str], dict[str, Any]]) -> list[dict[str, Any]]:
        first: list[dict[str, Any]] = [
            {"type": "batch", "size": 1},
            {"type": "channel", "id": "channel", "channel_names": channels},
        ]
        return [*first, *({"type": "space", "id": name, "size": size(name)} for name in "yx")]

    def like_image(name: str) -> dict[str, Any]:
        return {"tensor_id": "image", "axis_id": name}

    names = ["red", "green", "blue"] if _channels(segmenter) == 3 else ["intensity"]
    image = {"id": "image", "axes": axes(names, lambda _: {"min": SIDE, "step": 16}), "test_tensor": named("input.npy"),
             "data": {"type": "float32"}}  # fmt: skip
    maps = {"id": "maps", "axes": axes([*segmenter.config.network.heads], like_image),
            "description": "One map per channel, from 0 to 1; see the documentation.",
            "test_tensor": named("output.npy"), "data": {"type": "float32"}}  # fmt: skip
    return {
        "type": "model", "format_version": "0.5.3", "name": f"beadseg {segmenter.config.network.kind}",
        "description": "Segments and counts microbeads in microscope images.",
        "authors": [{"name": "beadseg developers"}], "license": "BSD-3-Clause", "documentation": "README.md",
        "cite": [{"text": "beadseg developers: beadseg.", "url": "https://pypi.org/project/beadseg"}],
        "tags": ["2d", "microbeads", "instance-segmentation", "brightfield"],
        "attachments": [named(MODEL)], "inputs": [image], "outputs": [maps],
        "weights": {"onnx": named("model.onnx", opset_version=OPSET)},
        "config": {"beadseg": {"version": beadseg.__version__, "sha256": segmenter.model_sha256}},
    }  # fmt: skip


def _test_image(channels: int, to_one: bool) -> Tensor:
    """Return the image (1, C, SIDE, SIDE) of simulated beads that a package is tested with."""
    from beadseg.data.simulate import SceneConfig, simulate

    scene = SceneConfig(height=SIDE, width=SIDE, beads=40, channels="grey", poisson=False, debris=0)
    plane = torch.from_numpy(simulate(scene, 1).image.astype(np.float32))
    return (plane / 255 if to_one else plane).reshape(1, 1, SIDE, SIDE).repeat(1, channels, 1, 1)


def _readme(segmenter: Segmenter) -> str:
    objects = segmenter.options.objects
    return f"""# beadseg {segmenter.config.network.kind}

Input: one image with beads of about {objects.diameter:g} px, float32, as the camera gave it{
        " divided by its largest possible value" if segmenter.config.image.norm.kind == "range" else ""
    }; colour as luminance (BT.601)
unless the model has three channels. Resample images whose beads have another size.
The model normalises the image itself.

Output, one map per channel, 0 to 1: {
        ", ".join(f"{head} ({_SAID_OF[head]})" for head in segmenter.config.network.heads)
    }.

A pixel is foreground from {objects.threshold:g}. beadseg separates touching beads by the centre map and counts them:
`beadseg-batch import model THIS.zip --out RUN`, then `beadseg-batch predict RUN IMAGES --out OUT`.

## Validation

The scores of the run are in `criteria.json` and `history.csv` of its folder. Compare counts with some of your own.
"""


def write_run(run: Path, path: Path) -> int:
    """Write a run folder as one ``.zip`` file with the SHA-256 of every file; return how many files it holds.

    The same run gives the same bytes.

    Raises
    ------
    InputError
        `run` is not a folder of a run, or `path` lies in it.
    """
    model_file(run)
    if not run.is_dir():
        raise InputError("Is not the folder of a run.", run, "Give the folder that `beadseg-batch train` wrote.")
    if files.real_path(path).is_relative_to(files.real_path(run)):
        raise InputError("Lies in the run that it is to hold.", path, "Write it beside the run's folder.")
    found = sorted(each for each in run.rglob("*") if each.is_file() and not each.is_symlink())
    kept = [each for each in found if each.name not in _NOT_PACKED and not files.is_unfinished(each)]
    names = {each.relative_to(run).as_posix(): each for each in kept}
    sums = "".join(f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {name}\n" for name, each in names.items())
    _write_zip(path, {HASHES: sums.encode(), **names})
    return len(names)


def _write_zip(path: Path, contents: Mapping[str, bytes | Path]) -> None:
    """Write a zip file of bytes and files; the same contents give the same bytes."""

    def fill(temporary: Path) -> None:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes())

    files.ensure_folder(path.parent)
    write_atomically(path, fill)


def take_in(path: Path, out: Path) -> list[str]:
    """Make a run folder of a file that `write_run` or `write_bioimageio` wrote; return the names of its files.

    The folder appears whole or not at all. Hashes are compared, and no name leads out of the folder.

    Parameters
    ----------
    path : pathlib.Path
        The ``.zip`` file.
    out : pathlib.Path
        A folder that does not exist yet.

    Raises
    ------
    InputError
        The file is damaged, or no file of beadseg's; or `out` exists. Nothing is written.
    """
    if out.exists():
        raise InputError("Exists already.", out, "Choose a new folder; nothing was written.")
    contents = _packed(path)
    with new_folder(out) as folder:
        for name, content in contents.items():
            files.ensure_folder((folder / name).parent)
            write_atomically(folder / name, content)
        Segmenter.load(folder, device="cpu")
    return sorted(contents)


def _packed(path: Path) -> dict[str, bytes]:
    """Return the files of a run in a ``.zip`` file, by name; raises `InputError` where one is not as it was written."""
    damaged = "Copy it again, or export the run again."
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise InputError("Holds more than 16 GiB.", path, damaged)
            if HASHES in archive.namelist():
                return _verified(archive, path)
            for name in ("rdf.yaml", "bioimageio.yaml"):
                if name in archive.namelist() and MODEL in archive.namelist():
                    content = archive.read(MODEL)
                    if hashlib.sha256(content).hexdigest() not in archive.read(name).decode("utf-8", "replace"):
                        raise InputError(f"{MODEL} in it is not the file that was packed.", path, damaged)
                    return {files.FINAL: content}
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError) as error:
        raise InputError(
            f"Cannot be read as a zip file ({' '.join(str(error).split()).rstrip('.')}).", path, damaged
        ) from None
    text = "Holds no model of beadseg."
    raise InputError(text, path, "Give a file that `beadseg-batch export RUN --format zip` or `bioimageio` wrote.")


def _verified(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    contents = {}
    for line in archive.read(HASHES).decode("utf-8", "replace").splitlines():
        sha256, _, name = line.partition("  ")
        if (
            not name
            or not all(is_plain_name(part) for part in PurePosixPath(name).parts)
            or PurePosixPath(name).is_absolute()
        ):
            raise InputError(
                f"Names a file outside of the run ({files.printable(name)!r}).", path, "Get it from its source again."
            )
        try:
            contents[name] = archive.read(name)
        except KeyError:
            raise InputError(f"Lacks {name}.", path, "Copy it again, or export the run again.") from None
        if hashlib.sha256(contents[name]).hexdigest() != sha256:
            raise InputError(
                f"{name} in it is not the file that was packed.", path, "Copy it again, or export the run again."
            )
    return contents


def write_workbook(path: Path, sheets: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as an Excel workbook, one sheet each; a text is never a formula.

    Parameters
    ----------
    path : pathlib.Path
        The ``.xlsx`` file.
    sheets : mapping of str to pandas.DataFrame
        The tables by the names of their sheets.

    Raises
    ------
    ConfigError
        openpyxl is not installed.
    InputError
        A table has more rows than a sheet can hold.
    MachineError
        The file cannot be written.
    """
    require("openpyxl", "Excel")
    from openpyxl import Workbook
    from openpyxl.cell import WriteOnlyCell

    book = Workbook(write_only=True)
    for name, table in sheets.items():
        if len(table) >= 2**20:
            raise InputError(
                f"{len(table)} rows do not fit into a sheet of Excel.", name, "Use the CSV or Parquet files."
            )
        sheet = book.create_sheet(name)
        for row in ([*table.columns], *table.itertuples(index=False, name=None)):
            cells = []
            for value in row:
                cell = WriteOnlyCell(sheet, _excel_value(value))
                if isinstance(value, str):
                    cell.data_type = "s"
                cells.append(cell)
            sheet.append(cells)
    write_atomically(path, lambda file: book.save(file))


def _excel_value(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "?", value)[:32767]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
