"""One image that does not fit into memory: blocks on disk, each as in the whole, whatever their size and order.

The network computes tiles of a fixed grid, which are kept as files. A block is separated with so much around it that
its beads are those of the whole: `Separation.unsure` says how much. A bead belongs to the block that has its seed.
Every file is written whole or not at all, so that any number of processes can work, be killed, and go on.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numcodecs import Blosc  # type: ignore[import-untyped]
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from beadseg import files
from beadseg.config.train import RgbConfig
from beadseg.data.image_io import LazyImage, open_image
from beadseg.data.ome_zarr_write import write_label_blocks
from beadseg.errors import ConfigError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, progress
from beadseg.files import ensure_folder, write_atomically
from beadseg.measure.appearance import Appearance, ImageSample, appearance, sample_of
from beadseg.model.backends import OPENVINO
from beadseg.model.inputs import Preparation, Source, luminance
from beadseg.predict.bead_size import Size
from beadseg.predict.blocks import (
    LEAN,
    NETWORK_BYTES,
    PROGRAM_BYTES,
    Means,
    network_reach,
    pad_to_multiple,
    pixels_at_once,
    sigmoid,
)
from beadseg.predict.counts import count_row
from beadseg.predict.instances import needed_diameter, separate
from beadseg.predict.prediction import bead_list
from beadseg.predict.segmenter import Segmenter
from beadseg.predict.windows import BroughtBack, Plane, Prepared, Resized
from beadseg.runtime.process import helpers
from beadseg.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.config import ObjectConfig, PredictConfig, TrainConfig
    from beadseg.model.backends import Backend
    from beadseg.model.networks import Network
    from beadseg.predict.instances import Separation

STEP = 512
"""Sides of what the network computes at a time are multiples of so many px, without what it sees around that."""
AROUND = 8.0
"""So many bead diameters around a block are looked at first; more where that is not enough."""
ROWS_AT_ONCE = 100_000
"""Rows of a table that become text together."""


def predict_large(
    segmenter: Segmenter,
    path: Path,
    name: str,
    folder: Path,
    work: Path,
    means: Means,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> list[dict[str, Any]]:
    """Predict an image in blocks, and return its row of ``counts.csv``.

    Parameters
    ----------
    segmenter : Segmenter
        The model.
    path : pathlib.Path
        The image.
    name : str
        Name of its results.
    folder : pathlib.Path
        Where they are written, laid out as a prediction folder: ``labels/NAME.ome.zarr``, ``beads/NAME.csv`` and
        ``beads/NAME.parquet``.
    work : pathlib.Path
        Where blocks are kept until all are there; a later call goes on with them. It is not removed.
    means : Means
        Memory and processes.
    on_event, stop
        Progress, and the flag that ends the work between tiles.

    Raises
    ------
    ConfigError, InputError
        Blocks would not give what the whole image would.
    MachineError
        The folder cannot be written to.
    """
    image = open_image(path)
    large = LargeImage(segmenter, image, ensure_folder(work), means, path)
    blocks = [*large.blocks]
    with helpers(_help, _calls(segmenter, path, work, means)):
        for done, block in enumerate(_in_turn(blocks, 0, means)):
            if stop is not None:
                stop.check()
            on_event(progress("blocks", done, len(blocks)))
            large.found(block, stop)
    on_event(progress("blocks", len(blocks), len(blocks)))
    return [large.finish(name, folder)]


def _in_turn(blocks: list[tuple[int, int]], number: int, means: Means) -> list[tuple[int, int]]:
    """Return the blocks in the order of a process: its own share, then the others' from their ends."""
    blocks = blocks[::-1] if means.backwards else blocks
    first, last = (len(blocks) * n // means.processes for n in (number, number + 1))
    return [*blocks[first:last], *reversed(blocks[last:]), *reversed(blocks[:first])]


def _calls(segmenter: Segmenter, path: Path, work: Path, means: Means) -> list[tuple[Any, ...]]:
    """Return the arguments of `_help` in the processes that compute blocks beside this one."""
    model = segmenter.network, segmenter.config, segmenter.fingerprint, segmenter.device, segmenter.options
    threads = torch.get_num_threads()
    told = path, work, means
    return [(*model, segmenter.model_sha256, *told, number, threads) for number in range(1, means.processes)]


def _help(
    network: Network, config: TrainConfig, fingerprint: dict[str, Any], device: torch.device, options: PredictConfig,
    sha256: str, path: Path, work: Path, means: Means, number: int, threads: int,
) -> None:  # fmt: skip
    torch.set_num_threads(threads)
    segmenter = Segmenter(network, config, fingerprint, device)
    segmenter.options, segmenter.model_sha256 = options, sha256
    large = LargeImage(segmenter, open_image(path), work, means, path)
    for block in _in_turn([*large.blocks], number, means):
        large.found(block)


class LargeImage:
    """An image whose blocks are computed when they are asked for, and kept in a folder."""

    def __init__(self, segmenter: Segmenter, image: LazyImage, work: Path, means: Means, path: Path) -> None:
        _refuse(segmenter, image, path, means)
        self.segmenter, self.image, self.work, self.means, self.path = segmenter, image, work, means, path
        self.objects, self.config = segmenter.options.objects, segmenter.config.image
        self.plane = Plane(image, segmenter.options.channel, self.config.channels)
        self.side = means.block(path)
        self.size = self._size()
        self.factor = segmenter.factor(self.size)

    @property
    def blocks(self) -> Iterator[tuple[int, int]]:
        """First row and column of every block."""
        rows, columns = (range(0, length, self.side) for length in self.image.size)
        return itertools.product(rows, columns)

    def _size(self) -> Size:
        """Return the size of the beads; it is looked for once."""
        path = self.work / "size.json"
        if not path.exists():
            size = self.segmenter.size(self.plane, self.image.pixel_size_um)  # type: ignore[arg-type]
            write_atomically(path, json.dumps({"diameter": size.diameter, "doubt": size.doubt}))
        return Size(**json.loads(path.read_text(encoding="utf-8")))

    def _prepared(self, source: Source, factor: float, name: str) -> Prepared:
        """Return a source as the network sees it; its background is measured once."""
        path, config = self.work / f"{name}.npz", self.config.seen_at(factor)
        if not path.exists():
            found = Preparation.of(source, config)
            _save(path, found.arrays())
        with np.load(path) as kept:
            return Prepared(source, Preparation.of_arrays(config, dict(kept)))

    @cached_property
    def maps(self) -> BroughtBack:
        """The network's maps in the pixels of the image."""
        size = self.image.size
        if self.size.diameter is None:
            return BroughtBack(_Nothing(len(self.segmenter.config.network.heads[:2])), size, size)
        seen = (max(1, round(size[0] * self.factor)), max(1, round(size[1] * self.factor)))
        source: Source = self.plane
        if self.factor < 1:
            source = self._prepared(Resized(source, seen), 1.0, "network")
        else:
            source = self._prepared(source, self.factor, "network")
            source = Resized(source, seen) if self.factor > 1 else source
        return BroughtBack(_Tiles(source, self.segmenter.backend(), self.work, self._tile()), seen, size)

    def _tile(self) -> int:
        """Return the side of what the network computes at a time: fixed, since another one may round otherwise."""
        backend, tiling = self.segmenter.backend(), self.segmenter.options.tiling
        reach = _reach(self.segmenter) or 0
        side = max(STEP, int(math.sqrt(pixels_at_once(backend, tiling)) - 2 * reach) // STEP * STEP)
        taken = NETWORK_BYTES * (1 if backend.name == OPENVINO else LEAN) * (side + 2 * reach) ** 2
        if taken > self.means.free:
            text = f"The network takes {(taken + PROGRAM_BYTES) / 1e9:.1f} GB of memory in every process."
            remedy = "Give more --memory, or set tiling.whole_image_pixels to a quarter of what it is."
            raise InputError(text, self.path, remedy)
        return side

    @property
    def diameter(self) -> float:
        """Of beads, px of the image."""
        return needed_diameter(self.objects) / self.factor

    def found(self, block: tuple[int, int], stop: StopFlag | None = None) -> Path:
        """Return the file of what was found in a block, which is computed unless it is there."""
        path = self.work / f"block-{self.side}-{block[0]}-{block[1]}.npz"
        if not path.exists():
            part = self._separated(block, stop)
            found = part.found(self.objects, self.plane, self.image)
            _save(path, found)
        return path

    def _separated(self, block: tuple[int, int], stop: StopFlag | None) -> _Part:
        """Separate the beads of a block with as much around it as makes them sure."""
        around = math.ceil(AROUND * self.diameter) + 16
        size = self.image.size
        while True:
            rows, columns = (
                slice(max(0, at - around), min(length, at + self.side + around))
                for at, length in zip(block, size, strict=True)
            )
            cut = (rows.start > 0, rows.stop < size[0], columns.start > 0, columns.stop < size[1])
            if (rows.stop - rows.start) * (columns.stop - columns.start) > self.means.pixels:
                at = f"row {block[0]}, column {block[1]}"
                text = f"Something near {at} is too large to be told from a bead in {around} px around a block."
                raise InputError(text, self.path, "Give more memory, or crop the image.")
            if stop is not None:
                stop.check()
            maps = self.maps.part(rows, columns)
            centre = maps[1] if len(maps) > 1 else None
            separation = separate(maps[0], self.objects, centre, self.diameter, cut, (rows.start, columns.start))
            if not any(cut) or separation.unsure < around:
                return _Part(block, self.side, rows, columns, maps[0], separation)
            around = max(2 * around, separation.unsure + 16)

    def finish(self, name: str, folder: Path) -> dict[str, Any]:
        """Put the blocks together: number the beads, write labels and tables, return the row of counts."""
        kept = [self.found(block) for block in self.blocks]
        parts = [_read(path, but="labels") for path in kept]
        keys = np.concatenate([part["keys"][part["own"]] for part in parts])
        order = np.argsort(keys)
        ids = keys[order]
        columns = [key for key in parts[0] if key.startswith("column:")]
        table = pd.DataFrame({c.removeprefix("column:"): np.concatenate([p[c] for p in parts])[order] for c in columns})
        table["id"] = np.arange(1, len(ids) + 1)
        table["group"] = _groups(np.searchsorted(ids, np.hstack([part["pairs"] for part in parts])), len(ids))
        candidates = np.concatenate([part["candidates"] for part in parts])
        integral = math.fsum(float(part["integral"]) for part in parts) * self.factor**2
        del parts
        labels = ensure_folder(folder / files.LABELS) / f"{name}.ome.zarr"
        bead = [0]
        write_label_blocks(labels, self.image.size, self._labels(kept, ids, bead), self.image.pixel_size_um)
        _write_table(ensure_folder(folder / files.BEADS) / name, table)
        found: Any = LargePrediction(self, table, candidates, integral, bead[0] / math.prod(self.image.size), labels)
        return count_row(name, "", self.image, found, self.segmenter)

    def _labels(
        self, kept: list[Path], ids: NDArray[np.int64], bead: list[int]
    ) -> Iterator[tuple[int, int, NDArray[np.uint32]]]:
        """Yield the labels of every block with their ids in the whole; `bead` counts their pixels."""
        for (top, left), path in zip(self.blocks, kept, strict=True):
            part = _read(path)
            shape = [min(self.side, length - at) for at, length in zip((top, left), self.image.size, strict=True)]
            numbers = np.concatenate([[0], np.searchsorted(ids, part["keys"]) + 1]).astype(np.uint32)
            local = np.frombuffer(Blosc().decode(part["labels"].tobytes()), np.uint32).reshape(shape)
            if not np.isin(part["keys"][np.unique(local[local > 0]) - 1], ids).all():
                raise RuntimeError(f"Blocks of {self.path} disagree.")  # a fault of beadseg, which must not pass
            bead[0] += int(np.count_nonzero(local))
            yield top, left, numbers[local]


def _refuse(segmenter: Segmenter, image: LazyImage, path: Path, means: Means) -> None:
    """Raise where blocks would not give what the whole image would, or where there is no room."""
    if _reach(segmenter) is None:
        text = "This network sees the whole image at once, so that it cannot compute it in blocks."
        raise ConfigError(text, path, "Use more memory, or train with network.norm=batch.")
    if not segmenter.options.objects.separate:
        text = "Touching beads that are left joined cannot be found in blocks."
        raise ConfigError(text, "objects.separate", "Use more memory, or leave out that option.")
    if image.stack_shape:
        raise InputError("Is a stack, which is not predicted in blocks.", path, "Save its planes as single images.")
    if not image.in_parts and math.prod(image.shape) * image.dtype.itemsize > means.memory / means.processes / 4:
        text = "Cannot be read in parts, and does not fit into memory."
        raise InputError(text, path, "Save it as OME-Zarr or as a tiled TIFF.")


def _reach(segmenter: Segmenter) -> int | None:
    """Return how far from a pixel the network sees, px; None where that has no end."""
    channels = 3 if isinstance(segmenter.config.image.channels, RgbConfig) else 1
    return network_reach(segmenter.network, channels)


@dataclass(frozen=True)
class _Nothing:
    """The maps of an image in which no beads are looked for."""

    heads: int

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        return np.zeros((self.heads, rows.stop - rows.start, columns.stop - columns.start), np.float32)


@dataclass(frozen=True, eq=False)
class _Tiles:
    """What the network says of a prepared image, tile by tile; tiles are computed when they are needed, and kept."""

    x: Source
    backend: Backend
    work: Path
    side: int

    def part(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return rows and columns (K, Y, X): the probability of beads, and that of centres where there is one."""
        numbers = [range(each.start // self.side, -(-each.stop // self.side)) for each in (rows, columns)]
        return np.concatenate(
            [
                np.concatenate([self._part((row, column), rows, columns) for column in numbers[1]], axis=2)
                for row in numbers[0]
            ],
            axis=1,
        )

    def _part(self, at: tuple[int, int], rows: slice, columns: slice) -> NDArray[np.float32]:
        """Return what a tile has of rows and columns."""
        down, across = (
            slice(max(0, each.start - n * self.side), each.stop - n * self.side)
            for each, n in zip((rows, columns), at, strict=True)
        )
        return self._tile(*at)[:, down, across]

    def _tile(self, row: int, column: int) -> NDArray[np.float32]:
        path = self.work / f"tile-{row}-{column}.npy"
        if not path.exists():
            values = self._computed(row * self.side, column * self.side)
            write_atomically(path, lambda file: np.save(file, values))
        kept: NDArray[np.float32] = np.load(path, mmap_mode="r")
        return kept

    def _computed(self, top: int, left: int) -> NDArray[np.float32]:
        network, (channels, height, width) = self.backend.network, self.x.shape
        reach, multiple = network_reach(network, channels) or 0, int(network.size_multiple)  # type: ignore[arg-type]
        above, before = max(0, top - reach), max(0, left - reach)
        rows = slice(above, min(height, top + self.side + reach))
        seen = self.x.part(rows, slice(before, min(width, left + self.side + reach)))
        logits = self.backend(pad_to_multiple(seen[np.newaxis], multiple))[0][:2, top - above :, left - before :]
        return sigmoid(logits, (min(self.side, height - top), min(self.side, width - left)))


@dataclass(frozen=True, eq=False)
class _Part:
    """The beads of a block and around it."""

    block: tuple[int, int]
    side: int
    rows: slice
    columns: slice
    probability: NDArray[np.float32]
    separation: Separation

    def found(self, objects: ObjectConfig, plane: Plane, image: LazyImage) -> dict[str, NDArray[Any]]:
        """Return what is kept of the block.

        Beads are known by the place of their seed in the image, row by row (``keys``); ``own`` are those of this block.
        """
        separation, width = self.separation, image.size[1]
        labels = separation.chosen(objects)
        corner = (self.rows.start, self.columns.start)
        intensity = luminance(plane.part(self.rows, self.columns))
        table = bead_list(labels, separation, objects, self.probability, intensity, image.pixel_size_um, corner)
        seeds = separation.positions.astype(np.int64) + corner
        chosen = seeds[self._candidates(labels, len(table))]
        own, mine = self._inside(chosen), self._inside(seeds)
        keys = chosen[:, 0] * width + chosen[:, 1]
        core = self._core(labels)
        pairs = _touching(labels)
        likely = np.zeros(labels.shape, np.float64)
        likely.reshape(-1)[separation.pixels] = separation.probability
        return {
            **{f"column:{name}": table[name].to_numpy()[own] for name in table.columns},
            "keys": keys,
            "own": own,
            "pairs": keys[pairs[:, own[pairs].any(axis=0)]],
            "candidates": seeds[mine],
            # Exact whatever the order: the values are multiples of a power of two, and few enough of them.
            "integral": self._core(likely).sum(),
            "labels": np.frombuffer(Blosc("zstd", 1, Blosc.SHUFFLE).encode(core), np.uint8),
        }

    def _core(self, plane: NDArray[Any]) -> NDArray[Any]:
        """Return the part (Y, X) that is the block."""
        top, left = self.block[0] - self.rows.start, self.block[1] - self.columns.start
        return np.ascontiguousarray(plane[top : top + self.side, left : left + self.side])

    def _inside(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        within = (places >= self.block) & (places < np.add(self.block, self.side))
        return np.asarray(within.all(axis=1))

    def _candidates(self, labels: NDArray[np.uint32], count: int) -> NDArray[np.int64]:
        """Return the candidate, from 0, of each of the labels 1 to `count`."""
        number = labels.reshape(-1)[self.separation.pixels]
        found = np.zeros(count + 1, np.int64)
        found[number] = self.separation.owner.astype(np.int64) - 1
        return found[1:]


def _touching(labels: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Return the pairs (2, P) of labels, from 0, that touch over sides or corners."""
    beside = ((labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:]), (labels[:-1, :-1], labels[1:, 1:]),
              (labels[:-1, 1:], labels[1:, :-1]))  # fmt: skip
    met = [np.stack([one[at], other[at]]) for one, other in beside for at in [(one != other) & (one > 0) & (other > 0)]]
    return np.asarray(np.unique(np.hstack(met).astype(np.int64), axis=1) - 1)


def _groups(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return how many beads are in the group of each."""
    if not count:
        return np.zeros(0, np.int64)
    touch = sparse.coo_array((np.ones(pairs.shape[1], bool), tuple(pairs)), shape=(count, count))
    _, group = connected_components(touch, directed=False)
    return np.asarray(np.bincount(group)[group], np.int64)


def _save(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    write_atomically(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def _read(path: Path, but: str = "") -> dict[str, NDArray[Any]]:
    with np.load(path) as kept:
        return {key: kept[key] for key in kept.files if key != but}


def _write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a bead table as CSV, some rows at a time, and as Parquet."""

    def write(file: Path) -> None:
        with file.open("w", encoding="utf-8", newline="\n") as stream:
            for start in range(0, max(1, len(table)), ROWS_AT_ONCE):
                text = csv_text(table.iloc[start : start + ROWS_AT_ONCE], "%.6g")
                stream.write(text.split("\n", 1)[1] if start else text)

    write_atomically(path.with_name(f"{path.name}.parquet"), partial(table.to_parquet, index=False))
    write_atomically(path.with_name(f"{path.name}.csv"), write)


@dataclass(frozen=True, eq=False)
class LargePrediction:
    """What `count_row` asks of a `beadseg.predict.prediction.Prediction`, of an image whose pixels are on disk."""

    large: LargeImage
    beads: pd.DataFrame
    candidates: NDArray[np.int64]
    integral: float
    coverage: float
    labels: Path

    @property
    def shape(self) -> tuple[int, int]:
        """Y and X, px."""
        return self.large.image.size

    @property
    def objects(self) -> ObjectConfig:
        """What was chosen."""
        return self.large.objects

    @property
    def every(self) -> int:
        """Number of beads, counted or not."""
        return len(self.beads)

    @property
    def count(self) -> int:
        """Number of beads that count."""
        return int(self.beads["counted"].sum())

    @property
    def diameter(self) -> float:
        """The bead diameter that was expected, px of the image."""
        return self.large.diameter

    @property
    def doubt(self) -> str:
        """Why the size of the beads is not sure."""
        return self.large.size.doubt

    @property
    def seen_pixels(self) -> float:
        """Pixels of the image as the network saw it."""
        return float(math.prod(self.shape)) * self.large.factor**2

    @property
    def intensity(self) -> _Brightness:
        """Brightness of the image."""
        return _Brightness(self.large.plane)

    def appearance(self, diameter: float) -> Appearance | None:
        """Return what the image looks like, see `beadseg.predict.prediction.Prediction.appearance`."""
        import zarr

        large, training = self.large, self.large.segmenter.appearance
        if training is None:
            return None
        x: Any = large._prepared(large.plane, large.factor, "appearance")
        sample: ImageSample = sample_of(large.plane, x, large.config, training.diameter / large.factor)  # type: ignore[arg-type]
        labels: Any = zarr.open_array(str(self.labels / "0"), mode="r")
        first, last = (_Head(large.maps, at) for at in (0, min(1, len(large.segmenter.config.network.heads) - 1)))
        found = appearance(sample, labels, first, last, self.candidates, diameter / large.factor)  # type: ignore[arg-type]
        return found if large.factor == 1 else found.seen_at(large.factor)


@dataclass(frozen=True)
class _Brightness:
    plane: Plane

    @property
    def shape(self) -> tuple[int, int]:
        return self.plane.shape[1], self.plane.shape[2]

    def __getitem__(self, rows: slice) -> NDArray[np.float32]:
        return luminance(self.plane[:, rows, :])


@dataclass(frozen=True)
class _Head:
    """One of the maps, sliced as an array is."""

    maps: BroughtBack
    number: int

    def __getitem__(self, where: tuple[slice, slice]) -> NDArray[np.float32]:
        values: NDArray[np.float32] = self.maps.part(*where)[self.number]
        return values
