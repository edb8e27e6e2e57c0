"""Accuracy on a folder of real tiles with a fixed split: networks, seeds and presets beside the threshold method.

    python benchmarks/accuracy.py DATASET --split-file DATASET/split.csv --out runs/accuracy --exclude 'synthetic_*'

Prints one table: best and final validation Jaccard (mean over images, and pooled) per run, and the same scores of the
plain method (difference of Gaussians, Otsu) on the same validation images. Finished runs are not trained again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cli.config_options import train_config, use_threads
from beadseg.data.dataset import Dataset
from beadseg.data.fingerprint import fingerprint
from beadseg.data.split import Split
from beadseg.measure.scores import aggregate, count_overlap
from beadseg.measure.spots import threshold_baseline
from beadseg.model.inputs import luminance
from beadseg.training.records import read_history
from beadseg.training.run import train

if TYPE_CHECKING:
    from beadseg.events import Event

RUNS = [
    ("dense", "unet", 0),
    ("dense", "unet", 1),
    ("dense", "unet", 2),
    ("dense", "attention-unet", 0),
    ("dense", "attention-resunet", 0),
    ("microbeads", "unet", 0),
    ("mitochondria", "unet", 0),
]
HEADER = "| preset | network | seed | best, images | best, pooled | epoch | final, images | final, pooled | minutes |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--only", help="comma-separated runs such as dense/unet/0")
    parser.add_argument(
        "--own-split", action="store_true", help="presets draw their own split instead of the given one"
    )
    arguments = parser.parse_args()
    wanted = set(arguments.only.split(",")) if arguments.only else None

    use_threads(None)
    dataset = Dataset.open(arguments.dataset, exclude=arguments.exclude)
    rows = []
    for preset, network, seed in RUNS:
        name = f"{preset}/{network}/{seed}"
        if wanted is not None and name not in wanted:
            continue
        split_file = None if arguments.own_split else arguments.split_file
        config = train_config(preset, network, None, None, seed, None, split_file)
        run = train(dataset, config, arguments.out / name.replace("/", "-"), on_event=_tell)
        best, last = run.best, run.history[-1]
        times = read_history(run.folder / files.TIMES)
        minutes = sum(row["train_seconds"] + row["validation_seconds"] for row in times) / 60
        rows.append(
            f"| {preset} | {network} | {seed} | {best['val_jaccard_images']:.4f} | {best['val_jaccard_pooled']:.4f} "
            f"| {best['epoch']} | {last['val_jaccard_images']:.4f} | {last['val_jaccard_pooled']:.4f} | {minutes:.1f} |"
        )
        print(HEADER, rows[-1], sep="\n", flush=True)
    images, pooled = _threshold(dataset, arguments.split_file)
    rows.append(f"| threshold method |  |  | {images:.4f} | {pooled:.4f} |  | {images:.4f} | {pooled:.4f} |  |")
    print("", HEADER, "|" + " --- |" * 9, *rows, sep="\n")


def _threshold(dataset: Dataset, split_file: Path) -> tuple[float, float]:
    """Return the scores of the plain method on the validation images: mean over images, pooled."""
    polarity = fingerprint(dataset).polarity
    overlaps, fields = [], []
    for name in Split.from_csv(split_file).val:
        sample = dataset[name]
        for _, pixels, target in sample.planes():
            found = threshold_baseline(luminance(pixels), polarity)
            overlaps.append(count_overlap(found, target.foreground, target.ignore))
            fields.append(sample.field)
    scores = aggregate(overlaps, fields)
    return scores["jaccard_images"], scores["jaccard_pooled"]


def _tell(event: Event) -> None:
    if event.kind != "progress" and event.message:
        print(event.message, flush=True)


if __name__ == "__main__":
    main()
