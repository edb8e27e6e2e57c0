"""What a training will do, from the data alone: which samples, what they are like, and every planned value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.config.train import PatchEpochConfig
from beadseg.data.fingerprint import Fingerprint, fingerprint
from beadseg.data.masks import Doubts
from beadseg.data.split import Split, make_split
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.model.checkpoint import model_file, named_model, read_meta
from beadseg.text import plural
from beadseg.training.targets import Completed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beadseg.data.dataset import Dataset, Decoded
    from beadseg.data.fingerprint import Fingerprint

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


ALIKE = 1.5
"""Beads whose diameter differs by no more than this factor from what a network knows are learned as they are."""

OTHER_SIZE = 1.25
"""A diameter that was given and differs from the annotated one by more than this factor is asked about."""


class Planned(Config):
    """One value that the plan chose."""

    field: str
    """Dotted name of the configuration field."""
    value: int | float | str
    """What was chosen."""
    reason: str
    """Why, in one sentence."""


def plan(config: TrainConfig, fingerprint: Fingerprint) -> tuple[TrainConfig, tuple[Planned, ...]]:
    """Return `config` with every open (None) value filled in from the data, and what was filled in.

    Values that the user set stay as they are.
    """
    diameter = fingerprint.bead_diameter_px
    chosen: list[Planned] = []

    def choose(field: str, value: int | float | str, reason: str) -> None:
        chosen.append(Planned(field=field, value=value, reason=reason))

    seen = config.image.bead_px
    known = known_diameter(config.start_from)
    if seen is None and known is not None and abs(math.log(diameter / known)) > math.log(ALIKE):
        seen = known
        choose("image.bead_px", known, f"beads of {diameter:.1f} px are brought to the size that training starts from")
    if seen is not None and config.predict.size.diameter is None and not config.predict.size.search:
        choose("predict.size.diameter", round(diameter, 2), "the median diameter of single beads in the annotations")
    factor = 1.0 if seen is None else seen / diameter
    diameter *= factor
    if config.network.first_stride is None:
        stride = 1 if diameter < 16 or config.network.kind == "attention-unet" else 2
        choose("network.first_stride", stride, f"beads are {diameter:.1f} px across; under 16 px full resolution pays")
    if config.network.depth is None:
        choose("network.depth", _depth(diameter), f"the coarsest level should see several beads of {diameter:.1f} px")
    if isinstance(config.epoch, PatchEpochConfig):
        if config.epoch.size is None:
            choose(
                "epoch.size",
                _patch(fingerprint, factor),
                f"about 18 bead diameters of {diameter:.1f} px, and not much more than the smallest image",
            )
        if config.epoch.looks is None and config.epoch.simulated:
            polarity = fingerprint.polarity
            choose("epoch.looks", polarity, f"the annotated beads are {polarity}")
        if config.epoch.steps is None:
            choose("epoch.steps", 100, "enough optimizer steps between two validations for the weights to move")
        if config.batch is None:
            choose("batch", 8, "eight patches from different images steady the batch norm")
    elif config.batch is None:
        choose("batch", 8, "a common choice")
    if config.predict.objects.diameter is None:
        choose("predict.objects.diameter", round(diameter, 2), "the median diameter of single beads in the annotations")
    return _with_values(config, chosen), tuple(chosen)


def misfits(config: TrainConfig, fingerprint: Fingerprint) -> tuple[str, ...]:
    """Return what in a complete configuration was meant for beads of another size, one sentence each."""
    given, found = config.predict.objects.diameter, fingerprint.bead_diameter_px
    if given is None or 1 / OTHER_SIZE <= given / found <= OTHER_SIZE:
        return ()
    what = f"predict.objects.diameter is {given:g} px, but the annotated beads are {found:g} px across"
    return (f"{what}: sizes of another run's data? From its {files.ASKED} they are planned again.",)


def _depth(diameter: float) -> int:
    """Four levels (a stride of 8 at most) for 7-px beads, one more for every doubling of the diameter."""
    return min(6, max(3, 4 + round(math.log2(max(diameter, 1.0) / 8))))


def known_diameter(start_from: str) -> float | None:
    """Return the bead diameter, px, that the network knows which training starts from; None where it starts from none.

    Raises
    ------
    RunError
        There is no such model.
    """
    if start_from == "none":
        return None
    path = model_file(named_model(start_from))
    try:
        config = TrainConfig.parse(read_meta(path)["config"], path)
    except (KeyError, ConfigError):
        raise RunError(
            "Is not a model that training can start from.", path, "Set start_from to general or none."
        ) from None
    return config.image.bead_px or config.predict.objects.diameter


def _patch(fingerprint: Fingerprint, factor: float) -> int:
    wanted = 18 * fingerprint.bead_diameter_px * factor
    smallest = int(min(fingerprint.height_min, fingerprint.width_min) * factor)
    size = min(512.0, max(64.0, wanted), max(64, smallest))
    return 64 * max(1, round(size / 64))


def _with_values(config: TrainConfig, chosen: list[Planned]) -> TrainConfig:
    values: dict[str, Any] = config.model_dump(mode="json")
    for item in chosen:
        *parents, leaf = item.field.split(".")
        target = values
        for name in parents:
            target = target[name]
        target[leaf] = item.value
    return TrainConfig.parse(values, "plan")
