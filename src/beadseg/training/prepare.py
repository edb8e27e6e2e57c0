"""What a training will do, from the data alone: which samples, what they are like, and every planned value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from beadseg.config import TrainConfig
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.data.masks import Doubts
from beadseg.data.split import Split, make_split
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.text import plural
from beadseg.training.plan import Planned, misfits, plan
from beadseg.training.targets import Completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beadseg.data.dataset import Dataset, Decoded

DECODED_SHARE = 0.25
"""What the files of a dataset hold is remembered between the passes over it, up to this share of the free memory."""

PIXEL_SCORES = ("jaccard", "dice")
"""Scores that need masks or labels."""


@dataclass(frozen=True)
class Prepared:
    """A training before its first step.

    Attributes
    ----------
    config : TrainConfig
        Complete: nothing left to plan.
    planned : tuple of Planned
        What was planned, with reasons.
    fingerprint : Fingerprint
        The training samples in numbers.
    split : Split
        Which samples are for what.
    objects : mapping
        Annotated objects of every sample.
    """

    config: TrainConfig
    planned: tuple[Planned, ...]
    fingerprint: Fingerprint
    split: Split
    objects: Mapping[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was given and does not fit the data, one sentence each."""
        return misfits(self.config, self.fingerprint)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it but the objects as JSON-serialisable data."""
        return {
            "config": self.config.model_dump(mode="json"),
            "planned": [item.model_dump() for item in self.planned],
            "fingerprint": self.fingerprint.model_dump(),
            "split": {"train": len(self.split.train), "val": len(self.split.val), "notes": list(self.split.notes)},
        }

    def lines(self) -> list[str]:
        """Return the planned values and the split, one sentence each, for a person."""
        told = [f"Planned {item.field} = {item.value}: {item.reason}." for item in self.planned]
        samples = f"{len(self.split.train)} training and {len(self.split.val)} validation samples."
        return [*told, *self.notes, *self.split.notes, samples]


def prepare(
    dataset: Dataset,
    config: TrainConfig,
    split: Split | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    decoded: Decoded | None = None,
) -> Prepared:
    """Return what `train` would do with the same arguments; writes nothing. `decoded` remembers what the files hold.

    Raises
    ------
    InputError
        The split cannot be made, nothing is annotated as a bead, or most annotations look inverted.
    ImageError
        A sample cannot be read.
    Cancelled
        `stop` was set.
    """
    decoded = Completed(psutil.virtual_memory().available * DECODED_SHARE, config) if decoded is None else decoded
    objects = annotated_objects(dataset, on_event, stop, decoded, trusted=config.annotations == "trust")
    if split is None:
        split = make_split(config.split, dataset, objects, config.seed)
    found = fingerprint(dataset.subset(split.train), on_event, stop, decoded)
    points: tuple[Planned, ...] = ()
    if config.stop.metric.startswith(PIXEL_SCORES) and split.val and not _areas(dataset, split.val):
        config = config.replace(stop=config.stop.replace(metric="f1"))
        points = (Planned(field="stop.metric", value="f1", reason="the validation samples have points alone"),)
    complete, planned = plan(config, found)
    return Prepared(complete, (*points, *planned), found, split, objects)


def _areas(dataset: Dataset, names: Iterable[str]) -> bool:
    """Return whether one of the named samples has a mask or labels."""
    return any(dataset[name].mask_path is not None for name in names)


def annotated_objects(
    dataset: Dataset,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    decoded: Decoded | None = None,
    *,
    trusted: bool = False,
) -> dict[str, int]:
    """Return the number of annotated objects of every sample, over all its planes, and report doubtful annotations.

    Raises
    ------
    InputError
        Half of the annotations or more look inverted, and they are not `trusted`.
    """
    doubts = Doubts(len(dataset))
    objects: dict[str, int] = {}
    known = decoded or Completed(0.0, TrainConfig())
    for sample in track(dataset, "counting objects", len(dataset), on_event, stop):
        targets = [target for _, _, target in known.read(sample)[1]]
        objects[sample.name] = sum(target.objects for target in targets)
        doubts.add(sample.name, (doubt for target in targets for doubt in target.doubts()))
    inverted = doubts.found.get("inverted", {})
    if 2 * len(inverted) >= len(dataset) and inverted and not trusted:
        name, doubt = next(iter(inverted.items()))
        what = f"{len(inverted)} of {plural(len(dataset), 'annotation')} look inverted. {name}: {doubt.text}"
        remedy = f"{doubt.remedy} If they are right, train with --set annotations=trust."
        raise InputError(what, dataset.root, remedy)
    doubts.report(on_event)
    return objects
