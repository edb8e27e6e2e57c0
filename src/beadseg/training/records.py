"""What a run folder records: configuration, split and samples, compared when it is continued; and one row per epoch."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import METRICS, TrainConfig
from beadseg.data.documents import read_table
from beadseg.errors import RunError
from beadseg.events import OnEvent, ignore, log
from beadseg.files import beside, current, find_again, read_error, relative_path, write_atomically, write_table
from beadseg.measure.matching import COUNT_METRICS, DENSITIES
from beadseg.text import csv_rows, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from beadseg.data.dataset import Dataset, Sample
    from beadseg.data.split import Split

SAMPLE_COLUMNS = ("sample", "fold", "field", "objects", "image", "image_sha256", "mask", "mask_sha256", "ignore_sha256")
"""Columns of ``samples.csv`` in every run …"""
LATER_COLUMNS = ("points_sha256", "image_relative", "mask_relative")
"""… and those that older runs lack: relative ones lead from the run folder to a sample's files; both may be moved."""

SCORES = METRICS
DENSITY_SCORES = tuple(f"{name}_{density}" for density in DENSITIES for name in COUNT_METRICS)
HISTORY_COLUMNS = (
    "epoch",
    "step",
    "lr",
    "train_loss",
    "train_eval_loss",
    "val_loss",
    *(f"val_{score}" for score in SCORES),
    *(f"train_{score}" for score in SCORES),
    *(f"val_{score}" for score in DENSITY_SCORES),
)
"""Columns of ``history.csv``. ``train_loss`` is the mean over the epoch's batches (augmented patches, training mode);
``train_eval_loss`` and ``train_jaccard_*`` are of whole training images in evaluation mode, like ``val_*``."""

Row = dict[str, Any]

_COUNTS = {
    "f1": "F1 of beads",
    "count_bias": "count bias (beads per image)",
    "count_mae": "mean absolute count error (beads per image)",
}
_MEANS = {"images": "mean over images", "fields": "mean over fields", "pooled": "all pixels"}


def freeze(
    folder: Path,
    dataset: Dataset,
    config: TrainConfig,
    split: Split,
    objects: Mapping[str, int],
    asked: TrainConfig | None = None,
    on_event: OnEvent = ignore,
) -> bool:
    """Write configuration, split and sample hashes into a new run; compare them in one that was begun, and say so.

    `config` is complete; `asked` is what it was planned from. `on_event` is told of images on both sides of the split.
    """
    rows = []
    for fold, names in (("train", split.train), ("val", split.val), ("test", split.test)):
        rows += [_sample_row(dataset[name], fold, objects[name], folder) for name in names]
    trained = {row["image_sha256"]: row["sample"] for row in rows if row["fold"] == "train"}
    copies = [row for row in rows if row["fold"] != "train" and row["image_sha256"] in trained]
    if copies:
        first = f"{copies[0]['sample']} and {trained[copies[0]['image_sha256']]}"
        number = plural(len(copies), "validation image is", "validation images are")
        text = f"{number} the same as training images ({first}), so that scores are too high. Delete the copies."
        on_event(log(text, "warning"))
    config_path, samples_path = folder / files.CONFIG, folder / files.SAMPLES
    if not config_path.exists():
        if (folder / files.LAST).exists():
            raise RunError("Holds checkpoints but no configuration.", folder, "Give a new --out folder.")
        write_rows(samples_path, rows, (*SAMPLE_COLUMNS, *LATER_COLUMNS))
        split.to_csv(folder / files.SPLIT)
        write_atomically(folder / files.ASKED, (asked or config).to_yaml())
        write_atomically(config_path, config.to_yaml())
        return False
    begun = TrainConfig.from_file(config_path)
    if begun != config:
        raise RunError(f"Was started with another configuration ({_difference(begun, config)}).", folder,
                       "Repeat the first command to continue it, or give a new --out folder.")  # fmt: skip
    frozen = [
        *(name for name in SAMPLE_COLUMNS if name not in ("image", "mask")),
        "points_sha256",
    ]  # the last came later
    try:
        before = [[row.get(name) or "" for name in frozen] for row in read_table(samples_path, *frozen[:-1])]
    except RunError as error:
        if error.what.startswith("Cannot be read:"):
            raise
        raise RunError("The run's list of samples is missing or damaged.", samples_path,
                       "Copy it back, or give a new --out folder.") from None  # fmt: skip
    if before != [[str(row[name]) for name in frozen] for row in rows]:
        raise RunError("The samples, their split or their files changed since this run began.", folder,
                       "Give a new --out folder to train on the data as it is now.")  # fmt: skip
    return True


