"""Whether the space of a sweep fits the training configuration, before anything is planned."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from beadseg.config.sweep import ChoicesConfig, RangeConfig, SweepConfig
from beadseg.errors import ConfigError
from beadseg.sweep.space import configured, value_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beadseg.config import TrainConfig
    from beadseg.sweep.space import Values

SHARES = (0.0, 1.0, 0.37)
"""Where a range is tried: its bounds, and a value between them that is not a whole number by chance."""
MOST_KINDS = 64
"""Combinations of kinds that all other values are tried with."""


def check(space: SweepConfig, config: TrainConfig, where: Path | str) -> None:
    """Raise `ConfigError` for a parameter that is not a field, or a value that the field cannot have.

    Every value is tried alone, and fields of a part that comes in kinds with every kind that the sweep has.
    """
    for name, parameter in space.parameters.items():
        _refuse_unfair(name, where)
        place = f"{where}: parameters.{name}"
        for value in _samples(parameter):
            for kinds in _kinds(space, name):
                _try(space, config, {**kinds, name: value}, place)


def _refuse_unfair(name: str, where: Path | str) -> None:
    """Raise for what would make the scores of two trials scores of different things."""
    reasons = {
        "split": "the trials would be scored on different samples",
        "stop.metric": "the trials would be ranked by different scores: set `metric` of the sweep",
        "based_on": "it changes nothing",
    }
    for field, reason in reasons.items():
        if name == field or name.startswith(f"{field}."):
            raise ConfigError(f"Cannot be swept: {reason}.", f"{where}: parameters.{name}", "Leave it out.")


def _samples(parameter: ChoicesConfig | RangeConfig) -> list[Any]:
    if isinstance(parameter, ChoicesConfig):
        return list(parameter.choices)
    return [value_at(parameter, share) for share in SHARES]


def _kinds(space: SweepConfig, name: str) -> Iterator[Values]:
    """Yield the combinations of kinds, or whole parts, that a field may meet: those that its name begins with."""
    above = [
        other for other in space.parameters
        if other != name and name.startswith(other.removesuffix("kind") if other.endswith(".kind") else f"{other}.")
    ]  # fmt: skip
    sides = [_samples(space.parameters[other]) for other in above]
    for values in itertools.islice(itertools.product(*sides), MOST_KINDS):
        yield dict(zip(above, values, strict=True))


def _try(space: SweepConfig, config: TrainConfig, values: Values, place: str) -> None:
    try:
        configured(config, space, values)
    except ConfigError as error:
        together = "" if len(values) == 1 else f" (with {', '.join(f'{k}={v}' for k, v in list(values.items())[:-1])})"
        known = f"{error.remedy} " if error.remedy and error.remedy.startswith("Known") else ""
        whole = "For whole numbers set integer: true. " if "valid integer" in error.what else ""
        raise ConfigError(f"{error.what}{together}", place, f"{known}{whole}Nothing was planned.") from None
