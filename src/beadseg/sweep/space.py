"""The space of a sweep: from numbers between 0 and 1 to values, and from values to a training configuration."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from beadseg.config.sweep import ChoicesConfig, RangeConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from beadseg.config import TrainConfig
    from beadseg.config.sweep import SweepConfig

    Parameters = Mapping[str, ChoicesConfig | RangeConfig]

Values = dict[str, Any]
"""One value per parameter, by its dotted name."""

DIGITS = 6
"""Significant digits of drawn numbers, so that a person can read and type them."""


def value_at(parameter: ChoicesConfig | RangeConfig, share: float) -> Any:
    """Return the value of a parameter at `share`, 0 to 1, of its way from the first to the last."""
    if isinstance(parameter, ChoicesConfig):
        return parameter.choices[min(int(share * len(parameter.choices)), len(parameter.choices) - 1)]
    low, high = parameter.low, parameter.high
    if parameter.integer:  # every whole number gets an equal part, on the scale that is asked for
        low, high = low - 0.5, high + 0.5
    if parameter.log:
        value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    else:
        value = low + share * (high - low)
    if parameter.integer:
        return int(min(max(round(value), parameter.low), parameter.high))
    return min(max(float(f"{value:.{DIGITS}g}"), low), high)


def values_at(parameters: Parameters, shares: Sequence[float]) -> Values:
    """Return the values at one share per parameter."""
    return {name: value_at(item, share) for (name, item), share in zip(parameters.items(), shares, strict=True)}


def grid_values(parameter: ChoicesConfig | RangeConfig) -> tuple[Any, ...]:
    """Return the values that a parameter has in a grid."""
    if isinstance(parameter, ChoicesConfig):
        return parameter.choices
    count = parameter.points or 2
    plain = parameter.model_copy(update={"integer": False})
    found = [value_at(plain, at / (count - 1)) for at in range(count)]
    return tuple(dict.fromkeys(round(value) for value in found)) if parameter.integer else tuple(found)


def combinations(parameters: Parameters) -> float:
    """Return how many different trials there can be; infinity where a parameter is a real number."""
    total = 1.0
    for item in parameters.values():
        if isinstance(item, ChoicesConfig):
            total *= len(item.choices)
        else:
            total *= item.high - item.low + 1 if item.integer else math.inf
    return total


def shown(value: Any) -> str:
    """Return a value for a person: of a whole part its kind and its fields."""
    if isinstance(value, dict):
        kind = [str(value["kind"])] if "kind" in value else []
        return ", ".join([*kind, *(f"{name} {shown(each)}" for name, each in value.items() if name != "kind")])
    return value if isinstance(value, str) else json.dumps(value)


def told(values: Values) -> str:
    """Return the values of a trial in one line."""
    return "; ".join(f"{name} = {shown(value)}" for name, value in values.items())


def key_of(values: Values) -> str:
    """Return what two trials with the same values have in common."""
    return json.dumps(values, sort_keys=True)


def assignments(values: Values) -> list[str]:
    """Return values as ``--set`` takes them: a kind before the fields that it has, wholes before their parts."""
    ordered = sorted(values, key=lambda name: (name.count(".") - name.endswith(".kind"), not name.endswith(".kind")))
    return [f"{name}={json.dumps(values[name])}" for name in ordered]


def configured(config: TrainConfig, space: SweepConfig, values: Values) -> TrainConfig:
    """Return the configuration of a trial.

    Raises
    ------
    ConfigError
        It is none that can be trained.
    """
    changed = config.with_overrides(assignments(values))
    return (
        changed if space.metric is None else changed.replace(stop={**changed.stop.model_dump(), "metric": space.metric})
    )
