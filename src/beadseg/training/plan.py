"""From the data's fingerprint to the values a configuration leaves open, each with its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.config.train import PatchEpochConfig

if TYPE_CHECKING:
    from beadseg.data.fingerprint import Fingerprint


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

    def choose(field: str, value: int | float, reason: str) -> None:
        chosen.append(Planned(field=field, value=value, reason=reason))

    if config.network.first_stride is None:
        stride = 1 if diameter < 16 or config.network.kind == "attention-unet" else 2
        choose("network.first_stride", stride, f"beads are {diameter:.1f} px across; under 16 px full resolution pays")
    if config.network.depth is None:
        choose("network.depth", _depth(diameter), f"the coarsest level should see several beads of {diameter:.1f} px")
    if isinstance(config.epoch, PatchEpochConfig):
        if config.epoch.size is None:
            choose(
                "epoch.size",
                _patch(fingerprint),
                f"about 18 bead diameters of {diameter:.1f} px, and not much more than the smallest image",
            )
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


def _patch(fingerprint: Fingerprint) -> int:
    wanted = 18 * fingerprint.bead_diameter_px
    smallest = min(fingerprint.height_min, fingerprint.width_min)
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
