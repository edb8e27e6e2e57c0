"""How many annotated tiles are enough: masks or points alone, from the general model or from nothing, table by table.

    python benchmarks/finetune.py DATASET --split-file DATASET/split.csv --out runs/finetune --exclude 'synthetic_*'

Trains on 3, 8 and all training tiles of a fixed split, spread over the densities: with their masks, or with points
alone, made from the masks as training divides them, unclear clumps ignored. ``half-unet`` starts from the general
model; ``unet`` starts from nothing, for about as many CPU seconds. Prints the general model without training, then per
run: Jaccard of the validation tiles (mean over images; they keep their masks), F1 and count bias on the crops marked by
eye (`gold/README.md`), and CPU seconds of the training, all of it.

Tiles with marked crops may be among the training tiles: their masks are seen, the marks are not. The same command goes
on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pandas as pd
from general_sets import gold_set, score

from beadseg import files
from beadseg.cli.config_options import train_config, use_threads
from beadseg.data.dataset import Dataset
from beadseg.data.split import Split
from beadseg.measure.matching import Detection
from beadseg.measure.scores import aggregate, count_overlap
from beadseg.predict.segmenter import Segmenter
from beadseg.text import csv_text
from beadseg.training.prepare import prepare
from beadseg.training.run import train
from beadseg.training.targets import Guide, known_beads

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("tiles", "annotation", "network", "Jaccard, images", "F1, marked crops", "count bias", "CPU s")
SECONDS_OF_STEP = 0.16
"""CPU seconds of a step of `unet` with one thread, by which its number of steps is chosen."""


@dataclass(frozen=True)
class Result:
    """One row of the table."""

    tiles: int
    annotation: str
    network: str
    jaccard: float | None
    f1: float
    bias: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--tiles", default="3,8,41", help="how many training tiles, comma-separated")
    parser.add_argument("--set", action="append", default=[], dest="changes", help="of the preset, e.g. epochs=2")
    parser.add_argument("--only", default="", help="comma-separated runs such as 3-masks-half-unet")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    split = Split.from_csv(arguments.split_file)
    masks = Dataset.open(arguments.dataset, exclude=arguments.exclude)
    sources = {"masks": masks, "points": pointed(masks, split, arguments.out / "points")}
    results = [scored(Segmenter.load("general"), 0, "none", "general", masks, split, 0.0)]
    show(results)
    wanted = set(filter(None, arguments.only.split(",")))
    counts = [int(count) for count in arguments.tiles.split(",")]
    for network, count, annotation in product(("half-unet", "unet"), counts, sources):
        name = f"{count}-{annotation}-{network}"
        if wanted and name not in wanted:
            continue
        chosen = spread(split, masks, count)
        seconds = trained(sources[annotation], chosen, network, arguments.out / name, arguments.changes)
        segmenter = Segmenter.load(arguments.out / name)
        results.append(scored(segmenter, len(chosen.train), annotation, network, masks, split, seconds))
        show(results)


def pointed(masks: Dataset, split: Split, root: Path) -> Dataset:
    """Return a dataset whose training tiles have points alone, with an ignore mask over unclear clumps."""
    if not (root / "done").exists():
        shutil.rmtree(root, ignore_errors=True)
        for name in (files.IMAGES, files.POINTS, files.MASKS, files.IGNORE):
            (root / name).mkdir(parents=True)
        config = prepare(masks, train_config("dense", None, None, [], None, None, None), split).config
        guide = Guide(config)
        for sample in masks:
            shutil.copy(sample.image_path, root / files.IMAGES)
            if sample.name not in split.train:
                shutil.copy(str(sample.mask_path), root / files.MASKS)
                continue
            _, pixels, target = next(iter(sample.planes()))
            found = known_beads(target, config.predict.objects, guide.seeds(pixels, target, config.predict.objects))
            table = pd.DataFrame(found.centres, columns=["y", "x"])
            (root / files.POINTS / f"{sample.name}.csv").write_text(csv_text(table, "%.6g"), encoding="utf-8")
            if found.certain is not None and not found.certain.all():
                write_mask(root / files.IGNORE / f"{sample.name}.png", ~found.certain)
        (root / "done").touch()
    return Dataset.open(root)


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask (Y, X) as PNG, 0 and 255."""
    iio.imwrite(path, np.where(mask, 255, 0).astype(np.uint8))


def spread(split: Split, dataset: Dataset, count: int) -> Split:
    """Return the split with `count` of its training tiles, evenly spread over the number of objects."""
    if count >= len(split.train):
        return split
    objects = {name: dataset[name].read_target().objects for name in split.train}
    order = sorted(split.train, key=lambda name: (objects[name], name))
    at = np.linspace(0, len(order) - 1, 2 * count + 1).round().astype(int)[1::2]
    return Split(train=tuple(order[i] for i in at), val=split.val)


def trained(dataset: Dataset, split: Split, network: str, folder: Path, changes: Sequence[str]) -> float:
    """Train, unless that was done; return the CPU seconds. `unet` gets as many as `half-unet` took beside it."""
    kept = folder / "seconds.json"
    if kept.exists():
        return float(json.loads(kept.read_text())["seconds"])
    settings = ["precision=fp32", "train_scores=0", *changes]
    if network == "unet":
        beside = folder.with_name(folder.name.replace("-unet", "-half-unet")) / "seconds.json"
        seconds = float(json.loads(beside.read_text())["seconds"])
        settings += ["epochs=1", f"epoch.steps={max(10, round(0.8 * seconds / SECONDS_OF_STEP))}"]
    config = train_config("dense", network, None, settings, 0, None, None)
    started = time.process_time()
    train(dataset.subset((*split.train, *split.val)), config, folder, split=split)
    seconds = time.process_time() - started
    kept.write_text(json.dumps({"seconds": seconds}))
    return seconds


def scored(
    segmenter: Segmenter, tiles: int, annotation: str, network: str, masks: Dataset, split: Split, seconds: float
) -> Result:
    """Return the scores of a model on the validation tiles and on the marked crops."""
    overlaps, fields = [], []
    for sample in masks.subset(split.val):
        _, pixels, target = next(iter(sample.planes()))
        found = segmenter.predict(pixels)
        overlaps.append(count_overlap(found.labels > 0, target.foreground, target.ignore))
        fields.append(sample.field)
    matched = Detection(0, 0, 0)
    for picture in gold_set(masks.root / files.IMAGES):
        pixels, truth = picture.load()
        beads = segmenter.predict(pixels).beads[["y", "x"]].to_numpy(np.float64)
        matched = matched + score(beads, truth)
    bias = (matched.fp - matched.fn) / max(1, matched.tp + matched.fn)
    jaccard = aggregate(overlaps, fields)["jaccard_images"]
    return Result(tiles, annotation, network, jaccard, matched.f1, bias, seconds)


def show(results: Sequence[Result]) -> None:
    """Print the table so far."""
    print("\n| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    for row in results:
        jaccard = "-" if row.jaccard is None else f"{row.jaccard:.3f}"
        scores = (jaccard, f"{row.f1:.3f}", f"{100 * row.bias:+.1f} %", f"{row.seconds:.0f}")
        print("| " + " | ".join((str(row.tiles), row.annotation, row.network, *scores)) + " |", flush=True)


if __name__ == "__main__":
    main()
