"""Cross-validation: every sample is predicted once by a network that never saw its field of view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg import files
from beadseg.data.objects import label_objects
from beadseg.data.split import Split, folds, leave_one_field_out, make_split
from beadseg.events import Event, OnEvent, StopFlag, ignore, log
from beadseg.files import ensure_folder
from beadseg.measure.metrics import aggregate
from beadseg.measure.overlap import Overlap, count_overlap
from beadseg.measure.threshold import threshold_baseline
from beadseg.model.inputs import luminance
from beadseg.predict.batch import predict_folder
from beadseg.predict.segmenter import Segmenter
from beadseg.training.history import write_rows
from beadseg.training.run import annotated_objects, train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset, Sample

COLUMNS = ("fold", "images", "jaccard_images", "jaccard_pooled", "threshold_jaccard_images", "threshold_jaccard_pooled",
           "objects", "counted", "threshold_counted")  # fmt: skip
"""Columns of ``crossval.csv``; ``threshold_*``: the plain method (difference of Gaussians, Otsu), same images."""


@dataclass(frozen=True)
class Fold:
    """One fold: its name and split; ``split.test`` is used for nothing but the score."""

    name: str
    split: Split


def make_folds(dataset: Dataset, config: TrainConfig, k: int | None, on_event: OnEvent = ignore) -> list[Fold]:
    """Return `k` folds grouped by field of view, or one fold per field when `k` is None.

    A configuration that stops early gets its validation samples from the rest by its own split rule; one that does
    not trains on all of the rest and takes its last weights. The left-out samples never take part.
    """
    if k is None:
        outer = leave_one_field_out(dataset)
    else:
        objects = annotated_objects(dataset, on_event)
        outer = [(f"fold {i}", split) for i, split in enumerate(folds(dataset, objects, k, config.seed), start=1)]
    result = []
    for name, split in outer:
        left_out = tuple(split.val) + tuple(split.test)
        rest = dataset.subset([n for n in dataset.names if n not in set(left_out)])
        inner = Split(train=rest.names, val=())
        if config.stop.patience is not None:
            inner = make_split(config.split, rest, annotated_objects(rest, on_event), config.seed)
        result.append(Fold(name, Split(train=inner.train, val=inner.val, test=left_out)))
    return result


def crossval(
    dataset: Dataset,
    config: TrainConfig,
    out: Path | str,
    *,
    k: int | None = None,
    device: str = "auto",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> list[dict[str, Any]]:
    """Train one network per fold and score it on the samples left out; a repeated call continues.

    Parameters
    ----------
    dataset, config, device, on_event, stop
        As in `beadseg.train`.
    out : path
        Holds one run per fold, all out-of-fold predictions (``predictions/``) and ``crossval.csv``.
    k : int, optional
        Number of folds; one field of view left out at a time when not given.

    Returns
    -------
    list of dict
        The rows of ``crossval.csv``, the mean over folds last.
    """
    folder = ensure_folder(Path(out))
    rows: list[dict[str, Any]] = []
    for fold in make_folds(dataset, config, k, on_event):
        on_event(log(f"Left out: {fold.name} ({len(fold.split.test)} samples)."))
        known = dataset.subset((*fold.split.train, *fold.split.val))
        run = train(known, config, folder / _safe(fold.name), split=Split(fold.split.train, fold.split.val),
                    device=device, on_event=on_event, stop=stop)  # fmt: skip
        segmenter = Segmenter.load(run.folder, device=device)
        row = _score(segmenter, [dataset[name] for name in fold.split.test], fold.name)
        predict_folder(segmenter, [dataset[name].image_path for name in fold.split.test],
                       folder / files.PREDICTIONS / _safe(fold.name), source=str(run.folder), stop=stop)  # fmt: skip
        rows.append(row)
        write_rows(folder / files.CROSSVAL, rows, COLUMNS)
        on_event(Event("fold", _line(row), data=row))
    rows.append(_mean(rows))
    write_rows(folder / files.CROSSVAL, rows, COLUMNS)
    on_event(Event("fold", _line(rows[-1]), data=rows[-1]))
    return rows


def _score(segmenter: Segmenter, samples: Sequence[Sample], name: str) -> dict[str, Any]:
    """Return the row of one fold: network and threshold method on the samples left out."""
    network: list[Overlap] = []
    plain: list[Overlap] = []
    objects = counted = plain_counted = 0
    polarity = segmenter.fingerprint["polarity"]
    for sample in samples:
        for _, pixels, target in sample.planes():
            found = segmenter.predict(pixels)
            network.append(
                count_overlap(
                    found.probability >= segmenter.options.objects.threshold, target.foreground, target.ignore
                )
            )
            simple = threshold_baseline(luminance(pixels), polarity)
            plain.append(count_overlap(simple, target.foreground, target.ignore))
            objects += int(
                label_objects(target.foreground).max() if target.labels is None else len(np.unique(target.labels)) - 1
            )
            counted += found.count
            plain_counted += int(label_objects(simple).max())
    fields = [sample.field for sample in samples for _ in range(len(network) // len(samples))]
    ours, theirs = aggregate(network, fields), aggregate(plain, fields)
    return {
        "fold": name,
        "images": len(network),
        "jaccard_images": round(ours["jaccard_images"], 4),
        "jaccard_pooled": round(ours["jaccard_pooled"], 4),
        "threshold_jaccard_images": round(theirs["jaccard_images"], 4),
        "threshold_jaccard_pooled": round(theirs["jaccard_pooled"], 4),
        "objects": objects,
        "counted": counted,
        "threshold_counted": plain_counted,
    }


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in COLUMNS if "jaccard" in name}
    sums = {name: sum(row[name] for row in rows) for name in ("images", "objects", "counted", "threshold_counted")}
    return {"fold": "mean of folds", **means, **sums}


def _line(row: dict[str, Any]) -> str:
    ours = f"Jaccard {row['jaccard_images']:.4f} (pooled {row['jaccard_pooled']:.4f})"
    theirs = f"threshold method {row['threshold_jaccard_images']:.4f} ({row['threshold_jaccard_pooled']:.4f})"
    return f"{row['fold']:>28}: {ours}, {theirs}; {row['counted']} beads, {row['objects']} objects in the masks"


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
