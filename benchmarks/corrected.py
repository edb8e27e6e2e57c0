"""Does training on masks that the audit corrected beat training on the masks as they are, on a folder of real tiles.

    python benchmarks/corrected.py DATASET --split-file DATASET/split.csv --out runs/corrected --exclude 'synthetic_*'

Works on a copy of the dataset in `--out`: audits it, accepts every correction that the audit proposes, and prints per
field of view how far raw and corrected masks agree: no model can be held to more than that. Then trains the
`dense` preset on the raw and on the corrected training masks, with the same split and seeds. Both are validated and
scored with the *corrected* validation masks. Prints Jaccard and the error of counts. Objects are 8-connected components
in masks and predictions alike, since masks without ids do not tell touching beads apart.

The same command continues after an interruption; finished runs are not trained again. `--only raw/0` does one run.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.annotation.audit import audit
from beadseg.annotation.audit.correction import apply, propose
from beadseg.annotation.audit.document import CORRECTABLE
from beadseg.annotation.review import Review
from beadseg.annotation.review.agreement import agreement
from beadseg.annotation.review.selection import reviewed
from beadseg.cli.config_options import train_config, use_threads
from beadseg.data.dataset import Dataset
from beadseg.data.masks import label_objects
from beadseg.data.split import Split
from beadseg.measure.scores import GroupScore, group_score, score_image
from beadseg.predict.segmenter import Segmenter
from beadseg.training.records import read_history
from beadseg.training.run import train

if TYPE_CHECKING:
    from beadseg.events import Event
    from beadseg.training.run import Run

ARMS = ("raw", "corrected")
HEADER = ("trained on", "seed", "Jaccard, images", "pooled", "F1", "objects in the masks", "found", "mean abs. error",
          "minutes")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--split-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="changes", help="of the preset, e.g. epochs=6")
    parser.add_argument("--only", default="", help="comma-separated runs, e.g. raw/0,corrected/0")
    parser.add_argument("--agreement", action="store_true", help="stop after the table of agreement")
    arguments = parser.parse_args()
    use_threads(None)
    split = Split.from_csv(arguments.split_file)
    raw, corrected = both(arguments.dataset, arguments.out, arguments.exclude, split)
    print_agreement(raw, corrected)
    if arguments.agreement:
        return
    rows = []
    wanted = set(filter(None, arguments.only.split(",")))
    for arm in ARMS:
        for seed in range(arguments.seeds):
            if wanted and f"{arm}/{seed}" not in wanted:
                continue
            config = train_config("dense", None, None, arguments.changes, seed, None, arguments.split_file)
            training = mixed(raw, corrected, split) if arm == "raw" else corrected
            run = train(training, config, arguments.out / f"{arm}-{seed}", split=split, on_event=tell)
            score = scored(Segmenter.load(run.folder), corrected.subset(split.val))
            rows.append((arm, seed, score, minutes(run)))
    print_runs(rows)


def both(source: Path, out: Path, exclude: list[str], split: Split) -> tuple[Dataset, Dataset]:
    """Return the samples with their raw and with their corrected masks, from a reviewed copy in `out`."""
    folder = out / "dataset"
    if not folder.exists():
        for sample in Dataset.open(source, exclude=exclude):
            for path in (sample.image_path, sample.mask_path):
                if path is not None:
                    copy = folder / path.parent.name / path.name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, copy)
    raw = Dataset.open(folder)
    if not Review.exists(folder):
        found = propose(audit(raw, out / "audit", split=split), raw, out / "audit")
        apply(found, raw, out / "audit", CORRECTABLE, by="audit", on_event=tell)
    return raw, reviewed(raw, "all")


def mixed(raw: Dataset, corrected: Dataset, split: Split) -> Dataset:
    """Return raw training samples with corrected validation samples."""
    held = set(split.val)
    return replace(raw, samples=tuple(corrected[s.name] if s.name in held else s for s in raw))


def print_agreement(raw: Dataset, corrected: Dataset) -> None:
    print("| field | tiles | corrected | Jaccard | F1 | objects, raw | corrected | lowest Jaccard of a tile |")
    print("|" + " --- |" * 8)
    found = agreement(raw, corrected)
    changed = {s.name for s in raw if s.mask_path != corrected[s.name].mask_path}
    for group in found.groups:
        images = [image for image in found.images if group.by == "all" or image.field == group.group]
        moved = sum(image.sample in changed for image in images)
        worst = min(images, key=lambda image: image.jaccard)
        print(f"| {group.group} | {group.images} | {moved} | {group.jaccard_images:.3f} | {group.f1:.3f} "
              f"| {group.true_count} | {group.predicted_count} | {worst.jaccard:.3f} |", flush=True)  # fmt: skip


def scored(segmenter: Segmenter, dataset: Dataset) -> GroupScore:
    """Score predictions against a data set's masks, by components."""
    images = []
    for sample in dataset:
        for _, pixels, target in sample.planes():
            found = segmenter.predict(pixels).labels > 0
            truth = replace(target, labels=label_objects(target.foreground))
            images.append(score_image(sample.name, sample.name, sample.field, found, label_objects(found), truth))
    return group_score("all", "all", images)


def print_runs(rows: list[tuple[str, int, GroupScore, float]]) -> None:
    print("", "| " + " | ".join(HEADER) + " |", "|" + " --- |" * len(HEADER), sep="\n")
    for arm, seed, s, minutes in rows:
        print(f"| {arm} | {seed} | {s.jaccard_images:.4f} | {s.jaccard_pooled:.4f} | {s.f1:.4f} | {s.true_count} "
              f"| {s.predicted_count} | {s.mae:.1f} | {minutes:.1f} |")  # fmt: skip
    for arm in dict.fromkeys(row[0] for row in rows):
        scores = [row[2] for row in rows if row[0] == arm]
        jaccard, mae = [s.jaccard_images for s in scores], [s.mae for s in scores]
        print(f"{arm}: Jaccard {np.mean(jaccard):.4f} (standard deviation {np.std(jaccard):.4f}), "
              f"mean absolute count error {np.mean(mae):.2f} over {len(scores)} seeds")  # fmt: skip


def minutes(run: Run) -> float:
    rows = read_history(run.folder / files.TIMES)
    return float(sum(row["train_seconds"] + row["validation_seconds"] for row in rows)) / 60


def tell(event: Event) -> None:
    if event.kind != "progress" and event.message:
        print(event.message, flush=True)


if __name__ == "__main__":
    main()
