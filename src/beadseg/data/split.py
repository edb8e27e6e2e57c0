"""Divide a dataset into training and validation, and into folds.

Splits depend on the sample names, the objects per sample and the seed; not on the order of files on a disk. Grouped
folds are scikit-learn's `StratifiedGroupKFold`: whole fields of view, with quantile classes of objects per image.
"""

from __future__ import annotations

import random
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, train_test_split

from beadseg.config.train import (
    BlockSplitConfig,
    FieldSplitConfig,
    FileSplitConfig,
    RandomSplitConfig,
    SplitConfig,
    StratifiedSplitConfig,
)
from beadseg.data.fields import listed, read_table, rows_of
from beadseg.data.scan import natural_key
from beadseg.errors import ConfigError, InputError
from beadseg.files import write_atomically
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from beadseg.data.dataset import Dataset

FOLDS = ("train", "val", "test")
"""Values of the column ``fold`` of a split file."""

OTHER_WORDS = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}
"""What people write in place of them."""

FEW_FIELDS = 10
"""With fewer fields of view than this, a score on held-out ones says more about which ones they are."""

DENSITY_CLASSES = 5
"""Quantile classes of objects per image that grouped folds balance, at most."""

_ONE_FIELD_REMEDY = "Use the split `block`, or name the fields of view by a pattern or a CSV."


