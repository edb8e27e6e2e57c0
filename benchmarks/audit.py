"""Tell how many injected annotation faults the audit finds, how many clean samples it flags, and how fast it is.

    python benchmarks/audit.py --samples 1000 --injections 100

Simulated tiles (256x256 px by default, 5 to 300 beads of 7 px, 25 tiles to a field of view) with true masks. For every
fault and strength, `--injections` samples of a data set of `--samples` get it, the others stay clean, as in life. A
fault is injected only where it can be seen: on samples with at least 20 beads. The mask of 7-px beads eroded by 3 px is
empty, so 3 px are eroded from 12-px beads. Found: a finding of that fault's code on that sample.

`clean flagged` is the share of untouched samples with any error or warning. `accurate`: shifts within 0.5 px, scales
within 0.5 %.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
from scipy import ndimage

from beadseg.annotation.audit import Audit, Finding, audit
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import FieldOfView, SceneConfig, Window, simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TILES_PER_FIELD = 25
OBSERVABLE = 20
NEIGHBOUR = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class Tile:
    """A simulated tile with its true labels and number of beads."""

    name: str
    beads: int
    image: np.ndarray
    labels: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Return the true mask, 0 and 255."""
        return np.where(self.labels > 0, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class Fault:
    """A fault of one strength: what it does to a tile, and what must be found."""

    name: str
    strength: str
    codes: tuple[str, ...]
    inject: Callable[[Tile, np.random.Generator], np.ndarray]
    diameter: float = 7.0
    weakest: bool = False
    truth: Callable[[np.random.Generator], dict[str, float]] | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--injections", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--speed-tiles", type=int, default=1000)
    parser.add_argument("--only", default="", help="faults to try, e.g. shift,scale")
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if not only or "speed" in only:
            speed(work / "speed", arguments.speed_tiles, arguments.workers, arguments.seed)
        pools: dict[float, Pool] = {}
        print("| fault | strength | injected | found | right partner or accurate | clean flagged |")
        print("|" + " --- |" * 6)
        for fault in faults():
            if only and fault.name not in only:
                continue
            if fault.diameter not in pools:
                pools[fault.diameter] = Pool(work / f"pool-{fault.diameter:g}", fault.diameter, arguments)
                print(pools[fault.diameter].clean_row(), flush=True)
            print(pools[fault.diameter].row(fault), flush=True)


class Pool:
    """Clean tiles on disk, and data sets in which some of them have a fault."""

    def __init__(self, folder: Path, diameter: float, arguments: argparse.Namespace) -> None:
        self.folder = folder
        self.diameter = diameter
        self.workers = arguments.workers
        self.injections = arguments.injections
        self.rng = np.random.default_rng(arguments.seed)
        self.tiles = list(clean_tiles(arguments.samples, arguments.size, diameter, arguments.seed))
        self.counts: list[float] = []
        for tile in self.tiles:
            write(folder / "clean", tile.name, tile.image, tile.mask)

    def clean_row(self) -> str:
        """Return the table's row of the data set without any fault."""
        result = self.audit(self.folder / "clean")
        codes = sorted(code for sample in result.samples for code in sample.codes)
        named = ", ".join(f"{code} {codes.count(code)}" for code in dict.fromkeys(codes))
        share = len(result.flagged) / len(self.tiles)
        return f"| none | {self.diameter:g}-px beads | 0 |  | {named or 'nothing'} | {share:.1%} of {len(self.tiles)} |"

    def audit(self, dataset: Path) -> Audit:
        """Audit a data set; what was measured before is taken from the store."""
        return audit(Dataset.open(dataset), self.folder / "audit", workers=self.workers)

    def row(self, fault: Fault) -> str:
        """Inject a fault into some samples and return the table's row of what was found."""
        folder = self.folder / "faulty"
        shutil.copytree(self.folder / "clean", folder, copy_function=os.link)
        able = [tile for tile in self.tiles if tile.beads >= OBSERVABLE]
        chosen = [able[i] for i in sorted(self.rng.permutation(len(able))[: self.injections])]
        touched, truth = self.inject(folder, fault, chosen)
        result = self.audit(folder)
        shutil.rmtree(folder)
        found = {name: next((f for f in result.of(name) if f.code in fault.codes), None) for name in touched}
        hits = sum(finding is not None for finding in found.values())
        exact = [right(finding, truth[name]) for name, finding in found.items() if finding is not None]
        related = {f.partner for f in result.findings} | set(touched)
        others = [tile.name for tile in self.tiles if tile.name not in related]
        flagged = len(set(result.flagged) & set(others)) / max(1, len(others))
        known = [value for value in exact if value is not None]
        accuracy = f"{np.mean(known):.1%}" if known else ""
        limit = 0.8 if fault.weakest else 0.95
        mark = "" if hits >= limit * len(touched) else " **below**"
        recall = f"{hits / len(touched):.1%}{mark}"
        return f"| {fault.name} | {fault.strength} | {len(touched)} | {recall} | {accuracy} | {flagged:.1%} |"

    def inject(
        self, folder: Path, fault: Fault, chosen: list[Tile]
    ) -> tuple[list[str], dict[str, dict[str, float | str]]]:
        """Inject a fault into the `chosen` samples; return the names touched, and what is true of each."""
        truth: dict[str, dict[str, float | str]] = {}
        if fault.name == "swapped":
            pairs = list(zip(chosen[::2], chosen[1::2], strict=False))
            for one, other in pairs:
                rewrite(folder / "masks" / f"{one.name}.png", other.mask)
                rewrite(folder / "masks" / f"{other.name}.png", one.mask)
                truth |= {one.name: {"partner": other.name}, other.name: {"partner": one.name}}
            return list(truth), truth
        for tile in chosen:
            if fault.name == "duplicate":
                name = f"z-{tile.name}"
                image = fault.inject(tile, self.rng)
                write(folder, name, image, tile.mask[: image.shape[0], : image.shape[1]])
                truth[name] = {"partner": tile.name}
                continue
            seed = int(self.rng.integers(2**31))
            rewrite(folder / "masks" / f"{tile.name}.png", fault.inject(tile, np.random.default_rng(seed)))
            truth[tile.name] = dict(fault.truth(np.random.default_rng(seed))) if fault.truth else {}
        return list(truth), truth