def _sample_row(sample: Sample, fold: str, objects: int, folder: Path) -> dict[str, Any]:
    hashes = sample.sha256()
    image = files.unstaged(sample.image_path.absolute())
    mask = None if sample.mask_path is None else files.unstaged(sample.mask_path.absolute())
    return {
        "sample": sample.name,
        "fold": fold,
        "field": sample.field,
        "objects": objects,
        "image": image,
        "image_sha256": hashes["image"],
        "mask": "" if mask is None else mask,
        "mask_sha256": hashes.get("mask", ""),
        "ignore_sha256": hashes.get("ignore", ""),
        "points_sha256": hashes.get("points", ""),
        "image_relative": relative_path(image, folder),
        "mask_relative": "" if mask is None else relative_path(mask, folder),
    }


def sample_files(row: Mapping[str, str], folder: Path, dataset: Path | None = None) -> tuple[Path, Path | None]:
    """Return where a sample's image and annotation are now.

    Parameters
    ----------
    row : mapping of str to str
        The sample's row of ``samples.csv``.
    folder : pathlib.Path
        The run folder.
    dataset : pathlib.Path, optional
        Where the dataset is now, when it was moved without the run.
    """
    image = find_again(row["image"], row.get("image_relative", ""), folder, dataset)
    if not row["mask"]:
        return image, None
    return image, find_again(row["mask"], row.get("mask_relative", ""), folder, dataset)


def _difference(one: TrainConfig, other: TrainConfig) -> str:
    """Return the first fields that differ, with both values."""
    a, b = _flat(one.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
    names = [name for name in sorted(a | b) if a.get(name) != b.get(name)]
    return ", ".join(f"{name}: {a.get(name)} there, {b.get(name)} now" for name in names[:3])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], on_event: OnEvent | None = None
) -> None:
    """Write rows as CSV, whole or not at all. Numbers are written so that reading them gives the same float.

    With `on_event` another program that holds the file does not end the work: see `beadseg.files.write_table`.
    """
    text = csv_rows(columns, ([row.get(name, "") for name in columns] for row in rows))
    if on_event is None:
        write_atomically(path, text)
        return
    known = beside(path).exists()
    where = write_table(path, text, seconds=0.0 if known else 2.0)
    if where != path and not known:
        what = f"{path} cannot be replaced: another program has it open."
        on_event(log(f"{what} Until it is closed its rows go to {where.name}.", "warning"))


def read_history(path: Path) -> list[Row]:
    """Return the rows of a ``history.csv``; empty cells are left out of their row.

    Raises
    ------
    RunError
        There is no such file, or it is damaged.
    """
    try:
        lines = current(path).read_text(encoding="utf-8").splitlines()
        return [
            {name: int(value) if name in ("epoch", "step") else float(value) for name, value in row.items() if value}
            for row in csv.DictReader(lines)
        ]
    except FileNotFoundError:
        raise RunError("No history.", path, "Give the folder of a run that has finished at least one epoch.") from None
    except OSError as error:
        raise read_error(error, path) from None
    except (ValueError, TypeError, csv.Error) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise RunError(
            f"The history cannot be read ({detail}).", path, "Copy it back; a training that goes on rewrites it."
        ) from None


def score_name(metric: str) -> str:
    """Return a score's name for a person: ``jaccard_images`` is "Jaccard (mean over images)"."""
    if metric in _COUNTS:
        return _COUNTS[metric]
    score, _, over = metric.partition("_")
    return f"{score.capitalize()} ({_MEANS[over]})"


def gain(metric: str, value: float) -> float:
    """Return a score's value as a number of which more is better: of errors, their size is counted down."""
    return -abs(value) if metric in ("count_bias", "count_mae") else value


def describe(row: Row, epochs: int, key: str, best: bool) -> str:
    """Return an epoch's row as one line for a person."""
    line = f"Epoch {row['epoch']:3d}/{epochs}  loss {row['train_loss']:.4f}"
    if key in row:
        line += f"  validation loss {row['val_loss']:.4f}  {score_name(key.removeprefix('val_'))} {row[key]:.4f}"
        train = row.get(key.replace("val_", "train_"))
        line += f" (training {train:.4f})" if train is not None else ""
        line += f"  F1 {row['val_f1']:.4f}, count {row['val_count_bias']:+.1f} per image" if "val_f1" in row else ""
        line += "  best so far" if best else ""
    return line
