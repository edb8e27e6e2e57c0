"""Tell how many injected annotation faults the audit finds, and how many clean samples it flags.

    python benchmarks/audit.py --samples 1000 --injections 100

Simulated tiles (256x256 px by default, 5 to 300 beads of 7 px, 25 tiles to a field of view) with true masks. For every
fault and strength (`audit_faults.py`), `--injections` samples of a data set of `--samples` get it, the others stay
clean, as in life. A fault is injected only where it can be seen: on samples with at least 20 beads (100 for the shift
of a quarter of the image, 60 and 40 for ids of a few beads). Found: a finding of that fault's code on that sample.

`clean flagged` is the share of untouched samples with any error or warning. `accurate`: shifts within 0.5 px, scales
within 0.5 %. Rows outside the bars (95 % found, 80 % of the weakest; 5 % of what is right) are marked.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import tifffile
from audit_faults import Fault, Tile, faults

from beadseg.annotation.audit import Audit, Finding, audit
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import FieldOfView, SceneConfig, Window, simulate
from beadseg.data.split import Split

if TYPE_CHECKING:
    from collections.abc import Iterator

TILES_PER_FIELD = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--injections", type=int, default=100)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults to try, e.g. shift,scale")
    parser.add_argument("--work", type=Path, help="folder for the clean tiles, kept for the next call")
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
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
        shutil.rmtree(folder / "faulty", ignore_errors=True)
        if len(list((folder / "truth").glob("*.tif"))) < arguments.samples:
            for name, image, labels in clean_tiles(arguments.samples, arguments.size, diameter, arguments.seed):
                write(folder / "clean", name, image, np.where(labels > 0, 255, 0).astype(np.uint8))
                (folder / "truth").mkdir(exist_ok=True)
                tifffile.imwrite(folder / "truth" / f"{name}.tif", labels)
        self.tiles = [known(folder, path) for path in sorted((folder / "truth").iterdir())]

    def clean_row(self) -> str:
        """Return the table's row of the data set without any fault."""
        result = self.audit(self.folder / "clean")
        codes = sorted(code for sample in result.samples for code in sample.codes)
        named = ", ".join(f"{code} {codes.count(code)}" for code in dict.fromkeys(codes))
        share = len(result.flagged) / len(self.tiles)
        return f"| none | {self.diameter:g}-px beads | 0 |  | {named or 'nothing'} | {share:.1%} of {len(self.tiles)} |"

    def audit(self, dataset: Path, split: Split | None = None) -> Audit:
        """Audit a data set; what was measured before is taken from the store."""
        return audit(Dataset.open(dataset), self.folder / "audit", split=split, workers=self.workers)

    def names_without(self, touched: list[str]) -> tuple[str, ...]:
        """Return the names of all samples but these."""
        return tuple(tile.name for tile in self.tiles if tile.name not in set(touched))

    def row(self, fault: Fault) -> str:
        """Inject a fault into some samples and return the table's row of what was found."""
        folder = self.folder / "faulty"
        shutil.copytree(self.folder / "clean", folder, copy_function=os.link)
        able = [tile for tile in self.tiles if tile.beads >= fault.least]
        chosen = [able[i] for i in sorted(self.rng.permutation(len(able))[: self.injections])]
        touched, truth = self.inject(folder, fault, chosen)
        split = Split(train=self.names_without(touched), val=tuple(touched)) if fault.changes == "split" else None
        result = self.audit(folder, split)
        shutil.rmtree(folder)
        found = {name: next((f for f in result.of(name) if f.code in fault.named), None) for name in touched}
        hits = sum(finding is not None for finding in found.values())
        exact = [right(finding, truth[name]) for name, finding in found.items() if finding is not None]
        related = {f.partner for f in result.findings} | set(touched)
        others = [tile.name for tile in self.tiles if tile.name not in related]
        flagged = len(set(result.flagged) & set(others)) / max(1, len(others))
        known = [value for value in exact if value is not None]
        accuracy = f"{np.mean(known):.1%}" if known else ""
        limit = 0.8 if fault.weakest else 0.95
        good = hits <= 0.05 * len(touched) if fault.changes == "none" else hits >= limit * len(touched)
        mark = "" if good else " **outside**"
        recall = f"{hits / len(touched):.1%}{mark}"
        return f"| {fault.name} | {fault.strength} | {len(touched)} | {recall} | {accuracy} | {flagged:.1%} |"

    def inject(
        self, folder: Path, fault: Fault, chosen: list[Tile]
    ) -> tuple[list[str], dict[str, dict[str, float | str]]]:
        """Inject a fault into the `chosen` samples; return the names touched, and what is true of each."""
        if fault.changes == "swapped":
            return swap(folder / "masks", chosen)
        truth: dict[str, dict[str, float | str]] = {}
        for tile in chosen:
            seed = int(self.rng.integers(2**31))
            array = fault.inject(tile, np.random.default_rng(seed))
            truth[tile.name] = dict(fault.truth(np.random.default_rng(seed))) if fault.truth else {}
            if fault.changes == "new sample":
                truth.pop(tile.name)
                truth[f"z-{tile.name}"] = {"partner": tile.name}
                write(folder, f"z-{tile.name}", array, tile.mask[: array.shape[0], : array.shape[1]])
            elif fault.changes in ("labels", "none"):
                (folder / "labels").mkdir(exist_ok=True)
                tifffile.imwrite(folder / "labels" / f"{tile.name}.tif", array.astype(np.uint32))
            elif fault.changes == "jpeg":
                (folder / "masks" / f"{tile.name}.png").unlink()
                iio.imwrite(folder / "masks" / f"{tile.name}.jpg", array, quality=95)
            elif fault.changes in ("masks", "images"):
                rewrite(folder / fault.changes / f"{tile.name}.png", array)
        return list(truth), truth