def right(finding: Finding, truth: dict[str, float | str]) -> bool | None:
    """Tell whether a finding's numbers or partner are right; None where nothing is known."""
    if "partner" in truth:
        return finding.partner == truth["partner"]
    if "dy" in truth:
        off = np.hypot(finding.values["dy"] - float(truth["dy"]), finding.values["dx"] - float(truth["dx"]))
        return bool(off <= 0.5)
    if "scale" in truth:
        return bool(abs(finding.value - float(truth["scale"])) <= 0.5)
    return None


def clean_tiles(count: int, size: int, diameter: float, seed: int) -> Iterator[Tile]:
    rng = np.random.default_rng(seed + 1)
    most = 300 * (7.0 / diameter) ** 2
    for index in range(count):
        field, place = divmod(index, TILES_PER_FIELD)
        config = SceneConfig(height=size, width=size, beads=float(rng.uniform(5, most)), diameter_px=diameter)
        view = FieldOfView.draw(config, seed * 1000 + field, 5, 5)
        scene = simulate(config, 10_000 * (seed + 1) + index, Window(view, place // 5 * size, place % 5 * size))
        name = f"field{field:03d}_grid_r{place // 5}_c{place % 5}"
        yield Tile(name, len(scene.beads), scene.image, scene.labels)


def faults() -> list[Fault]:
    made: list[Fault] = []
    for px in range(1, 9):
        made.append(Fault("shift", f"{px} px", ("shift",), lambda t, r, px=px: shifted(t, r, px), weakest=px == 1,
                          truth=lambda r, px=px: dict(zip(("dy", "dx"), direction(r, px), strict=True))))  # fmt: skip
    for percent in (1, 2, 3, 4):
        made.append(Fault("scale", f"{percent} %", ("scale",), lambda t, r, p=percent: scaled(t, r, p),
                          weakest=percent == 1, truth=lambda r, p=percent: {"scale": sign(r) * p}))  # fmt: skip
    for percent in (10, 20, 30, 40, 50, 60):
        made.append(Fault("partial", f"{percent} %", ("partial",), lambda t, r, p=percent: unmarked(t, r, p / 100),
                          weakest=percent == 10))  # fmt: skip
    made.append(Fault("swapped", "two masks", ("mismatch",), lambda t, r: t.mask))
    for px in (1, 2, 3):
        made.append(Fault("dilated", f"{px} px", ("dilated",),
                          lambda t, r, px=px: 255 * ndimage.binary_dilation(t.mask, iterations=px).astype(np.uint8),
                          weakest=px == 1))  # fmt: skip
    for px, diameter in ((1, 7.0), (2, 7.0)):
        made.append(Fault("eroded", f"{px} px", ("eroded",), lambda t, r, px=px: eroded(t, px), diameter, px == 1))
    for number, name in ((4, "mirrored"), (6, "upside down"), (1, "quarter turn"), (2, "half turn"), (5, "transposed")):
        made.append(Fault("orientation", name, ("orientation",), lambda t, r, n=number: turned(t.mask, n)))
    for sigma in (0.7, 1.5):
        made.append(Fault("soft", f"blurred by {sigma} px", ("soft",),
                          lambda t, r, s=sigma: blurred(t, s),
                          weakest=sigma == 0.7))  # fmt: skip
    made.append(Fault("duplicate", "same file", ("duplicate",), lambda t, r: t.image))
    made.append(Fault("duplicate", "mirrored", ("duplicate",), lambda t, r: np.ascontiguousarray(t.image[:, ::-1])))
    made.append(Fault("duplicate", "darker, noise, JPEG", ("duplicate",), resaved))
    made.append(Fault("duplicate", "three quarters", ("duplicate",),
                      lambda t, r: cut_out(t),
                      weakest=True))  # fmt: skip
    made.append(Fault("eroded", "3 px (12-px beads)", ("eroded",), lambda t, r: eroded(t, 3), 12.0))
    return made


def direction(rng: np.random.Generator, px: int) -> tuple[int, int]:
    """Return a shift of about `px` in whole pixels: dy, dx."""
    angle = float(rng.uniform(0, 2 * np.pi))
    if px == 1:
        return NEIGHBOUR[int(2 * angle / np.pi) % 4]
    return round(px * np.sin(angle)), round(px * np.cos(angle))


def sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def shifted(tile: Tile, rng: np.random.Generator, px: int) -> np.ndarray:
    return ndimage.shift(tile.mask, direction(rng, px), order=0)


def scaled(tile: Tile, rng: np.random.Generator, percent: float) -> np.ndarray:
    factor = 1 + sign(rng) * percent / 100
    centre = (np.array(tile.mask.shape) - 1) / 2
    return ndimage.affine_transform(tile.mask, np.eye(2) / factor, centre - centre / factor, order=0)


def unmarked(tile: Tile, rng: np.random.Generator, share: float) -> np.ndarray:
    ids = np.arange(1, int(tile.labels.max()) + 1)
    gone = rng.permutation(ids)[: max(1, round(share * len(ids)))]
    return np.where(np.isin(tile.labels, gone), 0, tile.mask).astype(np.uint8)


def eroded(tile: Tile, px: int) -> np.ndarray:
    return 255 * ndimage.binary_erosion(tile.mask, iterations=px).astype(np.uint8)


def blurred(tile: Tile, sigma: float) -> np.ndarray:
    return np.rint(ndimage.gaussian_filter(tile.mask.astype(float), sigma)).astype(np.uint8)


def cut_out(tile: Tile) -> np.ndarray:
    height, width = tile.mask.shape
    return np.ascontiguousarray(tile.image[: height * 7 // 8, : width * 6 // 7])


def turned(mask: np.ndarray, number: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(np.fliplr(mask) if number >= 4 else mask, number % 4))


def resaved(tile: Tile, rng: np.random.Generator) -> np.ndarray:
    noisy = np.clip(0.85 * tile.image + rng.normal(0, 2, tile.image.shape), 0, 255).astype(np.uint8)
    return iio.imread(iio.imwrite("<bytes>", noisy, extension=".jpg", quality=80), extension=".jpg")


def write(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, array in (("images", image), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        rewrite(folder / kind / f"{name}.png", array)


def rewrite(path: Path, array: np.ndarray) -> None:
    """Write a file anew: it may be a link to a clean one."""
    path.unlink(missing_ok=True)
    iio.imwrite(path, array, compress_level=1)


def speed(folder: Path, count: int, workers: int, seed: int) -> None:
    for tile in clean_tiles(count, 512, 7.0, seed + 7):
        write(folder, tile.name, tile.image, tile.mask)
    start, cpu = time.perf_counter(), time.process_time()
    audit(Dataset.open(folder), workers=workers)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(f"{count} tiles of 512x512: {count / wall:.1f} tiles/s with {workers} threads, {1000 * cpu / count:.0f} ms of"
          " one core per tile, reading and bead size included.")  # fmt: skip


if __name__ == "__main__":
    main()
