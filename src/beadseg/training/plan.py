"""From the data's fingerprint to the values a configuration leaves open, each with its reason."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import Config
from beadseg.config.train import PatchEpochConfig
from beadseg.errors import ConfigError, RunError
from beadseg.model.checkpoint import model_file, named_model, read_meta

if TYPE_CHECKING:
    from beadseg.data.fingerprint import Fingerprint

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