@dataclass(frozen=True)
class Split:
    """Names of the samples for each purpose.

    Attributes
    ----------
    train, val, test : tuple of str
        Sample names; `test` is used for nothing but a final score.
    notes : tuple of str
        What the user must know about this split, one sentence each.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_csv(self, path: Path) -> None:
        """Write the columns ``sample`` and ``fold``; raises `MachineError`."""
        parts: dict[str, str] = {name: fold for fold in FOLDS for name in getattr(self, fold)}
        names = sorted(parts, key=natural_key)
        table = pd.DataFrame({"sample": names, "fold": [parts[name] for name in names]})
        write_atomically(path, csv_text(table))

    @classmethod
    def from_csv(cls, path: Path) -> Split:
        """Read a file of `to_csv`, or one like it.

        Raises
        ------
        InputError
            It is missing, lacks a column, names a sample twice, or has a fold that is none of train, val and test.
        """
        table = read_table(path, ("sample", "fold"))
        fold = table["fold"].str.lower().replace(OTHER_WORDS)
        unknown = sorted(set(fold) - set(FOLDS))
        if unknown:
            raise InputError(f"Has the folds {listed(unknown)}.", path, f"Use {', '.join(FOLDS)}.")
        train, val, test = (tuple(table["sample"][fold == name]) for name in FOLDS)
        return cls(train, val, test)

    def called(self, names: Sequence[str], path: Path) -> Split:
        """Return the same split with those samples that are among `names` called so (see `rows_of`)."""
        written = [*self.train, *self.val, *self.test]
        known = {written[row]: name for name, row in rows_of(names, written, path).items()}
        train, val, test = (tuple(known.get(name, name) for name in part) for part in (self.train, self.val, self.test))
        return Split(train, val, test, self.notes)


def make_split(config: SplitConfig, dataset: Dataset, objects: Mapping[str, int], seed: int) -> Split:
    """Divide `dataset` as `config` says.

    Parameters
    ----------
    config : SplitConfig
        The way to divide.
    dataset : Dataset
        What is divided.
    objects : mapping of str to int
        Objects per sample.
    seed : int
        Seed of every random choice.

    Raises
    ------
    ConfigError
        This dataset cannot be divided in this way without an empty side.
    InputError
        A given file is wrong, or lacks samples of the dataset.
    """
    if isinstance(config, FileSplitConfig):
        return _from_file(config, dataset)
    if len(dataset) < 2:
        raise ConfigError("One sample cannot be divided into training and validation.", "split", "Add more samples.")
    if isinstance(config, RandomSplitConfig):
        return _random(dataset, config.val_fraction, None, seed)
    if isinstance(config, StratifiedSplitConfig):
        return _stratified(config, dataset, objects, seed)
    if isinstance(config, FieldSplitConfig):
        return _by_field(config, dataset, objects, seed)
    return _by_block(config, dataset, seed)


def folds(dataset: Dataset, objects: Mapping[str, int], k: int, seed: int) -> list[Split]:
    """Return `k` splits whose `val` together hold every sample once, whole fields of view each.

    Raises
    ------
    ConfigError
        `k` is less than 2, or more than there are fields of view.
    """
    if k < 2:
        raise ConfigError(f"With {plural(k, 'fold')} nothing is left to train on.", "folds", "Use at least 2.")
    count = len(dataset.fields)
    if count < k:
        remedy = f"Use at most {plural(count, 'fold')}." if count > 1 else "Use a dataset of several fields of view."
        raise ConfigError(
            f"{plural(k, 'fold')} need at least {plural(k, 'field of view')}, there are {count}.", "folds", remedy
        )
    notes = _field_notes(count)
    return [_split(dataset, held_out, notes) for held_out in _grouped(dataset, objects, k, seed)]


def leave_one_field_out(dataset: Dataset) -> list[tuple[str, Split]]:
    """Return, for every field of view, its name and the split whose `val` it is.

    Raises
    ------
    ConfigError
        There is only one field of view.
    """
    if len(dataset.fields) < 2:
        raise ConfigError("There is only one field of view to leave out.", "fields", _ONE_FIELD_REMEDY)
    by_field = _by_field_name(dataset)
    return [(field, _split(dataset, set(by_field[field]), ())) for field in dataset.fields]


def _from_file(config: FileSplitConfig, dataset: Dataset) -> Split:
    given = Split.from_csv(config.path).called(dataset.names, config.path)
    named = {*given.train, *given.val, *given.test}
    missing = [name for name in dataset.names if name not in named]
    if missing:
        remedy = "Add them to the file, or leave them out of the dataset by --exclude."
        raise InputError(f"Names no fold for {listed(missing)}.", config.path, remedy)
    known = set(dataset.names)
    extra = sorted(named - known, key=natural_key)
    notes = (f"The split file names samples that the dataset has not: {listed(extra)}.",) if extra else ()
    parts = (set(given.train), set(given.val), set(given.test))
    train, val, test = (tuple(name for name in dataset.names if name in part) for part in parts)
    if not train or not val:
        side = "training" if not train else "validation"
        raise ConfigError(f"Leaves no sample for {side}.", config.path, "Give some samples the folds train and val.")
    return Split(train, val, test, notes)


def _random(dataset: Dataset, fraction: float, classes: np.ndarray | None, seed: int) -> Split:
    names = list(dataset.names)
    held = _held_count(len(names), fraction)
    _, val = train_test_split(names, test_size=held, random_state=seed, stratify=classes)
    return _split(dataset, set(val), ())


def _held_count(count: int, fraction: float) -> int:
    """Return how many of `count` to hold out: at least one, and not all."""
    return min(count - 1, max(1, round(count * fraction)))


def _stratified(config: StratifiedSplitConfig, dataset: Dataset, objects: Mapping[str, int], seed: int) -> Split:
    held = _held_count(len(dataset), config.val_fraction)
    # Each class needs a sample on both sides, so there can be no more classes than either side has samples.
    most = min(config.bins, held, len(dataset) - held)
    classes = _density_classes(dataset, objects, most, smallest=2)
    found = len(np.unique(classes))
    split = _random(dataset, config.val_fraction, classes if found > 1 else None, seed)
    if found == config.bins:
        return split
    note = (
        f"{found} instead of {plural(config.bins, 'density class')}: {plural(len(dataset), 'sample')} do not fill more."
    )
    return Split(split.train, split.val, notes=(note,))


def _density_classes(dataset: Dataset, objects: Mapping[str, int], bins: int, smallest: int) -> np.ndarray:
    """Return each sample's quantile class of objects; classes of fewer than `smallest` join the next lower one.

    The classes are those of `pandas.qcut`, except that equal counts (many empty images, say) cost a class and not all:
    `qcut` makes one class of the densities 10, 10, 1000, 1000.
    """
    counts = np.array([objects[name] for name in dataset.names], float)
    inner_edges = np.unique(np.quantile(counts, np.linspace(0, 1, max(1, bins) + 1)[1:-1]))
    classes = np.searchsorted(inner_edges, counts, side="left")
    while True:
        present, sizes = np.unique(classes, return_counts=True)
        if len(present) == 1 or sizes.min() >= smallest:
            return np.asarray(np.searchsorted(present, classes))
        small = int(np.argmin(sizes))
        neighbour = present[small - 1] if small else present[1]
        classes = np.where(classes == present[small], neighbour, classes)


def _by_field(config: FieldSplitConfig, dataset: Dataset, objects: Mapping[str, int], seed: int) -> Split:
    count = len(dataset.fields)
    if count < 2:
        raise ConfigError("Whole fields of view cannot be held out of one.", "split", _ONE_FIELD_REMEDY)
    # More than half is the smaller part's complement.
    smaller = min(config.val_fraction, 1.0 - config.val_fraction)
    k = min(count, max(2, round(1.0 / smaller)))
    parts = _grouped(dataset, objects, k, seed)
    if config.val_fraction > 0.5:
        parts = [set(dataset.names) - part for part in parts]
    nearest = min(parts, key=lambda part: abs(len(part) / len(dataset) - config.val_fraction))
    return _split(dataset, nearest, _field_notes(count))


def _grouped(dataset: Dataset, objects: Mapping[str, int], k: int, seed: int) -> list[set[str]]:
    """Return `k` non-empty sets of sample names, whole fields of view each, densities balanced."""
    names = np.array(dataset.names)
    groups = [sample.field for sample in dataset]
    classes = _density_classes(dataset, objects, min(DENSITY_CLASSES, len(names) // k), smallest=k)
    splitter = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a class with fewer members than folds: balanced as far as it goes
        parts = [set(names[held].tolist()) for _, held in splitter.split(names, classes, groups)]
    if all(parts):
        return parts
    # Balance alone may leave a fold without any field; balancing the sizes cannot.
    return [set(names[held].tolist()) for _, held in GroupKFold(k).split(names, groups=groups)]


def _field_notes(count: int) -> tuple[str, ...]:
    if count >= FEW_FIELDS:
        return ()
    return (
        f"Only {plural(count, 'field of view')}: a score on held-out ones depends much on which they are;"
        " add images of other fields of view.",
    )


def _by_block(config: BlockSplitConfig, dataset: Dataset, seed: int) -> Split:
    """Hold out one end of every field's tiles: a block there borders on training tiles on one side only."""
    chance = random.Random(seed)
    held: set[str] = set()
    whole = 0
    for _, names in sorted(_by_field_name(dataset).items(), key=lambda item: natural_key(item[0])):
        first = chance.random() < 0.5
        if len(names) < 2:
            whole += 1
            continue
        count = _held_count(len(names), config.val_fraction)
        held.update(names[:count] if first else names[-count:])
    if not held:
        remedy = "Use the split `random` or `stratified`, or name the fields of view by a pattern or a CSV."
        raise ConfigError("Every field of view has one tile only, so none can be held out of it.", "split", remedy)
    notes = (f"In training only: {plural(whole, 'field of view')} with a single tile.",) if whole else ()
    return _split(dataset, held, notes)


def _by_field_name(dataset: Dataset) -> dict[str, Sequence[str]]:
    by_field: dict[str, list[str]] = {}
    for sample in dataset:
        by_field.setdefault(sample.field, []).append(sample.name)
    return {field: sorted(names, key=natural_key) for field, names in by_field.items()}


def _split(dataset: Dataset, held_out: set[str], notes: tuple[str, ...]) -> Split:
    train = tuple(name for name in dataset.names if name not in held_out)
    return Split(train, tuple(name for name in dataset.names if name in held_out), notes=notes)
