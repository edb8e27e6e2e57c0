"""Cross-validation: every sample is predicted once by a network that never saw its field of view."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from beadseg import files
from beadseg.data.documents import read_table, refuse_foreign_folder
from beadseg.data.masks import count_objects
from beadseg.data.split import Split, folds, leave_one_field_out, make_split
from beadseg.errors import RunError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log
from beadseg.files import ensure_folder
from beadseg.measure.evaluation import Evaluation, evaluate
from beadseg.measure.scores import Overlap, aggregate, count_overlap
from beadseg.measure.spots import threshold_baseline
from beadseg.model.backends import torch_only
from beadseg.model.inputs import luminance
from beadseg.predict.batch import predict_folder
from beadseg.predict.segmenter import Segmenter
from beadseg.training.prepare import annotated_objects
from beadseg.training.records import write_rows
from beadseg.training.run import train

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset

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
    stops_early = config.stop.patience is not None
    objects = annotated_objects(dataset, on_event) if stops_early or k is not None else {}
    if k is None:
        outer = leave_one_field_out(dataset)
    else:
        outer = [(f"fold {i}", split) for i, split in enumerate(folds(dataset, objects, k, config.seed), start=1)]
    result = []
    for name, split in outer:
        left_out = tuple(split.val) + tuple(split.test)
        rest = dataset.subset(set(dataset.names).difference(left_out))
        inner = Split(train=rest.names, val=())
        if stops_early:
            inner = make_split(config.split, rest, objects, config.seed)
        result.append(Fold(name, Split(train=inner.train, val=inner.val, test=left_out, notes=inner.notes)))
    return result


@torch_only()
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

    The table keeps the rows of folds that an earlier call finished until their new ones are there.

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
    dataset = dataset.with_areas("Cross-validation", on_event)
    refuse_foreign_folder(files.user_path(out), files.CROSSVAL, "a cross-validation")
    folder = ensure_folder(files.user_path(out))
    every = make_folds(dataset, config, k, on_event)
    runs = _run_folders([fold.name for fold in every])
    rows = _earlier_rows(folder / files.CROSSVAL, [fold.name for fold in every])
    for fold in every:
        on_event(log(f"Left out: {fold.name} ({len(fold.split.test)} samples)."))
        for note in fold.split.notes:
            on_event(log(note, "warning"))
        known = dataset.subset((*fold.split.train, *fold.split.val))
        run = train(known, config, folder / runs[fold.name], split=Split(fold.split.train, fold.split.val),
                    device=device, on_event=on_event, stop=stop)  # fmt: skip
        left_out = dataset.subset(fold.split.test)
        segmenter = Segmenter.load(run.folder, device=device)
        images = [sample.image_path for sample in left_out]
        predict_folder(segmenter, images, folder / files.PREDICTIONS, source=str(folder), on_event=on_event, stop=stop)
        found = evaluate(folder / files.PREDICTIONS, left_out, stop=stop)
        row = _row(fold.name, found, *_threshold(left_out, segmenter.fingerprint["polarity"]))
        rows[fold.name] = row
        table = _table(rows, [fold.name for fold in every])
        write_rows(folder / files.CROSSVAL, table, COLUMNS, on_event)
        on_event(Event("fold", _line(row), data=row))
    on_event(Event("fold", _line(table[-1]), data=table[-1]))
    return table


def _earlier_rows(path: Path, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the rows of folds of these names that an earlier call wrote; none where the table cannot be used."""
    try:
        known = [row for row in read_table(files.current(path), *COLUMNS) if row["fold"] in names]
        return {
            row["fold"]: {
                name: cell if name == "fold" else float(cell) if "jaccard" in name else int(cell)
                for name, cell in row.items()
                if name in COLUMNS
            }
            for row in known
        }
    except (RunError, ValueError):  # absent, or of another version: every fold is scored again
        return {}


def _table(rows: dict[str, dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows in the order of the folds, with the mean last where no fold is missing."""
    found = [rows[name] for name in names if name in rows]
    return [*found, _mean(found)] if len(found) == len(names) else found


def _threshold(dataset: Dataset, polarity: Literal["dark", "bright"]) -> tuple[dict[str, float], int]:
    """Return the scores of the plain method on every plane, and how many objects it finds."""
    overlaps: list[Overlap] = []
    fields: list[str] = []
    objects = 0
    for sample in dataset:
        for _, pixels, target in sample.planes():
            found = threshold_baseline(luminance(pixels), polarity)
            overlaps.append(count_overlap(found, target.foreground, target.ignore))
            fields.append(sample.field)
            objects += count_objects(found)
    return aggregate(overlaps, fields), objects


def _row(name: str, found: Evaluation, plain: dict[str, float], plain_objects: int) -> dict[str, Any]:
    overall = found.overall
    return {
        "fold": name,
        "images": overall.images,
        "jaccard_images": round(overall.jaccard_images or 0.0, 4),
        "jaccard_pooled": round(overall.jaccard_pooled or 0.0, 4),
        "threshold_jaccard_images": round(plain["jaccard_images"], 4),
        "threshold_jaccard_pooled": round(plain["jaccard_pooled"], 4),
        "objects": overall.true_count,
        "counted": overall.predicted_count,
        "threshold_counted": plain_objects,
    }


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    means = {name: round(float(np.mean([row[name] for row in rows])), 4) for name in COLUMNS if "jaccard" in name}
    sums = {name: sum(row[name] for row in rows) for name in ("images", "objects", "counted", "threshold_counted")}
    return {"fold": "mean of folds", **means, **sums}


def _line(row: dict[str, Any]) -> str:
    ours = f"Jaccard {row['jaccard_images']:.4f} (pooled {row['jaccard_pooled']:.4f})"
    theirs = f"threshold method {row['threshold_jaccard_images']:.4f} ({row['threshold_jaccard_pooled']:.4f})"
    return f"{row['fold']:>28}: {ours}, {theirs}; {row['counted']} beads, {row['objects']} objects in the masks"


def _run_folders(names: Sequence[str]) -> dict[str, str]:
    """Return the folder of every fold's run; where names differ only in what a folder's name cannot hold, a number.

    Compared without case: ``A`` and ``a`` are one folder on Windows and macOS.
    """
    folders: dict[str, str] = {}
    taken = {files.PREDICTIONS, files.CROSSVAL}
    for name in names:
        wanted, number = _safe(name), 2
        while wanted.casefold() in taken:
            wanted, number = f"{_safe(name)}-{number}", number + 1
        taken.add(wanted.casefold())
        folders[name] = wanted
    return folders


def _safe(name: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