def swap(folder: Path, chosen: list[Tile]) -> tuple[list[str], dict[str, dict[str, float | str]]]:
    """Exchange the masks of pairs; see `Pool.inject`."""
    truth: dict[str, dict[str, float | str]] = {}
    for one, other in zip(chosen[::2], chosen[1::2], strict=False):
        rewrite(folder / f"{one.name}.png", other.mask)
        rewrite(folder / f"{other.name}.png", one.mask)
        truth |= {one.name: {"partner": other.name}, other.name: {"partner": one.name}}
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


def clean_tiles(count: int, size: int, diameter: float, seed: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, image and true labels."""
    rng = np.random.default_rng(seed + 1)
    most = 300 * (7.0 / diameter) ** 2
    for index in range(count):
        field, place = divmod(index, TILES_PER_FIELD)
        config = SceneConfig(height=size, width=size, beads=float(rng.uniform(5, most)), diameter_px=diameter)
        view = FieldOfView.draw(config, seed * 1000 + field, 5, 5)
        scene = simulate(config, 10_000 * (seed + 1) + index, Window(view, place // 5 * size, place % 5 * size))
        yield f"field{field:03d}_grid_r{place // 5}_c{place % 5}", scene.image, scene.labels


def known(folder: Path, path: Path) -> Tile:
    """Return a tile of the pool."""
    labels = tifffile.imread(path)
    image = iio.imread(folder / "clean" / "images" / f"{path.stem}.png")
    return Tile(path.stem, len(np.unique(labels)) - 1, image, labels)


def write(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, array in (("images", image), ("masks", mask)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        rewrite(folder / kind / f"{name}.png", array)


def rewrite(path: Path, array: np.ndarray) -> None:
    """Rewrite a file, which may be a link to a clean one."""
    path.unlink(missing_ok=True)
    iio.imwrite(path, array, compress_level=1)


if __name__ == "__main__":
    main()
