"""A sweep: which settings of a training are tried, how they are chosen, and what decides which is best."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from beadseg.config.base import Config
from beadseg.config.train import Metric

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")

Most = Annotated[int, Field(ge=1, le=10000)]


def _number(value: Any) -> Any:
    """Return a number such as 1e-4, which YAML 1.1 takes for text, as the number that is meant."""
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _numbers(values: Any) -> Any:
    return [_number(value) for value in values] if isinstance(values, list) else values


class ChoicesConfig(Config):
    """One of some values; a plain list means the same."""

    choices: Annotated[tuple[Any, ...], BeforeValidator(_numbers), Field(min_length=1)]
    """The values, as they may stand in a configuration: numbers, words, null, or a whole part such as
    ``{kind: tversky, alpha: 0.2}``."""

    @model_validator(mode="after")
    def _different(self) -> ChoicesConfig:
        for at, value in enumerate(self.choices):
            if value in self.choices[:at]:
                raise ValueError(f"{value!r} is there twice")
        return self


class RangeConfig(Config):
    """A number between two bounds, both included."""

    low: float
    """The smallest value."""
    high: float
    """The largest value."""
    log: bool = False
    """Every factor is as likely as any other, instead of every difference: for learning rates."""
    integer: bool = False
    """Whole numbers only."""
    points: Annotated[int, Field(ge=2, le=1000)] | None = None
    """Of a grid: how many values, evenly spaced, the bounds among them."""

    @model_validator(mode="after")
    def _in_order(self) -> RangeConfig:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low <= 0:
            raise ValueError(f"with log, low must be above 0 (given: {self.low:g})")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("with integer, low and high must be whole numbers")
        return self


def _kind_of_parameter(value: Any) -> str:
    if isinstance(value, ChoicesConfig) or (isinstance(value, dict) and "choices" in value):
        return "choices"
    return "range"


def _list_is_choices(value: Any) -> Any:
    return {"choices": value} if isinstance(value, list) else value


Parameter = Annotated[
    Annotated[ChoicesConfig, Tag("choices")] | Annotated[RangeConfig, Tag("range")],
    Discriminator(_kind_of_parameter),
    BeforeValidator(_list_is_choices),
]


class GridConfig(Config):
    """Every combination of all values."""

    kind: Literal["grid"] = "grid"


class RandomConfig(Config):
    """Values drawn independently of each other."""

    kind: Literal["random"] = "random"
    trials: Most
    """Number of trials."""


class SobolConfig(Config):
    """A scrambled Sobol sequence (scipy): spread more evenly than random values."""

    kind: Literal["sobol"] = "sobol"
    trials: Most
    """Number of trials; powers of two are spread best."""


class TpeConfig(Config):
    """The tree-structured Parzen estimator of Optuna: random trials first, then rounds near what was good before."""

    kind: Literal["tpe"] = "tpe"
    rounds: Annotated[int, Field(ge=2, le=1000)]
    """Number of rounds, the random one included; each knows the results of all before it."""
    trials: Most
    """Trials of each round."""


MethodConfig = Annotated[GridConfig | RandomConfig | SobolConfig | TpeConfig, Field(discriminator="kind")]


class SweepConfig(Config):
    """What a sweep tries."""

    method: MethodConfig
    """How the trials are chosen."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Fields of the training configuration by their dotted names, e.g. ``optimizer.lr``, and the values that each may
    have."""
    metric: Metric | None = None
    """The validation score that decides what is best, within a trial and among trials; of errors, the smallest size.
    None: `stop.metric` of the training configuration."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the choice of trials, not of the trainings."""

    @model_validator(mode="after")
    def _grid_is_finite(self) -> SweepConfig:
        if isinstance(self.method, GridConfig):
            for name, parameter in self.parameters.items():
                if isinstance(parameter, RangeConfig) and parameter.points is None:
                    raise ValueError(f"a grid needs to know how many points {name} has: set points, or give choices")
        return self

    @property
    def rounds(self) -> int:
        """How many rounds the trials are planned in."""
        return self.method.rounds if isinstance(self.method, TpeConfig) else 1
