"""How far two masks of the same samples agree: the ceiling for what a model can be held to.

Neither side is the truth: swapping them leaves Jaccard, F1 and the absolute count difference as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.dataset import Dataset, Sample, Target
from beadseg.data.masks import label_objects
from beadseg.errors import ImageError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.beads import equivalent_diameter
from beadseg.measure.scores import GroupScore, ImageScore, group_score, score_image

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = {
    "sample": "sample",
    "image": "image",
    "field": "field",
    "jaccard": "jaccard",
    "dice": "dice",
    "f1": "f1",
    "true_count": "count_one",
    "predicted_count": "count_other",
    "count_error": "difference",
}
"""Columns of `Agreement.table`, by the name of the score they hold."""


@dataclass(frozen=True)
class Agreement:
    """How far two people's masks agree.

    Attributes
    ----------
    images : tuple of ImageScore
        One per plane; ``true_count`` is that of the first, ``predicted_count`` of the other.
    groups : tuple of GroupScore
        All together, then every field of view.
    only_one, only_other : tuple of str
        Samples that one of them has not.
    failures : dict of str to str
        Why a sample could not be compared, by its name.
    """

    images: tuple[ImageScore, ...]
    groups: tuple[GroupScore, ...]
    only_one: tuple[str, ...]
    only_other: tuple[str, ...]
    failures: dict[str, str]

    def table(self) -> pd.DataFrame:
        """Return one row per plane, columns as in `COLUMNS`."""
        rows = [{column: getattr(image, name) for name, column in COLUMNS.items()} for image in self.images]
        return pd.DataFrame(rows, columns=list(COLUMNS.values()))


def agreement(one: Dataset, other: Dataset, on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Agreement:
    """Compare two annotations of the same samples, paired by name.

    Beads are matched one to one by their centres, within half of a bead's diameter (the mean of both sides' medians);
    what either side ignores is left out. Masks without ids are compared by their 8-connected components.

    Raises
    ------
    InputError
        No sample is in both, or none can be compared.
    Cancelled
        `stop` was set.
    """
    common = [name for name in one.names if name in set(other.names)]
    if not common:
        remedy = "Masks are paired by stem: a.png with a.png, a.tif or a_mask.png."
        raise InputError("No sample is annotated by both.", other.root, remedy)
    images: list[ImageScore] = []
    failures: dict[str, str] = {}
    for name in track(common, "comparing masks", len(common), on_event, stop):
        try:
            images += _compare(one[name], other[name])
        except ImageError as error:
            failures[name] = str(error)
    if not images:
        raise InputError(f"Nothing could be compared ({next(iter(failures.values()))})", other.root)
    fields = list(dict.fromkeys(image.field for image in images))
    by_field = [group_score("field", field, [image for image in images if image.field == field]) for field in fields]
    return Agreement(
        tuple(images),
        (group_score("all", "all", images), *by_field),
        tuple(name for name in one.names if name not in set(common)),
        tuple(name for name in other.names if name not in set(common)),
        failures,
    )


def other_annotations(dataset: Dataset, folder: Path) -> Dataset:
    """Return the samples of `dataset` with the masks of another folder: a folder of masks, or one that holds some.

    Raises
    ------
    InputError
        There is no such folder, or it holds no masks of these samples.
    """
    if not folder.is_dir():
        raise InputError("No such folder.", folder, "Give a folder of masks, or one with masks/ or labels/.")
    inner = {kind: (folder / kind).resolve() for kind in (files.MASKS, files.LABELS, files.IGNORE)}
    if not any(inner[kind].is_dir() for kind in (files.MASKS, files.LABELS)):
        inner[files.MASKS] = folder.resolve()
    images = {sample.image_path.parent for sample in dataset}
    if len(images) != 1:
        raise InputError("Its images lie in several folders.", dataset.root, "Compare one dataset folder at a time.")
    found = Dataset.open(
        dataset.root,
        images=str(images.pop().resolve()),
        masks=str(inner[files.MASKS]),
        labels=str(inner[files.LABELS]),
        ignore=str(inner[files.IGNORE]),
        points=None,
    )
    fields = {sample.name: sample.field for sample in dataset}
    names = [name for name in found.names if name in fields]
    return found.subset(names)


def _compare(one: Sample, other: Sample) -> list[ImageScore]:
    image = one.read_image()
    scores = []
    for (plane, _, first), (_, _, second) in zip(one.planes(image), other.planes(image), strict=True):
        hidden = [ignored for ignored in (first.ignore, second.ignore) if ignored is not None]
        truth = Target(first.foreground, _instances(first), np.logical_or.reduce(hidden) if hidden else None)
        name = f"{one.name}_{plane}" if plane else one.name
        found = _instances(second)
        diameter = _diameter(truth.labels, found)
        scores.append(score_image(name, one.name, one.field, second.foreground, found, truth, diameter))
    return scores


def _instances(target: Target) -> np.ndarray:
    return label_objects(target.foreground) if target.labels is None else target.labels


def _diameter(*sides: np.ndarray | None) -> float | None:
    """Return the mean over the sides of their median diameters, px; None where nobody marked anything."""
    areas = [np.unique(labels[labels > 0], return_counts=True)[1] for labels in sides if labels is not None]
    medians = [float(np.median(equivalent_diameter(found))) for found in areas if len(found)]
    return sum(medians) / len(medians) if medians else None
