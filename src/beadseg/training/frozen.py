"""What a run stands on: configuration, split and samples, written once, and compared when it is continued."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.errors import RunError
from beadseg.files import find_again, relative_path, write_atomically
from beadseg.text import original
from beadseg.training.history import write_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from beadseg.data.dataset import Dataset, Sample
    from beadseg.data.split import Split

RELATIVE_COLUMNS = ("image_relative", "mask_relative")
"""Ways from the run folder to a sample's files, for when both are moved together; absent in older runs."""
SAMPLE_COLUMNS = ("sample", "fold", "field", "objects", "image", "image_sha256", "mask", "mask_sha256", "ignore_sha256",
                  "points_sha256")  # fmt: skip


def freeze(
    folder: Path,
    dataset: Dataset,
    config: TrainConfig,
    split: Split,
    objects: Mapping[str, int],
    asked: TrainConfig | None = None,
) -> bool:
    """Write configuration, split and sample hashes into a new run; compare them in one that was begun, and say so.

    `config` is complete; `asked` is what it was planned from.
    """
    rows = []
    for fold, names in (("train", split.train), ("val", split.val), ("test", split.test)):
        rows += [_sample_row(dataset[name], fold, objects[name], folder) for name in names]
    config_path, samples_path = folder / files.CONFIG, folder / files.SAMPLES
    if not config_path.exists():
        if (folder / files.LAST).exists():
            raise RunError("Holds checkpoints but no configuration.", folder, "Give a new --out folder.")
        write_rows(samples_path, rows, (*SAMPLE_COLUMNS, *RELATIVE_COLUMNS))
        split.to_csv(folder / files.SPLIT)
        write_atomically(folder / files.ASKED, (asked or config).to_yaml())
        write_atomically(config_path, config.to_yaml())
        return False
    begun = TrainConfig.from_file(config_path)
    if begun != config:
        raise RunError(f"Was started with another configuration ({_difference(begun, config)}).", folder,
                       "Repeat the first command to continue it, or give a new --out folder.")  # fmt: skip
    frozen = [name for name in SAMPLE_COLUMNS if name not in ("image", "mask")]
    try:
        with samples_path.open(encoding="utf-8", newline="") as file:
            before = [[original(row[name] if name != "points_sha256" else row.get(name) or "") for name in frozen]
                      for row in csv.DictReader(file)]  # fmt: skip
    except (OSError, ValueError, KeyError, csv.Error):
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
